"""Which synthetic images are left out: those that the discriminator finds poor, and copies of training images."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from dcgan.data import PackedImages
from dcgan.errors import DcganError
from dcgan.evaluate.memorisation import NEAREST_SHARE, NEIGHBOURS, Nearest, nearest_thumbnails, thumbnails
from dcgan.evaluate.reals import read_batches
from dcgan.images import Pixels, to_signed
from dcgan.models import SAMPLE_BATCH, Discriminator

MOST_TRAINING = 50_000  # images that copies are looked for among


@dataclass(frozen=True)
class Screen:
    """What an image has to pass."""

    discriminator: Discriminator
    lowest_score: float
    training: Tensor | None
    """Thumbnails of training images."""
    nearest: float
    """An image whose closeness to its nearest training image is at most this is a copy."""

    def low(self, images: Pixels, codes: Tensor) -> Tensor:
        """Which of N images, of labels' codes N x L, score too low: booleans N."""
        return scores(self.discriminator, images, codes) < self.lowest_score

    def copies(self, images: Pixels) -> Tensor:
        """Which of N images are near copies of training images: booleans N."""
        if self.training is None:
            return torch.zeros(len(images), dtype=torch.bool)
        return _closeness(images, self.training) <= self.nearest


@torch.inference_mode()
def scores(discriminator: Discriminator, images: Pixels, codes: Tensor) -> Tensor:
    """The discriminator's logits N of images with labels' codes N x L (L = 0: none)."""
    device = next(discriminator.parameters()).device
    logits = []
    for some, labels in zip(torch.from_numpy(images).split(SAMPLE_BATCH), codes.split(SAMPLE_BATCH), strict=True):
        told = labels.to(device) if labels.shape[1] else None
        logits.append(discriminator(to_signed(some.to(device)), told).float().cpu())
    return torch.cat(logits)


def make_screen(
    discriminator: Discriminator, images: Pixels, codes: Tensor, share: float, data: PackedImages | None
) -> Screen:
    """A screen that leaves out the lowest `share` of images like the N given, and copies of those of `data`.

    A copy is nearer to a training image than all but the nearest 1 in 200 of the held-out images, by thumbnails as
    the memorisation audit sees them. Without held-out images nobody can say what is near: `DcganError`.
    """
    lowest = scores(discriminator, images, codes).quantile(share).item()
    if data is None:
        return Screen(discriminator, lowest, None, 0.0)
    if len(data.held_out_indices) < 2 / NEAREST_SHARE or len(data.training_indices) <= NEIGHBOURS:
        raise DcganError(
            f"{data.name} holds out {len(data.held_out_indices)} images, too few to tell what a copy is: "
            "prepare it with a larger --held-out, or filter without --like"
        )
    chosen = data.training_indices[:: -(-len(data.training_indices) // MOST_TRAINING)]
    training = torch.cat([thumbnails(batch) for batch in read_batches(data, chosen)])
    held_out = torch.cat([thumbnails(batch) for batch in read_batches(data, data.held_out_indices)])
    closeness = nearest_thumbnails(held_out, training).closeness
    return Screen(discriminator, lowest, training, closeness.quantile(0.005).item())


def _closeness(images: Pixels, training: Tensor) -> Tensor:
    found: Nearest = nearest_thumbnails(thumbnails(images), training)
    return found.closeness
