"""The Frechet distance equals an independent implementation's, its closed forms and its own laws."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from dcgan.errors import DcganError
from dcgan.evaluate.frechet import FeatureStatistics, frechet_distance


def features(count: int, dimensions: int, seed: int) -> torch.Tensor:
    """Correlated float64 features whose mean, scale and correlation depend on the seed."""
    generator = torch.Generator().manual_seed(seed)
    mix = torch.randn(dimensions, dimensions, generator=generator, dtype=torch.float64) / dimensions**0.5
    return torch.randn(count, dimensions, generator=generator, dtype=torch.float64) @ mix + 0.1 * seed


def distance(first: torch.Tensor, second: torch.Tensor) -> float:
    """The distance between two sets of features."""
    return frechet_distance(FeatureStatistics.of(first), FeatureStatistics.of(second))


@pytest.mark.parametrize(("real", "fake", "dimensions"), [(500, 300, 64), (200, 200, 8), (40, 60, 96)])
def test_equals_torchmetrics(real: int, fake: int, dimensions: int) -> None:
    fid = pytest.importorskip("torchmetrics.image.fid")
    oracle = fid.FrechetInceptionDistance(feature=torch.nn.Identity(), input_img_size=(dimensions,))
    oracle = oracle.set_dtype(torch.float64)
    first, second = features(real, dimensions, 1), features(fake, dimensions, 2)
    oracle.update(first, real=True)
    oracle.update(second, real=False)
    assert distance(first, second) == pytest.approx(oracle.compute().item(), rel=1e-3)


spreads = st.lists(
    st.tuples(st.floats(-3, 3), st.floats(-3, 3), st.floats(0, 3), st.floats(0, 3)), min_size=1, max_size=6
)


@given(spreads, st.integers(0, 1000))
def test_gaussians_with_common_axes_have_a_closed_form(axes: list[tuple[float, ...]], seed: int) -> None:
    mean1, mean2, sigma1, sigma2 = torch.tensor(axes, dtype=torch.float64).unbind(1)
    generator = torch.Generator().manual_seed(seed)
    square = torch.randn(len(axes), len(axes), generator=generator, dtype=torch.float64)
    rotation, _ = torch.linalg.qr(square)
    first, second = (
        FeatureStatistics.from_moments(1000, rotation @ mean, rotation @ (sigma**2).diag() @ rotation.T)
        for mean, sigma in ((mean1, sigma1), (mean2, sigma2))
    )
    expected = (mean1 - mean2).square().sum() + (sigma1 - sigma2).square().sum()
    # a rotated variance of 0 comes back as about 1e-16, its root as 1e-8
    assert frechet_distance(first, second) == pytest.approx(expected.item(), rel=1e-9, abs=1e-6)


@pytest.mark.parametrize(("real", "fake"), [(5, 7), (5, 200), (200, 5), (2, 2)])
def test_fewer_images_than_dimensions(real: int, fake: int) -> None:
    first, second = features(real, 64, 1), features(fake, 64, 2)
    # tr (C1 C2)^(1/2) without any D x D matrix: the nuclear norm of X Y^T for centred X and Y
    x, y = (side - side.mean(0) for side in (first, second))
    cross = torch.linalg.matrix_norm(x @ y.T, "nuc") / ((real - 1) * (fake - 1)) ** 0.5
    spread = first.var(0).sum() + second.var(0).sum()
    expected = (first.mean(0) - second.mean(0)).square().sum() + spread - 2 * cross
    assert distance(first, second) == pytest.approx(expected.item(), rel=1e-9)


def test_a_set_is_at_distance_zero_from_itself() -> None:
    for count in (10, 500):
        assert distance(features(count, 32, 1), features(count, 32, 1)) == pytest.approx(0, abs=1e-9)


def test_symmetric_and_blind_to_a_common_shift() -> None:
    first, second = features(100, 32, 1), features(80, 32, 2)
    expected = distance(first, second)
    assert distance(second, first) == pytest.approx(expected, rel=1e-10)
    assert distance(first + 1e4, second + 1e4) == pytest.approx(expected, rel=1e-8)


@given(st.lists(st.integers(1, 40), min_size=1, max_size=5), st.integers(1, 50))
def test_statistics_do_not_depend_on_the_split(sizes: list[int], chunk: int) -> None:
    whole = features(sum(sizes) + 1, 5, 3) + 1e4
    parts = [FeatureStatistics.of(part, chunk=chunk) for part in whole.split([*sizes, 1])]
    merged = parts[0]
    for part in parts[1:]:
        merged = merged + part
    assert merged.count == len(whole)
    torch.testing.assert_close(merged.mean, whole.mean(0))
    torch.testing.assert_close(merged.covariance, whole.T.cov(), rtol=1e-7, atol=1e-10)


def test_statistics_survive_their_moments() -> None:
    statistics = FeatureStatistics.of(features(50, 6, 1))
    again = FeatureStatistics.from_moments(statistics.count, statistics.mean, statistics.covariance)
    torch.testing.assert_close(again.scatter, statistics.scatter)


def test_obstacles_are_told() -> None:
    some, nan = features(10, 4, 1), features(10, 4, 1)
    nan[3, 2] = torch.nan
    with pytest.raises(DcganError, match="NaN or infinity in 1 of 10 rows"):
        FeatureStatistics.of(nan)
    with pytest.raises(DcganError, match="no features"):
        FeatureStatistics.of(some[:0])
    with pytest.raises(DcganError, match="at least 2 images"):
        distance(some, some[:1])
    with pytest.raises(DcganError, match="4 and of 3 dimensions"):
        distance(some, some[:, :3])


def test_it_does_not_hang_on_one_librarys_convergence(monkeypatch: pytest.MonkeyPatch) -> None:
    draws = torch.Generator().manual_seed(0)
    first, second = (FeatureStatistics.of(torch.randn(40, 8, generator=draws) + shift) for shift in (0, 1))
    expected = frechet_distance(first, second)

    def fail(_: torch.Tensor) -> None:
        raise torch.linalg.LinAlgError("did not converge")

    monkeypatch.setattr(torch.linalg, "eigh", fail)
    assert frechet_distance(first, second) == pytest.approx(expected, rel=1e-9)
