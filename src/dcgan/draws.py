"""Every random number of the project: each draw is a function of (seed, purpose, index) and of nothing else.

A fresh generator is seeded for each draw, so there is no random state to save: a resumed run, another batch size
or another number of devices sees the same numbers.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch

LARGE = 1 << 20
"""Data sets of more images than this are shuffled without a table."""
ROUNDS = 6
Words = npt.NDArray[np.uint64]


def generator_for(seed: int, purpose: str, index: int) -> torch.Generator:
    """A CPU random generator that depends on its three arguments alone."""
    digest = hashlib.blake2b(f"{seed}/{purpose}/{index}".encode(), digest_size=8).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest, "little"))


def draw_latents(shape: Sequence[int], latent: str, generator: torch.Generator) -> torch.Tensor:
    """Latents of `shape`, float32: each number from N(0, 1) (`normal`) or U(-1, 1) (`uniform`)."""
    if latent == "uniform":
        return torch.rand(shape, generator=generator) * 2 - 1
    return torch.randn(shape, generator=generator)


def latents_from_seeds(seeds: Sequence[int], size: int, latent: str, truncation: float | None = None) -> torch.Tensor:
    """One latent a seed, float32 N x size; row i depends on `seeds[i]` alone.

    `truncation` T maps each number's distribution monotonically onto the part of it within [-T, T], so that seed 42
    stays recognisably the same face (a deterministic form of the truncation trick, Brock et al. 2018, section 3.1).
    """
    rows = [draw_latents([size], latent, generator_for(seed, "latent", 0)) for seed in seeds]
    latents = torch.stack(rows) if rows else torch.empty(0, size)
    if truncation is None:
        return latents
    if latent == "uniform":
        return latents * min(truncation, 1.0)
    # Through the normal distribution's own quantiles: z -> Phi^-1(1/2 + (Phi(z) - 1/2) * (2 Phi(T) - 1)).
    bound = torch.tensor(truncation, dtype=torch.float64) / 2**0.5
    inside = torch.erf(latents.double() / 2**0.5) * torch.erf(bound)
    return (torch.erfinv(inside) * 2**0.5).float()


def epoch_order(seed: int, epoch: int, count: int) -> torch.Tensor | LargeOrder:
    """The order in which epoch number `epoch` visits `count` images: a permutation, int64.

    Up to 2**20 images it is a tensor; of more, it is computed where it is indexed, and takes no memory.
    """
    if count > LARGE:
        return LargeOrder(seed, epoch, count)
    return torch.randperm(count, generator=generator_for(seed, "order", epoch))


class LargeOrder:
    """A pseudo-random permutation of the numbers below `count`, computed place by place.

    A Feistel network (Luby and Rackoff 1988) over the next power of 2, with splitmix64's mixer (Steele et al. 2014)
    as its round function; a place that leaves the range goes through it again, until it is back (Black and Rogaway
    2002, "cycle walking").
    """

    def __init__(self, seed: int, epoch: int, count: int) -> None:
        self.count = count
        bits = (count - 1).bit_length()
        self._bits = bits // 2, bits - bits // 2
        key = hashlib.blake2b(f"{seed}/large order/{epoch}".encode(), digest_size=8 * ROUNDS).digest()
        self._keys = np.frombuffer(key, "<u8")

    def __getitem__(self, places: torch.Tensor) -> torch.Tensor:
        """The images, int64, at these places of the order, each from 0 to `count` - 1."""
        images = self._permute(places.numpy().astype(np.uint64))
        while (outside := images >= self.count).any():
            images[outside] = self._permute(images[outside])
        return torch.from_numpy(images.astype(np.int64))

    def _permute(self, numbers: Words) -> Words:
        left_bits, right_bits = (np.uint64(bits) for bits in self._bits)
        left, right = numbers >> right_bits, numbers & _mask(right_bits)
        for key in self._keys:
            left, right = right, left ^ (_mix(right ^ key) & _mask(left_bits))
            left_bits, right_bits = right_bits, left_bits
        mixed: Words = left << right_bits | right
        return mixed


def _mask(bits: np.uint64) -> np.uint64:
    return np.uint64((1 << int(bits)) - 1)


def _mix(words: Words) -> Words:
    words = (words ^ words >> np.uint64(30)) * np.uint64(0xBF58476D1CE4E5B9)
    words = (words ^ words >> np.uint64(27)) * np.uint64(0x94D049BB133111EB)
    return words ^ words >> np.uint64(31)
