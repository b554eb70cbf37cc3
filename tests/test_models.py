"""Networks: shapes at every resolution, the papers' initialisation, and files that give back what was saved."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from dcgan.checkpoint import load_tensors, save_tensors
from dcgan.config import SIZES, ModelConfig
from dcgan.draws import generator_for
from dcgan.errors import DcganError
from dcgan.models import Discriminator, Generator, read_model, save_model


def small(**settings: Any) -> ModelConfig:
    return ModelConfig(**{"size": 32, "generator_width": 4, "discriminator_width": 4, "latent_size": 6, **settings})


def pair(config: ModelConfig) -> tuple[Generator, Discriminator]:
    return (
        Generator(config).initialize(generator_for(0, "generator", 0)),
        Discriminator(config).initialize(generator_for(0, "discriminator", 0)),
    )


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("ends", ["convolution", "linear"])
def test_latents_become_images_become_logits(size: int, channels: int, ends: str) -> None:
    config = small(size=size, channels=channels, ends=ends)
    generator, discriminator = pair(config)
    images = generator(torch.randn(2, 6))
    assert images.shape == (2, channels, size, size)
    assert images.abs().max() <= 1
    assert discriminator(images).shape == (2,)
    assert [f.shape[-1] for f in discriminator.features(images)] == [size // 2**k for k in range(1, config.stages + 1)]


def test_the_default_pair_is_the_common_pytorch_form() -> None:
    """64x64, 100 latents, widths 512-256-128-64: the parameter counts of the PyTorch tutorial's networks."""
    generator, discriminator = pair(ModelConfig())
    assert sum(p.numel() for p in generator.parameters()) == 3_576_704
    assert sum(p.numel() for p in discriminator.parameters()) == 2_765_568
    shapes = [tuple(m.weight.shape) for m in generator.modules() if isinstance(m, nn.ConvTranspose2d)]
    assert shapes == [(512, 256, 4, 4), (256, 128, 4, 4), (128, 64, 4, 4), (64, 3, 4, 4)]


def test_the_ends_are_the_4x4_convolutions_of_the_tutorial() -> None:
    generator, discriminator = pair(small())
    latents, images = torch.randn(3, 6), torch.randn(3, 16, 4, 4)
    kernel = generator.first[0].weight.T.reshape(6, 4, 4, 16).permute(0, 3, 1, 2)
    torch.testing.assert_close(generator.first[0](latents), F.conv_transpose2d(latents[:, :, None, None], kernel))
    kernel = discriminator.last.weight.reshape(1, 4, 4, 16).permute(0, 3, 1, 2)
    torch.testing.assert_close(discriminator.last(images), F.conv2d(images, kernel).flatten())


def test_batch_normalisation_is_where_the_paper_has_it() -> None:
    generator, discriminator = pair(ModelConfig())
    assert not any(isinstance(m, nn.BatchNorm2d) for m in [*generator.last.modules(), *discriminator.first.modules()])
    assert sum(isinstance(m, nn.BatchNorm2d) for m in generator.modules()) == 4
    assert sum(isinstance(m, nn.BatchNorm2d) for m in discriminator.modules()) == 3


@pytest.mark.parametrize("ends", ["convolution", "linear"])
def test_initial_weights_have_the_papers_moments(ends: str) -> None:
    for network in pair(ModelConfig(ends=ends)):  # type: ignore[arg-type]
        convolutions = [m for m in network.modules() if isinstance(m, (nn.Conv2d, nn.ConvTranspose2d, nn.Linear))]
        norms = [m for m in network.modules() if isinstance(m, nn.BatchNorm2d)]
        weights = torch.cat([m.weight.flatten() for m in convolutions])
        assert abs(weights.mean()) < 1e-4
        assert abs(weights.std() - 0.02) < 1e-4
        scales = torch.cat([m.weight for m in norms])
        assert abs(scales.mean() - 1) < 0.005
        assert abs(scales.std() - 0.02) < 0.003
        assert all(m.bias is None or not m.bias.any() for m in [*convolutions, *norms])


@pytest.fixture
def trained() -> Generator:
    """A small generator whose running statistics are not those of a fresh one."""
    generator, _ = pair(ModelConfig(generator_width=16))
    for _ in range(3):
        generator(torch.randn(16, 100, generator=generator_for(0, "warm up", 0)))
    return generator.to(memory_format=torch.channels_last)


