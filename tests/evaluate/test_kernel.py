"""The kernel distance equals an independent implementation's, is unbiased, and knows its own error."""

import pytest
import torch

from dcgan.errors import DcganError
from dcgan.evaluate.kernel import kernel_distance, squared_mmd


def features(count: int, dimensions: int, seed: int, shift: float = 0.0) -> torch.Tensor:
    """Normal float32 features around `shift`."""
    return torch.randn(count, dimensions, generator=torch.Generator().manual_seed(seed)) + shift


@pytest.mark.filterwarnings("ignore:Metric `Kernel Inception Distance` will save all")
def test_equals_torchmetrics() -> None:
    kid = pytest.importorskip("torchmetrics.image.kid")
    first, second = features(120, 16, 1).double(), features(120, 16, 2, shift=0.3).double()
    oracle = kid.KernelInceptionDistance(feature=torch.nn.Identity(), subset_size=120, subsets=1)
    oracle.update(first, real=True)
    oracle.update(second, real=False)
    expected = oracle.compute()[0].item()
    found = kernel_distance(first, second, subset_size=120)
    assert found.value == pytest.approx(expected, rel=1e-6)
    assert (found.standard_error, found.subset_size, found.subsets) == (None, 120, 1)


def test_squared_mmd_is_the_sum_over_pairs() -> None:
    x, y = features(7, 3, 1).double(), features(5, 3, 2, shift=1).double()

    def mean(first: torch.Tensor, second: torch.Tensor, same: bool) -> float:
        pairs = [(i, j) for i in range(len(first)) for j in range(len(second)) if not (same and i == j)]
        return sum(float(first[i] @ second[j] / 3 + 1) ** 3 for i, j in pairs) / len(pairs)

    expected = mean(x, x, True) + mean(y, y, True) - 2 * mean(x, y, False)
    assert squared_mmd(x, y) == pytest.approx(expected, rel=1e-9)


def test_more_rows_than_are_held_at_once() -> None:
    x, y = features(2500, 4, 1).double(), features(1100, 4, 2, shift=0.5).double()
    within = [((z @ z.T / 4 + 1) ** 3).fill_diagonal_(0).sum() / (len(z) * (len(z) - 1)) for z in (x, y)]
    expected = within[0] + within[1] - 2 * ((x @ y.T / 4 + 1) ** 3).mean()
    assert squared_mmd(x, y) == pytest.approx(expected.item(), rel=1e-9)


def test_unbiased_and_its_standard_error_is_the_true_one() -> None:
    real = features(64 * 200, 8, 1).reshape(200, 64, 8)
    fake = features(64 * 200, 8, 2).reshape(200, 64, 8)
    found = [kernel_distance(x, y, subset_size=8, subsets=8) for x, y in zip(real, fake, strict=True)]
    values = torch.tensor([one.value for one in found])
    errors = torch.tensor([one.standard_error for one in found])
    true_error = values.std()
    assert values.mean().abs() < 3 * true_error / 200**0.5
    assert errors.square().mean().sqrt() == pytest.approx(true_error, rel=0.25)
    # further passes over the same images must not claim a smaller error
    more = [kernel_distance(x, y, subset_size=8, subsets=80) for x, y in zip(real[:50], fake[:50], strict=True)]
    again = torch.tensor([one.standard_error for one in more]).square().mean().sqrt()
    assert again == pytest.approx(errors[:50].square().mean().sqrt(), rel=0.25)


def test_seed_decides_and_counts_are_reported() -> None:
    real, fake = features(300, 4, 1), features(200, 4, 2, shift=0.2)
    found = kernel_distance(real, fake, subsets=25, seed=3)
    assert found == kernel_distance(real, fake, subsets=25, seed=3)
    assert found != kernel_distance(real, fake, subsets=25, seed=4)
    assert (found.subset_size, found.subsets) == (20, 30)  # a tenth of 200; three whole passes of ten


def test_obstacles_are_told() -> None:
    some, nan = features(10, 4, 1), features(10, 4, 1)
    nan[0, 0] = torch.inf
    with pytest.raises(DcganError, match="NaN or infinity in 1 of 10 rows"):
        kernel_distance(some, nan)
    with pytest.raises(DcganError, match=r"2 images on each side.*1 fake"):
        kernel_distance(some, some[:1])
    with pytest.raises(DcganError, match="subset size 1"):
        kernel_distance(some, some, subset_size=1)
    with pytest.raises(DcganError, match="4 and of 3 dimensions"):
        kernel_distance(some, some[:, :3])
