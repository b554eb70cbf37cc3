"""Precision, recall, density and coverage equal a brute-force count, and see what they are there to see."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from dcgan.errors import DcganError
from dcgan.evaluate.precision_recall import PrecisionRecall, precision_recall


def brute_force(real: np.ndarray, fake: np.ndarray, k: int = 3, density_k: int = 5) -> PrecisionRecall:
    """The definitions, in float64, one distance matrix at a time."""

    def distances(first: np.ndarray, second: np.ndarray) -> np.ndarray:
        return np.stack([np.linalg.norm(second - row, axis=1) for row in first])

    def radii(points: np.ndarray, k: int) -> np.ndarray:
        return np.sort(distances(points, points), axis=1)[:, k]  # column 0 is the distance to itself

    real_to_fake = distances(real, fake)
    near = real_to_fake <= radii(real, density_k)[:, None]
    return PrecisionRecall(
        precision=(real_to_fake <= radii(real, k)[:, None]).any(0).mean(),
        recall=(real_to_fake <= radii(fake, k)[None]).any(1).mean(),
        density=near.sum(0).mean() / density_k,
        coverage=near.any(1).mean(),
    )


def features(count: int, dimensions: int, seed: int, shift: float = 0.0) -> torch.Tensor:
    """Normal float32 features around `shift`."""
    return torch.randn(count, dimensions, generator=torch.Generator().manual_seed(seed)) + shift


def figures(found: PrecisionRecall) -> tuple[float, ...]:
    """As a tuple."""
    return (found.precision, found.recall, found.density, found.coverage)


@pytest.mark.parametrize(("real", "fake", "dimensions"), [(60, 40, 2), (200, 300, 16), (2600, 2200, 3)])
def test_equals_brute_force(real: int, fake: int, dimensions: int) -> None:
    x, y = features(real, dimensions, 1), features(fake, dimensions, 2, shift=0.5)
    # a float32 distance may fall on the other side of a radius for a pair or two
    assert figures(precision_recall(x, y)) == pytest.approx(figures(brute_force(x.numpy(), y.numpy())), abs=2 / fake)


@given(st.integers(7, 30), st.integers(7, 30), st.integers(0, 1000), st.integers(1, 5), st.integers(1, 6))
def test_copies_and_ties_are_counted_exactly(real: int, fake: int, seed: int, k: int, density_k: int) -> None:
    # few grid points, many copies: balls of size zero and neighbours at equal distance
    rng = np.random.default_rng(seed)
    x, y = rng.integers(0, 3, (real, 2)) * 2.0, rng.integers(0, 3, (fake, 2)) * 2.0
    # centring on the mean is inexact, so keep ties exact by making the mean zero
    x = np.concatenate([x, -x])
    found = precision_recall(torch.from_numpy(x), torch.from_numpy(y), k=k, density_k=density_k)
    assert figures(found) == pytest.approx(figures(brute_force(x, y, k, density_k)))


def test_the_same_images_are_perfect() -> None:
    x = features(100, 8, 1)
    found = precision_recall(x, x)
    assert (found.precision, found.recall, found.coverage) == (1, 1, 1)
    assert found.density > 1  # each fake lies in the ball of its own copy besides those of neighbours


def test_another_set_is_none_of_it() -> None:
    assert figures(precision_recall(features(100, 8, 1), features(100, 8, 2, shift=50))) == (0, 0, 0, 0)


def test_few_repeated_images_are_precise_but_cover_nothing() -> None:
    real = features(400, 100, 1)
    found = precision_recall(real, real[:40].repeat(10, 1))
    assert found.precision == 1
    assert found.recall <= 40 / 400  # only the copied ones lie in balls of size zero
    assert found.coverage < 0.9


def test_a_common_offset_changes_nothing() -> None:
    x, y = features(100, 8, 1).double(), features(100, 8, 2, shift=0.5).double()
    assert precision_recall(x + 1e6, y + 1e6) == precision_recall(x, y)


def test_obstacles_are_told() -> None:
    some, nan = features(10, 4, 1), features(10, 4, 1)
    nan[0, 0] = torch.nan
    with pytest.raises(DcganError, match="NaN or infinity in 1 of 10 rows"):
        precision_recall(some, nan)
    with pytest.raises(DcganError, match="more than 5 real and 3 fake images, not 5 and 10"):
        precision_recall(some[:5], some)
    with pytest.raises(DcganError, match="more than 5 real and 3 fake images, not 10 and 3"):
        precision_recall(some, some[:3])
    with pytest.raises(DcganError, match="4 and of 3 dimensions"):
        precision_recall(some, some[:, :3])