def test_a_sample_depends_on_its_seed_alone(trained: Generator) -> None:
    together = trained.sample(range(70))
    for seeds in ([42], [7, 42], [*range(100, 131), 42], [*range(100, 140), 42]):
        assert np.array_equal(trained.sample(seeds)[-1], together[42])


def test_sampling_leaves_the_mode_and_the_statistics_alone(trained: Generator) -> None:
    before = {name: tensor.clone() for name, tensor in trained.train().state_dict().items()}
    trained.sample([1, 2])
    assert trained.training
    assert all(torch.equal(before[name], tensor) for name, tensor in trained.state_dict().items())


def test_no_seeds_are_no_images(trained: Generator) -> None:
    assert trained.sample([]).shape == (0, 64, 64, 3)


def test_a_model_file_gives_back_the_same_networks(trained: Generator, tmp_path: Path) -> None:
    _, discriminator = pair(trained.config)
    states = {"generator": trained.state_dict(), "discriminator": discriminator.state_dict()}
    save_model(tmp_path / "model.safetensors", trained.config, states, {"terms": "none"})
    again = Generator.from_pretrained(tmp_path)
    assert again.config == trained.config
    assert again.about["terms"] == "none"
    assert np.array_equal(again.sample(range(8)), trained.sample(range(8)))
    images = torch.randn(2, 3, 64, 64)
    torch.testing.assert_close(
        Discriminator.from_pretrained(tmp_path / "model.safetensors")(images), discriminator.eval()(images)
    )


def test_half_precision_halves_the_file_and_rounds_the_images(trained: Generator, tmp_path: Path) -> None:
    states = {"generator": trained.state_dict()}
    for name, half in (("whole", False), ("half", True)):
        save_model(tmp_path / f"{name}.safetensors", trained.config, states, {}, half=half)
    whole, half_as_large = (tmp_path / f"{name}.safetensors" for name in ("whole", "half"))
    assert half_as_large.stat().st_size < 0.55 * whole.stat().st_size
    rounded = Generator.from_pretrained(half_as_large)
    assert {tensor.dtype for tensor in rounded.parameters()} == {torch.float32}
    difference = rounded.sample(range(8)).astype(int) - trained.sample(range(8)).astype(int)
    assert 0 < np.abs(difference).max() <= 2
    again = read_model(rounded.save_pretrained(tmp_path / "again"))[2]["digest"]
    assert again == read_model(half_as_large)[2]["digest"]


def test_saving_what_was_loaded_changes_no_digest(trained: Generator, tmp_path: Path) -> None:
    first = read_model(trained.save_pretrained(tmp_path / "a"))[2]["digest"]
    second = read_model(Generator.from_pretrained(tmp_path / "a").save_pretrained(tmp_path / "b"))[2]["digest"]
    assert first == second


def test_the_digest_sees_weights_and_settings_but_not_figures(trained: Generator, tmp_path: Path) -> None:
    def digest(about: dict[str, Any]) -> str:
        states = {"generator": trained.state_dict()}
        save_model(tmp_path / "m.safetensors", trained.config, states, about)
        return str(read_model(tmp_path / "m.safetensors")[2]["digest"])

    plain = digest({})
    assert digest({"metrics": {"fid": 1.0}}) == plain
    with torch.no_grad():
        next(trained.parameters()).add_(1)
    assert digest({}) != plain


def test_files_that_are_no_model_are_told_apart(trained: Generator, tmp_path: Path) -> None:
    path = trained.save_pretrained(tmp_path / "good")
    with pytest.raises(DcganError, match="does not exist"):
        Generator.from_pretrained(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DcganError, match=r"holds no model\.safetensors"):
        Generator.from_pretrained(tmp_path / "empty")
    with pytest.raises(DcganError, match="holds no discriminator"):
        Discriminator.from_pretrained(path)
    (tmp_path / "short.safetensors").write_bytes(path.read_bytes()[:5000])
    with pytest.raises(DcganError, match="damaged"):
        Generator.from_pretrained(tmp_path / "short.safetensors")
    tensors, metadata = load_tensors(path)
    save_tensors(tmp_path / "foreign.safetensors", tensors)
    with pytest.raises(DcganError, match="this version of dcgan"):
        Generator.from_pretrained(tmp_path / "foreign.safetensors")
    description = json.loads(metadata["dcgan"])
    description["model"]["generator_width"] = 8
    save_tensors(tmp_path / "wrong.safetensors", tensors, {"dcgan": json.dumps(description)})
    with pytest.raises(DcganError, match="does not fit"):
        Generator.from_pretrained(tmp_path / "wrong.safetensors")
