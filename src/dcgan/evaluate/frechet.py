"""Frechet distance between Gaussians fitted to two sets of features (Heusel et al. 2017, arXiv 1706.08500).

d^2 = |m1 - m2|^2 + tr C1 + tr C2 - 2 tr (C1 C2)^(1/2), all in float64. It may be called FID only where the
features are those of the Inception network of 2015-12-05.
"""

from __future__ import annotations

import functools
import operator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from dcgan.errors import DcganError
from dcgan.evaluate.features import require_finite


@dataclass(frozen=True, eq=False)
class FeatureStatistics:
    """Count, mean and scatter of a set of features, in float64; two of them add up to those of both sets."""

    count: int
    """Number of images."""

    mean: Tensor
    """D numbers."""

    scatter: Tensor
    """D x D: the sum over images of the outer product of deviations from the mean."""

    @classmethod
    def of(cls, features: Tensor, chunk: int = 1024) -> FeatureStatistics:
        """Statistics of features N x D of any float type; `DcganError` if there are none or one is NaN."""
        require_finite(features)
        if not len(features):
            raise DcganError("there are no features to take statistics of")
        parts = []
        for part in torch.split(features, chunk):  # so that no float64 copy of them all is held
            mean = part.double().mean(0)
            deviations = part.double() - mean
            parts.append(cls(len(part), mean, deviations.T @ deviations))
        return functools.reduce(operator.add, parts)

    @classmethod
    def from_moments(cls, count: int, mean: Tensor, covariance: Tensor) -> FeatureStatistics:
        """Statistics of `count` images known by their mean (D) and unbiased covariance (D x D)."""
        return cls(count, mean.double(), covariance.double() * (count - 1))

    def __add__(self, other: FeatureStatistics) -> FeatureStatistics:
        """Statistics of both sets together (Chan, Golub and LeVeque 1979: stable where raw sums cancel)."""
        count = self.count + other.count
        difference = other.mean - self.mean
        return FeatureStatistics(
            count,
            self.mean + difference * (other.count / count),
            self.scatter + other.scatter + difference.outer(difference) * (self.count * other.count / count),
        )

    @property
    def covariance(self) -> Tensor:
        """Unbiased covariance, D x D; `DcganError` for a single image, which has none."""
        if self.count < 2:
            raise DcganError(f"a Frechet distance needs at least 2 images on each side, not {self.count}")
        return self.scatter / (self.count - 1)


def frechet_distance(first: FeatureStatistics, second: FeatureStatistics) -> float:
    """Squared Frechet distance between the Gaussians with these statistics, at least 0; symmetric.

    It is exact for fewer images than dimensions too. Raises `DcganError` for fewer than 2 images, or features of
    different lengths.
    """
    if first.mean.shape != second.mean.shape:
        raise DcganError(f"features of {len(first.mean)} and of {len(second.mean)} dimensions do not compare")
    # With C = F F^T, the eigenvalues of C1 C2 are the squared singular values of F1^T F2. Taking the singular
    # values keeps full float64 precision; taking eigenvalues and their root would keep half of the digits.
    cross = torch.linalg.svdvals(_factor(first).T @ _factor(second)).sum()
    spread = first.covariance.trace() + second.covariance.trace()
    distance = (first.mean - second.mean).square().sum() + spread - 2 * cross
    return max(0.0, float(distance))  # equal sets may round to just below zero


def _factor(statistics: FeatureStatistics) -> Tensor:
    """F with F F^T = C, D x r where r is the rank that the count allows."""
    covariance = statistics.covariance
    try:
        eigenvalues, vectors = torch.linalg.eigh(covariance)  # ascending
    except RuntimeError:  # LinAlgError: seen once, of 64 nearly equal images; numpy's LAPACK is another one
        eigenvalues, vectors = map(torch.from_numpy, np.linalg.eigh(covariance.numpy()))
    rank = min(statistics.count - 1, len(eigenvalues))
    factor: Tensor = vectors[:, -rank:] * eigenvalues[-rank:].clamp(min=0).sqrt()
    return factor
