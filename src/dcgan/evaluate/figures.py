"""The figures: what is measured between the features of real images and of fakes, and what each is called."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from torch import Tensor

from dcgan.evaluate.features import FeatureExtractor
from dcgan.evaluate.frechet import FeatureStatistics, frechet_distance
from dcgan.evaluate.inception import SHA256_PREFIX
from dcgan.evaluate.kernel import KernelDistance, kernel_distance
from dcgan.evaluate.precision_recall import PrecisionRecall, precision_recall

FEWEST = 6
"""Real and fake images below which some figure is not defined."""
VERSION = 1
"""Changes with anything that changes a figure at given features."""


@dataclass(frozen=True)
class Figures:
    """All figures of one comparison."""

    frechet_distance: float
    """0 where both sides have the same mean and covariance; biased upwards, more so the fewer the images."""

    kernel: KernelDistance
    """0 on average where both sides come from one distribution, at any count."""

    precision_recall: PrecisionRecall
    """How both sides lie among each other."""

    def named(self, frechet: str) -> dict[str, float]:
        """The figures by the names they go by, that of the Frechet distance first."""
        return {
            frechet: self.frechet_distance,
            "kernel_distance": self.kernel.value,
            **dataclasses.asdict(self.precision_recall),
        }


def measure(real: Tensor, fake: Tensor, seed: int) -> Figures:
    """All figures between features N x D and M x D; `seed` decides the kernel distance's subsets.

    Raises `DcganError` for fewer than `FEWEST` images on a side, or NaN.
    """
    return Figures(
        frechet_distance(FeatureStatistics.of(real), FeatureStatistics.of(fake)),
        kernel_distance(real, fake, seed=seed),
        precision_recall(real, fake),
    )


def frechet_name(extractor: FeatureExtractor) -> str:
    """What a Frechet distance on these features is called: FID only on those that define it."""
    if extractor.name == "inception" and extractor.digest.startswith(SHA256_PREFIX):
        return "FID"
    return f"FD-{extractor.name}"
