"""The confidence interval covers the truth as often as it says."""

from __future__ import annotations

import numpy as np
import pytest

from dcgan.confidence import accuracy, difference, student


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


@pytest.mark.parametrize(("runs", "gain"), [(5, 0.0), (3, 0.04)])
def test_the_interval_of_a_difference_covers_it_too_and_is_narrower(runs: int, gain: float) -> None:
    random = np.random.default_rng(1)
    tested, covered, widths = 500, 0, []
    for _ in range(1000):
        images = random.random(tested)
        luck = 0.03 * random.standard_normal((runs, 1))  # what both methods share in a run
        one, other = (images < 0.8 + step + luck + 0.01 * random.standard_normal((runs, 1)) for step in (gain, 0))
        found = difference(one, other)
        covered += found.low <= gain <= found.high
        alone = accuracy(one.mean(1).tolist(), tested)
        widths.append((found.high - found.low) / (alone.high - alone.low))
    assert 0.92 <= covered / 1000 <= 0.99
    assert np.mean(widths) < 0.7
