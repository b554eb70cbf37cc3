"""`dcgan train` with a change that has no option, as it did not earn one: for bench/recipes.py to measure.

    python bench/levers.py he-weights train celeba64 --kimg 50

Models made so are for their figures only: `dcgan generate` does not read those whose layers differ.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from dcgan import models
from dcgan.cli import main
from dcgan.config import ModelConfig
from dcgan.convolution import Convolution, ToNumber, TransposedConvolution, UpsampledConvolution, summed
from dcgan.models import Discriminator, Generator, channels_of


def he_weights() -> None:
    """Weights from N(0, 2 / inputs) (He et al. 2015), and N(0, 1 / inputs) in the last layers, for N(0, 0.02)."""

    def initialize(self: nn.Module, generator: torch.Generator) -> Any:
        layers = [module for module in self.modules() if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d, nn.Linear))]
        for layer in layers:
            inputs = layer.in_features if isinstance(layer, nn.Linear) else 16 * layer.in_channels
            if isinstance(layer, UpsampledConvolution):
                inputs = 9 * layer.in_channels
            elif isinstance(layer, nn.ConvTranspose2d):
                inputs //= 4  # of stride 2: a pixel sees a quarter of the kernel
            spread = math.sqrt((1 if layer is layers[-1] else 2) / inputs)
            nn.init.normal_(layer.weight, 0.0, spread, generator=generator)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
        return self

    for network in (Generator, Discriminator):
        setattr(network, "initialize", initialize)  # noqa: B010 - mypy refuses to assign to a method


def spectral_norm() -> None:
    """Each layer of the discriminator divided by its largest singular value (Miyato et al. 2018)."""
    draw = Discriminator.initialize

    def initialize(self: Discriminator, generator: torch.Generator) -> Any:
        draw(self, generator)
        for layer in [module for module in self.modules() if isinstance(module, (nn.Conv2d, nn.Linear))]:
            nn.utils.parametrizations.spectral_norm(layer)
        return self

    setattr(Discriminator, "initialize", initialize)  # noqa: B010


def pooling() -> None:
    """The discriminator's strided convolutions as 3x3 convolutions and sums over 2x2, as upsampling turned round."""

    class Pooled(Convolution):
        def __init__(self, before: int, after: int, bias: bool = False) -> None:
            super().__init__(before, after, bias)
            self.weight = nn.Parameter(self.weight.new_empty(after, before, 3, 3))

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return F.conv2d(images, summed(self.weight), self.bias, stride=2, padding=1)

    vars(models)["Convolution"] = Pooled


def batch_spread() -> None:
    """The spread over the batch as one more feature of the discriminator's last map (Karras et al. 2018, section 3)."""

    class WithSpread(ToNumber):
        def __init__(self, channels: int, bias: bool) -> None:
            super().__init__(channels + 1, bias)

        def forward(self, images: torch.Tensor) -> Any:
            spread = images.float().var(0, correction=0).add(1e-8).sqrt().mean()
            return super().forward(torch.cat([images, spread.to(images.dtype).expand(len(images), 1, 4, 4)], 1))

    vars(models)["ToNumber"] = WithSpread


def shortcuts() -> None:
    """Around each block of the discriminator, means over 2x2 and a 1x1 convolution (He et al. 2016)."""

    class Residual(nn.Module):
        def __init__(self, block: Any) -> None:
            super().__init__()
            layer, self.block = block[0], block
            self.shortcut = nn.Conv2d(layer.in_channels, layer.out_channels, 1, bias=False)

        def forward(self, images: torch.Tensor) -> Any:
            return self.block(images) + self.shortcut(F.avg_pool2d(images, 2))

    def add(network: Discriminator) -> None:
        network.hidden = nn.Sequential(*(Residual(block) for block in network.hidden.children()))

    extend(Discriminator, add)


def output_skips() -> None:
    """Each of the generator's maps adds to the image, by a 1x1 convolution (Karras et al. 2020, section 4.1)."""

    def add(network: Generator) -> None:
        convolutions = [layer for layer in network.modules() if isinstance(layer, TransposedConvolution)]
        network.to_image = nn.ModuleList(
            nn.Conv2d(layer.in_channels, network.config.channels, 1, bias=False) for layer in convolutions
        )

    def forward(self: Any, latents: torch.Tensor) -> Any:
        maps = self.first(self.embed(latents))
        image = self.to_image[0](maps)
        for block, to_image in zip(self.hidden, self.to_image[1:], strict=True):
            maps = block(maps)
            image = F.interpolate(image, scale_factor=2) + to_image(maps)
        return torch.tanh(self.last[0](maps) + F.interpolate(image, scale_factor=2))

    extend(Generator, add, forward)


def excitation() -> None:
    """The 4x4 map scales the channels of the last hidden one (skip-layer excitation, Liu et al. 2021, section 3.1)."""

    def add(network: Generator) -> None:
        before, *_, after = channels_of(network.config.generator_width, network.config.stages)
        network.gate = nn.Sequential(
            nn.Conv2d(before, after, 4), nn.LeakyReLU(0.1), nn.Conv2d(after, after, 1), nn.Sigmoid()
        )

    def forward(self: Any, latents: torch.Tensor) -> Any:
        start = self.first(self.embed(latents))
        return self.last(self.hidden(start) * self.gate(start))

    extend(Generator, add, forward)


def self_modulation() -> None:
    """Scale and shift after each of the generator's BatchNorms are linear in z (Chen et al. 2019)."""
    generate = Generator.forward

    class Modulated(nn.BatchNorm2d):
        def __init__(self, numbers: int, channels: int) -> None:
            super().__init__(channels)
            self.modulation = nn.Linear(numbers, 2 * channels)
            self.latents = torch.empty(0)

        def forward(self, images: torch.Tensor) -> Any:
            scale, shift = self.modulation(self.latents)[:, :, None, None].chunk(2, 1)
            return super().forward(images) * (1 + scale) + shift

    def add(network: Generator) -> None:
        for block in (network.first, *network.hidden):
            block[1] = Modulated(network.config.input_size, block[1].num_features)

    def forward(self: Any, latents: torch.Tensor) -> Any:
        for module in self.modules():
            if isinstance(module, Modulated):
                module.latents = latents
        return generate(self, latents)

    extend(Generator, add, forward)


def extend(network: type[nn.Module], add: Callable[[Any], None], forward: Callable[..., Any] | None = None) -> None:
    """Give a network more layers, before its weights are drawn, and another way through them."""
    build = network.__init__

    def __init__(self: nn.Module, config: ModelConfig) -> None:  # noqa: N807
        build(self, config)
        add(self)

    setattr(network, "__init__", __init__)  # noqa: B010
    setattr(network, "forward", forward or network.forward)  # noqa: B010


LEVERS: dict[str, Callable[[], None]] = {
    "he-weights": he_weights,
    "spectral-norm": spectral_norm,
    "pooling": pooling,
    "batch-spread": batch_spread,
    "shortcuts": shortcuts,
    "output-skips": output_skips,
    "excitation": excitation,
    "self-modulation": self_modulation,
}

if __name__ == "__main__":
    LEVERS[sys.argv[1]]()
    sys.exit(main(sys.argv[2:]))
