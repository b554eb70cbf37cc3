"""Kernel distance: squared maximum mean discrepancy, cubic kernel (Binkowski et al. 2018, arXiv 1801.01401).

The estimator is unbiased: at any count, two sets from one distribution score 0 on average, so below 0 at times.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from dcgan.errors import DcganError
from dcgan.evaluate.features import require_finite


@dataclass(frozen=True)
class KernelDistance:
    """A kernel distance and how far to trust it."""

    value: float
    """Mean over subsets."""

    standard_error: float | None
    """Of `value`; None where the images fill only one subset."""

    subset_size: int
    """Images of either side in a subset."""

    subsets: int
    """Subsets drawn."""


def kernel_distance(
    real: Tensor, fake: Tensor, *, subset_size: int | None = None, subsets: int = 100, seed: int = 0
) -> KernelDistance:
    """Kernel distance between features N x D and M x D: the mean over `subsets` random subsets or a few more.

    Subsets are dealt as cards are: each pass over the shuffled images deals disjoint ones, and passes repeat until
    there are enough. The standard error comes from the spread within a pass and counts one pass only: further
    passes reuse the same images, so they are no new evidence. `subset_size` is by default a tenth of the smaller
    side, at most 1000; it is never more than the smaller side. Raises `DcganError` for fewer than 2 images on a
    side or in a subset, for NaN, or for features of different lengths.
    """
    require_finite(real)
    require_finite(fake)
    if real.shape[1] != fake.shape[1]:
        raise DcganError(f"features of {real.shape[1]} and of {fake.shape[1]} dimensions do not compare")
    fewer, more = sorted((len(real), len(fake)))
    if fewer < 2 or (subset_size is not None and subset_size < 2) or subsets < 1:
        raise DcganError(
            "a kernel distance needs 2 images on each side and in a subset, and 1 subset: "
            f"not {len(real)} real, {len(fake)} fake, subset size {subset_size}, {subsets} subsets"
        )
    size = max(2, min(1000, fewer // 10)) if subset_size is None else min(subset_size, fewer)
    in_a_pass = fewer // size
    passes = 1 if size == more else math.ceil(subsets / in_a_pass)  # a subset of everything never changes
    generator = torch.Generator().manual_seed(seed)
    values = torch.empty(passes, in_a_pass, dtype=torch.float64)
    for one_pass in values:
        order_real, order_fake = (torch.randperm(len(side), generator=generator) for side in (real, fake))
        for i in range(in_a_pass):
            dealt = slice(i * size, (i + 1) * size)
            one_pass[i] = squared_mmd(real[order_real[dealt]], fake[order_fake[dealt]])
    error = (values.var(dim=1).mean() / in_a_pass).sqrt().item() if in_a_pass > 1 else None
    return KernelDistance(values.mean().item(), error, size, values.numel())


def squared_mmd(first: Tensor, second: Tensor) -> float:
    """Unbiased squared maximum mean discrepancy of features N x D and M x D (N, M > 1), in float64."""
    first, second = first.double(), second.double()
    n, m = len(first), len(second)
    within_first = (_kernel_sum(first, first) - _self_kernel_sum(first)) / (n * (n - 1))
    within_second = (_kernel_sum(second, second) - _self_kernel_sum(second)) / (m * (m - 1))
    return (within_first + within_second - 2 * _kernel_sum(first, second) / (n * m)).item()


def _kernel_sum(first: Tensor, second: Tensor, chunk: int = 1024) -> Tensor:
    """Sum of the kernel (x . y / D + 1)^3 over all pairs, holding `chunk` rows of it at a time."""
    dimensions = first.shape[1]
    rows = [(part @ second.T / dimensions + 1).pow_(3).sum() for part in torch.split(first, chunk)]
    return torch.stack(rows).sum()


def _self_kernel_sum(features: Tensor) -> Tensor:
    """Sum of the kernel of each vector with itself."""
    return (features.square().sum(1) / features.shape[1] + 1).pow(3).sum()
