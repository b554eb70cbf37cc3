"""Every random number of the project: each draw is a function of (seed, purpose, index) and of nothing else.

A fresh generator is seeded for each draw, so there is no random state to save: a resumed run, another batch size
or another number of devices sees the same numbers.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import torch


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


def epoch_order(seed: int, epoch: int, count: int) -> torch.Tensor:
    """The order in which epoch number `epoch` visits `count` images: a permutation, int64."""
    return torch.randperm(count, generator=generator_for(seed, "order", epoch))
