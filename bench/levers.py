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
from dcgan.convolution import Convolution, ToNumber, UpsampledConvolution, summed
from dcgan.models import Discriminator, Generator


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


LEVERS: dict[str, Callable[[], None]] = {
    "he-weights": he_weights,
    "spectral-norm": spectral_norm,
    "pooling": pooling,
    "batch-spread": batch_spread,
}

if __name__ == "__main__":
    LEVERS[sys.argv[1]]()
    sys.exit(main(sys.argv[2:]))
