"""The public PyTorch DCGAN example (pytorch/examples, dcgan/main.py), written anew after what it is documented to do.

Plain layers in float32 and NCHW: N(0, 0.02) convolutions, BatchNorm N(1, 0.02), BCE after a sigmoid, Adam 2e-4 / 0.5 /
0.999, batches of 128 that two workers decode out of a folder of JPEGs, the discriminator gathering gradients in the
generator's step too, and losses and means read at each step. Its prints, grids and checkpoints are left out.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

BATCH, SIZE, LATENT, WIDTH = 128, 64, 100, 64


class JpegFolder(Dataset[Tensor]):
    """Images decoded, resized, cropped and scaled one at a time, as torchvision's transforms do."""

    def __init__(self, folder: Path) -> None:
        self.paths = sorted(folder.rglob("*.jpg"))

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> Tensor:
        with Image.open(self.paths[index]) as file:
            image = file.convert("RGB")
        shorter = min(image.size)
        width, height = (SIZE * side // shorter for side in image.size)  # Resize(64), CenterCrop(64)
        image = image.resize((width, height), Image.Resampling.BILINEAR)
        left, top = round((width - SIZE) / 2), round((height - SIZE) / 2)
        pixels = np.asarray(image.crop((left, top, left + SIZE, top + SIZE)))
        return torch.from_numpy(pixels.copy()).permute(2, 0, 1).float().div(255).sub(0.5).div(0.5)


def generator() -> nn.Sequential:
    """Latents N x 100 x 1 x 1 to images N x 3 x 64 x 64."""
    layers: list[nn.Module] = []
    before = LATENT
    for after, stride, padding in ((8, 1, 0), (4, 2, 1), (2, 2, 1), (1, 2, 1)):
        layers += [
            nn.ConvTranspose2d(before, after * WIDTH, 4, stride, padding, bias=False),
            nn.BatchNorm2d(after * WIDTH),
            nn.ReLU(True),
        ]
        before = after * WIDTH
    return nn.Sequential(*layers, nn.ConvTranspose2d(before, 3, 4, 2, 1, bias=False), nn.Tanh()).apply(initialize)


def discriminator() -> nn.Sequential:
    """Images N x 3 x 64 x 64 to probabilities N."""
    layers: list[nn.Module] = [nn.Conv2d(3, WIDTH, 4, 2, 1, bias=False), nn.LeakyReLU(0.2, inplace=True)]
    for width in (WIDTH, 2 * WIDTH, 4 * WIDTH):
        layers += [
            nn.Conv2d(width, 2 * width, 4, 2, 1, bias=False),
            nn.BatchNorm2d(2 * width),
            nn.LeakyReLU(0.2, inplace=True),
        ]
    last = nn.Conv2d(8 * WIDTH, 1, 4, 1, 0, bias=False)
    return nn.Sequential(*layers, last, nn.Sigmoid(), nn.Flatten(0)).apply(initialize)


def initialize(layer: nn.Module) -> None:
    """The example's `weights_init`."""
    if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
        nn.init.normal_(layer.weight, 0.0, 0.02)
    elif isinstance(layer, nn.BatchNorm2d):
        nn.init.normal_(layer.weight, 1.0, 0.02)


class Reference:
    """The example's training, a step at a time."""

    def __init__(self, folder: Path) -> None:
        self.generator, self.discriminator = generator(), discriminator()
        self.of_discriminator, self.of_generator = (
            torch.optim.Adam(network.parameters(), 2e-4, betas=(0.5, 0.999))
            for network in (self.discriminator, self.generator)
        )
        self.criterion = nn.BCELoss()
        self.batches = endless(folder)

    def step(self) -> None:
        """Train both networks on one batch."""
        real, ones, zeros = next(self.batches), torch.ones(BATCH), torch.zeros(BATCH)
        self.discriminator.zero_grad()
        output = self.discriminator(real)
        error_real = self.criterion(output, ones)
        error_real.backward()
        figures = [output.mean().item()]
        fake = self.generator(torch.randn(BATCH, LATENT, 1, 1))
        output = self.discriminator(fake.detach())
        error_fake = self.criterion(output, zeros)
        error_fake.backward()
        figures.append(output.mean().item())
        self.of_discriminator.step()
        self.generator.zero_grad()
        output = self.discriminator(fake)
        error_generator = self.criterion(output, ones)
        error_generator.backward()
        self.of_generator.step()
        figures += [output.mean().item(), (error_real + error_fake).item(), error_generator.item()]
        assert np.isfinite(figures).all()


def endless(folder: Path) -> Iterator[Tensor]:
    """Batches, epoch after epoch."""
    loader = DataLoader(JpegFolder(folder), BATCH, shuffle=True, num_workers=2, drop_last=True)
    while True:
        yield from loader
