"""How sure a measured accuracy is."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

# Two-sided 95% points of Student's t for 1, 2, ... degrees of freedom; beyond them a series is as good.
_STUDENT = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228)
_NORMAL = 1.959964


class Accuracy(NamedTuple):
    """A mean accuracy and its 95% confidence interval, each from 0 to 1."""

    mean: float
    low: float
    high: float

    def __str__(self) -> str:
        """In percent, such as 86.7 ± 1.2."""
        return f"{100 * self.mean:.1f} ± {50 * (self.high - self.low):.1f}"


def accuracy(runs: Sequence[float], tested: int) -> Accuracy:
    """The mean of one or more runs' accuracies on the same `tested` images, with its confidence interval.

    Two things make it uncertain, and their variances add up: what the runs drew (Student's t over runs; nothing is
    known of it from a single one) and which images they were tested on (binomial).
    """
    mean = math.fsum(runs) / len(runs)
    by_test = _NORMAL**2 * mean * (1 - mean) / tested
    by_runs = student(len(runs) - 1) ** 2 * _variance(runs, mean) / len(runs) if len(runs) > 1 else 0.0
    half = math.sqrt(by_test + by_runs)
    return Accuracy(mean, mean - half, mean + half)


def difference(one: npt.NDArray[np.bool_], other: npt.NDArray[np.bool_]) -> Accuracy:
    """By how much `one` is more accurate than `other`, with its confidence interval; both R x N, right or wrong.

    R runs on the same N tested images, run for run alike in all else: what is common to both cancels out.
    """
    change = one.astype(np.float64) - other
    runs, tested = change.shape
    by_run, by_image = change.mean(1), change.mean(0)
    by_test = _NORMAL**2 * float(by_image.var()) / tested
    by_runs = student(runs - 1) ** 2 * float(by_run.var(ddof=1)) / runs if runs > 1 else 0.0
    half = math.sqrt(by_test + by_runs)
    mean = float(change.mean())
    return Accuracy(mean, mean - half, mean + half)


def student(freedom: int) -> float:
    """The two-sided 95% point of Student's t distribution with `freedom` degrees of freedom."""
    if freedom <= len(_STUDENT):
        return _STUDENT[freedom - 1]
    z = _NORMAL  # Abramowitz and Stegun 26.7.5
    return z + (z**3 + z) / (4 * freedom) + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * freedom**2)


def _variance(values: Sequence[float], mean: float) -> float:
    return math.fsum((value - mean) ** 2 for value in values) / (len(values) - 1)
