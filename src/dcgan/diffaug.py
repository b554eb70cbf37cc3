"""Differentiable augmentation (Zhao et al. 2020): what the discriminator sees is changed at random, real or fake alike.

With few images a discriminator learns them by heart; it cannot when it never sees one twice. The generator learns
through the same changes, so its images stay as they should.
"""

from __future__ import annotations

import torch

SHIFT = 1 / 8  # of the image's side, at most
HOLE = 1 / 2  # the side of the square that is cut out, of the image's
NUMBERS = 7  # random numbers for each image


def augment(images: torch.Tensor, numbers: torch.Tensor) -> torch.Tensor:
    """Images N x C x H x W in [-1, 1] with colour, position and a hole of each changed; differentiable at any order.

    `numbers`, `NUMBERS` x N, are drawn from U(0, 1): brightness, saturation, contrast, shift down, shift right, place
    of the hole down and right. Colours may leave [-1, 1], as in the paper's own code.
    """
    brightness, saturation, contrast = numbers[:3, :, None, None, None]
    images = images + (brightness - 0.5)
    grey = images.mean(1, keepdim=True)
    images = grey + 2 * saturation * (images - grey)
    mean = images.mean((1, 2, 3), keepdim=True)
    images = mean + (0.5 + contrast) * (images - mean)

    height, width = images.shape[2:]
    # A shift as a product with a shifted identity: one kernel for the batch, and its own derivative.
    down, right = (_shifted(*of).to(images.dtype) for of in ((height, numbers[3]), (width, numbers[4])))
    images = down[:, None] @ images @ right.mT[:, None]
    hole = _within(height, numbers[5])[:, None, :, None] & _within(width, numbers[6])[:, None, None, :]
    return images * ~hole


def _shifted(size: int, draw: torch.Tensor) -> torch.Tensor:
    """Matrices N x size x size that move a column by up to `SHIFT` of its length, drawn as N numbers in [0, 1)."""
    largest = int(size * SHIFT)
    offsets = (draw * (2 * largest + 1)).long() - largest
    positions = torch.arange(size, device=draw.device)
    return (positions[:, None] - positions == offsets[:, None, None]).float()


def _within(size: int, draw: torch.Tensor) -> torch.Tensor:
    """Booleans N x size: which positions lie in a hole whose centre is drawn as N numbers in [0, 1)."""
    first = (draw * (size + 1)).long()[:, None] - int(size * HOLE) // 2
    positions = torch.arange(size, device=draw.device)
    return (positions >= first) & (positions < first + int(size * HOLE))
