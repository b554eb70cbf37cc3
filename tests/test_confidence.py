"""The confidence interval covers the truth as often as it says."""

from __future__ import annotations

import numpy as np
import pytest

from dcgan.confidence import accuracy, student


@pytest.mark.parametrize(("runs", "between"), [(5, 0.03), (5, 0.0), (3, 0.05), (1, 0.0)])
def test_the_interval_covers_the_truth_95_times_in_100(runs: int, between: float) -> None:
    random = np.random.default_rng(0)
    truth, tested, covered = 0.8, 500, 0
    for _ in range(2000):
        images = random.random(tested)  # how hard each tested image is, the same for all runs
        skills = np.clip(truth + between * random.standard_normal(runs), 0, 1)
        found = accuracy([float((images < skill).mean()) for skill in skills], tested)
        covered += found.low <= truth <= found.high
    assert 0.93 <= covered / 2000 <= 0.985


def test_student_agrees_with_scipy() -> None:
    stats = pytest.importorskip("scipy.stats")
    for freedom in (1, 2, 4, 9, 10, 11, 20, 100):
        assert student(freedom) == pytest.approx(stats.t.ppf(0.975, freedom), abs=2.5e-3)


def test_it_prints_in_percent() -> None:
    assert str(accuracy([0.9, 0.9], 900)) == "90.0 ± 2.0"
