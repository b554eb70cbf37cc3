"""Networks whose outputs are as large as trained ones', so that a wrong weight shows."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, TypeVar

import pytest
import torch
from torch import nn

from dcgan.config import Label, ModelConfig
from dcgan.draws import generator_for
from dcgan.model_file import MODEL_FILE, save_model
from dcgan.models import Discriminator, Generator

Network = TypeVar("Network", bound=nn.Module)


def lively(network: Network) -> Network:
    """Draw all weights and running statistics so that a layer's outputs are about as large as its inputs."""
    draws = generator_for(0, "lively", 0)
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)):
                nn.init.normal_(module.weight, 0.0, 1.5 * module.weight[0].numel() ** -0.5, generator=draws)
            elif isinstance(module, nn.BatchNorm2d):
                for tensor in (module.weight, module.running_var):
                    tensor.uniform_(0.5, 2, generator=draws)
                for tensor in (module.bias, module.running_mean):
                    tensor.normal_(0.0, 0.5, generator=draws)
    return network.eval()


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a tiny model with both networks."""
    return write(tmp_path_factory.mktemp("model"), ())


@pytest.fixture(scope="session")
def conditional(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of one that knows labels."""
    return write(tmp_path_factory.mktemp("conditional"), (Label("smile", "binary"), Label("age", "number")))


def write(folder: Path, labels: tuple[Label, ...]) -> Path:
    """Write a tiny model that takes these labels into a folder."""
    upsampling: Literal["transposed", "nearest"] = "nearest" if labels else "transposed"
    config = ModelConfig(
        size=32, latent_size=8, generator_width=4, discriminator_width=4, upsampling=upsampling, labels=labels
    )
    generator, discriminator = lively(Generator(config)), lively(Discriminator(config))
    if generator.code is not None:
        numbers = torch.rand(100, generator=generator_for(0, "labels", 0))
        generator.code.learn(torch.stack([(numbers > 0.4).float(), 20 + 60 * numbers.flip(0)], 1))
    networks = [generator, discriminator]
    about = {
        "dataset": {"name": "drawn", "digest": "0" * 64, "count": 60},
        "training": {"kimg": 1.5, "epoch": 25.0, "preset": "paper", "seed": 0},
        "metrics": {"kernel_distance": 0.25},
        "terms": "Drawn faces: anything goes.",
    }
    save_model(folder / MODEL_FILE, config, {n.role: n.state_dict() for n in networks}, about)
    return folder
