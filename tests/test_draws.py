"""Random draws: each a function of its own names alone."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dcgan.draws import LARGE, LargeOrder, draw_latents, epoch_order, generator_for, latents_from_seeds


@given(st.lists(st.integers(0, 2**63 - 1), max_size=6), st.integers(0, 2**63 - 1))
@settings(max_examples=30)
def test_a_latent_does_not_depend_on_its_neighbours(others: list[int], seed: int) -> None:
    together = latents_from_seeds([*others, seed], 7, "normal")
    assert torch.equal(together[-1], latents_from_seeds([seed], 7, "normal")[0])


def test_seed_purpose_and_index_each_matter() -> None:
    def draw(*names: object) -> float:
        return torch.rand(1, generator=generator_for(*names)).item()  # type: ignore[arg-type]

    assert len({draw(0, "a", 0), draw(1, "a", 0), draw(0, "b", 0), draw(0, "a", 1)}) == 4
    assert draw(3, "a", 5) == draw(3, "a", 5)


@pytest.mark.parametrize(("latent", "deviation"), [("normal", 1.0), ("uniform", 3**-0.5)])
def test_latents_have_the_moments_they_should(latent: str, deviation: float) -> None:
    for latents in (
        latents_from_seeds(range(2000), 50, latent),
        draw_latents([2000, 50], latent, generator_for(0, "test", 0)),
    ):
        assert abs(latents.mean().item()) < 0.01
        assert abs(latents.std().item() - deviation) < 0.01


@pytest.mark.parametrize("latent", ["normal", "uniform"])
def test_truncation_bounds_and_keeps_the_order(latent: str) -> None:
    whole = latents_from_seeds(range(200), 20, latent)
    cut = latents_from_seeds(range(200), 20, latent, truncation=0.7)
    assert cut.abs().max().item() <= 0.7
    order = whole.flatten().argsort()
    assert (cut.flatten()[order].diff() >= 0).all()


def test_wide_truncation_changes_nothing() -> None:
    torch.testing.assert_close(
        latents_from_seeds(range(50), 20, "normal", truncation=50.0), latents_from_seeds(range(50), 20, "normal")
    )


def test_an_epoch_visits_each_image_once() -> None:
    first, second = epoch_order(0, 0, 100), epoch_order(0, 1, 100)
    assert torch.equal(first.sort().values, torch.arange(100))
    assert not torch.equal(first, second)


@pytest.mark.parametrize("count", [2, 3, 7, 64, 65, 1000, 4097])
def test_a_large_order_is_a_permutation_that_only_seed_and_epoch_decide(count: int) -> None:
    orders = [LargeOrder(seed, epoch, count)[torch.arange(count)].tolist() for seed, epoch in ((0, 0), (0, 1), (1, 0))]
    assert all(sorted(order) == list(range(count)) for order in orders)
    assert orders[0] == [int(LargeOrder(0, 0, count)[torch.tensor([place])]) for place in range(count)]
    if count > 60:
        assert len({tuple(order) for order in orders}) == 3


def test_a_large_order_mixes_like_a_random_one() -> None:
    count = 1 << 16
    order = LargeOrder(0, 0, count)[torch.arange(count)].double()
    neighbours = torch.corrcoef(torch.stack([order[:-1], order[1:]]))[0, 1]
    place = torch.corrcoef(torch.stack([order, torch.arange(count).double()]))[0, 1]
    assert abs(float(neighbours)) < 4 / count**0.5
    assert abs(float(place)) < 4 / count**0.5
    fixed = int((order == torch.arange(count)).sum())
    assert fixed < 10, "as many as a random permutation: 1 on average"


def test_orders_of_large_sets_take_no_memory_and_never_change() -> None:
    order = epoch_order(7, 3, 10**9)
    assert isinstance(order, LargeOrder)
    assert order[torch.tensor([0, 1, 2, 999_999_999])].tolist() == [293255163, 738589821, 497996748, 812747690]
    assert isinstance(epoch_order(7, 3, LARGE), torch.Tensor)
