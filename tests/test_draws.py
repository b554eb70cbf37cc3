"""Random draws: each a function of its own names alone."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dcgan.draws import draw_latents, epoch_order, generator_for, latents_from_seeds


@given(st.lists(st.integers(0, 2**63 - 1), max_size=6), st.integers(0, 2**63 - 1))
@settings(max_examples=30, deadline=None)
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
