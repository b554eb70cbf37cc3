"""The two networks (Radford, Metz, Chintala 2015, section 3), and the file that holds a trained pair.

Both are written as loops over resolution: 4x4, 8x8, ... up to the image. Channels double with each halving of
the resolution, up to eight times the network's width.
"""

from __future__ import annotations

import dataclasses
import itertools
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from torch import nn

from dcgan.checkpoint import load_tensors, save_tensors, tensors_digest
from dcgan.config import ModelConfig, from_json
from dcgan.convolution import Convolution, FromVector, ToNumber, TransposedConvolution
from dcgan.draws import latents_from_seeds
from dcgan.errors import DcganError
from dcgan.images import Pixels, to_pixels

MODEL_FILE = "model.safetensors"
FORMAT = 1
# Kernels may round differently for another batch size; padding to one size keeps an image a function of its seed.
SAMPLE_BATCH = 32


def _channels(width: int, stages: int) -> list[int]:
    """Channels of the hidden layers from 4x4 upwards: for 64x64, [8, 4, 2, 1] times the width."""
    return [width * min(8, 2 ** (stages - 1 - stage)) for stage in range(stages)]


class _Network(nn.Module):
    """What both networks share: their configuration, and how they are filled and stored."""

    role: str

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.about: dict[str, Any] = {}
        """What the model file says of data, training, measured figures and terms."""

    def initialize(self, generator: torch.Generator) -> Self:
        """Draw all weights: N(0, 0.02), BatchNorm scales N(1, 0.02), biases 0 (section 3.1 of the paper)."""
        for module in self.modules():
            if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)):
                nn.init.normal_(module.weight, 0.0, 0.02, generator=generator)
            elif isinstance(module, nn.BatchNorm2d):
                nn.init.normal_(module.weight, 1.0, 0.02, generator=generator)
            else:
                continue
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        return self

    @classmethod
    def from_pretrained(cls, path: str | Path) -> Self:
        """Load from a model file, or a folder that holds one (a run, a checkpoint); in evaluation mode, on the CPU.

        Raises `DcganError` if there is none, or it is damaged or of another kind.
        """
        config, tensors, about = read_model(path)
        prefix = f"{cls.role}."
        state = {name.removeprefix(prefix): t for name, t in tensors.items() if name.startswith(prefix)}
        if not state:
            raise DcganError(f"{model_file(path)} holds no {cls.role}")
        with torch.device("meta"):
            network = cls(config)
        try:
            network.load_state_dict(state, assign=True)
        except RuntimeError as error:
            raise DcganError(f"{model_file(path)}: its {cls.role} does not fit its own configuration") from error
        network.about = about
        # The stubs of `Module.to` do not know it by this one argument.
        network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        return network.eval()

    def save_pretrained(self, folder: str | Path) -> Path:
        """Write `model.safetensors` with this network alone into `folder`; returns the file's path."""
        path = Path(folder) / MODEL_FILE
        save_model(path, self.config, {self.role: self.state_dict()}, self.about)
        return path


class Generator(_Network):
    """Latents N x Z to images N x C x H x W in [-1, 1].

    A first layer to 4x4, then strided transposed convolutions, each doubling the resolution; BatchNorm and ReLU
    after each but the last, which ends in tanh without BatchNorm.
    """

    role = "generator"

    def __init__(self, config: ModelConfig) -> None:
        super().__init__(config)
        widths = _channels(config.generator_width, config.stages)
        self.first = nn.Sequential(
            FromVector(config.latent_size, widths[0], bias=config.ends == "linear"),
            nn.BatchNorm2d(widths[0]),
            self._activation(),
        )
        self.hidden = nn.Sequential(
            *(
                nn.Sequential(
                    TransposedConvolution(before, after),
                    nn.BatchNorm2d(after),
                    self._activation(),
                )
                for before, after in itertools.pairwise(widths)
            )
        )
        self.last = nn.Sequential(TransposedConvolution(widths[-1], config.channels), nn.Tanh())

    def _activation(self) -> nn.Module:
        if self.config.generator_activation == "leaky_relu":
            return nn.LeakyReLU(0.2, inplace=True)
        return nn.ReLU(inplace=True)

    def forward(self, latents: torch.Tensor) -> torch.Tensor:
        images: torch.Tensor = self.last(self.hidden(self.first(latents)))
        return images

    def latents(self, seeds: Sequence[int], truncation: float | None = None) -> torch.Tensor:
        """The latents of `seeds`, float32 N x Z on the CPU: each row a function of its seed alone."""
        return latents_from_seeds(seeds, self.config.latent_size, self.config.latent, truncation)

    def sample(self, seeds: Sequence[int], truncation: float | None = None) -> Pixels:
        """Images of `seeds`, uint8 N x H x W x C: each a function of its seed alone, to the byte.

        `truncation` T keeps every number of z within [-T, T].
        """
        return self.render(self.latents(seeds, truncation))

    @torch.inference_mode()
    def render(self, latents: torch.Tensor) -> Pixels:
        """Images of latents N x Z, uint8 N x H x W x C, with the running BatchNorm statistics, in float32."""
        training, device = self.training, next(self.parameters()).device
        self.eval()
        size = self.config.size
        pixels = [np.empty((0, size, size, self.config.channels), np.uint8)]
        for batch in latents.split(SAMPLE_BATCH):
            padded = torch.zeros(SAMPLE_BATCH, latents.shape[1])
            padded[: len(batch)] = batch
            pixels.append(to_pixels(self(padded.to(device))[: len(batch)]))
        self.train(training)
        return np.concatenate(pixels)


