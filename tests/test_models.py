"""Networks: shapes at every resolution, the papers' initialisation, and samples that depend on their seed alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from dcgan.config import SIZES, ModelConfig
from dcgan.draws import generator_for
from dcgan.models import Discriminator, Generator


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
@pytest.mark.parametrize("upsampling", ["transposed", "nearest"])
def test_latents_become_images_become_logits(size: int, channels: int, ends: str, upsampling: str) -> None:
    config = small(size=size, channels=channels, ends=ends, upsampling=upsampling)
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