class Discriminator(_Network):
    """Images N x C x H x W in [-1, 1] to logits N; above 0 means real.

    Strided convolutions, each halving the resolution down to 4x4, with BatchNorm (but after the first) and
    LeakyReLU 0.2, then one last layer to a number.
    """

    role = "discriminator"

    def __init__(self, config: ModelConfig) -> None:
        super().__init__(config)
        widths = _channels(config.discriminator_width, config.stages)[::-1]
        self.first = nn.Sequential(Convolution(config.channels, widths[0]), nn.LeakyReLU(0.2, inplace=True))
        self.hidden = nn.Sequential(
            *(
                nn.Sequential(
                    Convolution(before, after),
                    nn.BatchNorm2d(after),
                    nn.LeakyReLU(0.2, inplace=True),
                )
                for before, after in itertools.pairwise(widths)
            )
        )
        self.last = ToNumber(widths[-1], bias=config.ends == "linear")

    def features(self, images: torch.Tensor) -> list[torch.Tensor]:
        """The activations after each hidden layer, from half the image's resolution down to 4x4."""
        activations = [self.first(images)]
        for block in self.hidden:
            activations.append(block(activations[-1]))
        return activations

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.last(self.hidden(self.first(images)))
        return logits


def model_file(path: str | Path) -> Path:
    """The model file that `path` means: itself, or `model.safetensors` in the folder of a run or checkpoint."""
    path = Path(path)
    if path.is_dir():
        if not (path / MODEL_FILE).is_file():
            raise DcganError(f"{path} holds no {MODEL_FILE}: it is no run, checkpoint or model of dcgan")
        return path / MODEL_FILE
    if not path.exists():
        raise DcganError(f"{path} does not exist: give a .safetensors file, or the folder of a run or checkpoint")
    return path


def save_model(
    path: Path, config: ModelConfig, states: Mapping[str, Mapping[str, torch.Tensor]], about: Mapping[str, Any]
) -> None:
    """Write a self-describing model file.

    `states` maps `generator` (moving average of weights) and `discriminator` to their state dicts; `about` is any
    JSON-able description (data set, training progress, figures, terms of use).
    """
    tensors = {f"{role}.{name}": tensor for role, state in states.items() for name, tensor in state.items()}
    settings = dataclasses.asdict(config)
    digest = tensors_digest(tensors, settings)
    description = {"format": FORMAT, "model": settings, "about": {**about, "digest": digest}}
    # One key: safetensors writes several in random order, and the same run should give the same bytes.
    save_tensors(path, tensors, {"dcgan": json.dumps(description)})


def read_model(path: str | Path) -> tuple[ModelConfig, dict[str, torch.Tensor], dict[str, Any]]:
    """A model file's configuration, its tensors (`generator.*`, `discriminator.*`), and what it says of itself.

    `path` may be the folder of a run or checkpoint. The description gains `digest`, which covers tensors and
    configuration.
    """
    file = model_file(path)
    tensors, metadata = load_tensors(file)
    try:
        description = json.loads(metadata.get("dcgan", "{}"))
    except ValueError as error:
        raise DcganError(f"{file} is damaged: what it says of itself is not valid JSON") from error
    if not isinstance(description, dict) or description.get("format") != FORMAT:
        raise DcganError(f"{file} is not a model that this version of dcgan can read")
    if not isinstance(description.get("about"), dict) or "model" not in description:
        raise DcganError(f"{file} is damaged: it does not say what model it holds")
    return from_json(ModelConfig, description["model"], str(file)), tensors, description["about"]
