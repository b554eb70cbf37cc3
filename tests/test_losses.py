"""Losses: the formulas of their papers, on numbers."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F

from dcgan.losses import LOSSES

LOGITS = torch.linspace(-6, 6, 25, dtype=torch.float64)


def test_bce_is_torchs_own() -> None:
    targets = torch.rand(25, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    ours = LOSSES["bce"].discriminator(LOGITS, targets)
    torch.testing.assert_close(ours, F.binary_cross_entropy_with_logits(LOGITS, targets))
    flipped = F.binary_cross_entropy_with_logits(LOGITS, torch.ones_like(LOGITS))
    torch.testing.assert_close(LOSSES["bce"].generator(LOGITS).mean(), flipped)


@pytest.mark.parametrize("name", LOSSES)
def test_each_network_wants_what_it_should(name: str) -> None:
    """A higher logit costs less for a real image and for the generator, and more for a fake, where it is undecided."""
    loss, x = LOSSES[name], torch.tensor([0.0], requires_grad=True)
    for cost, sign in ((loss.real, -1), (loss.fake, 1), (loss.generator, -1)):
        (slope,) = torch.autograd.grad(cost(x).sum(), x)
        assert math.copysign(1, slope.item()) == sign


@pytest.mark.parametrize("name", LOSSES)
def test_a_fake_costs_what_a_real_of_the_opposite_logit_costs(name: str) -> None:
    torch.testing.assert_close(LOSSES[name].fake(LOGITS), LOSSES[name].real(-LOGITS))


def test_least_squares_is_that_of_targets_zero_and_one_up_to_scale() -> None:
    """With the discriminator's output moved to (x + 1) / 2, Mao et al.'s targets 1 and 0, times 4."""
    moved = (LOGITS + 1) / 2
    torch.testing.assert_close(LOSSES["least_squares"].real(LOGITS), 4 * (moved - 1) ** 2 / 2)
    torch.testing.assert_close(LOSSES["least_squares"].fake(LOGITS), 4 * moved**2 / 2)


def test_hinge_stops_where_the_discriminator_is_sure() -> None:
    assert LOSSES["hinge"].real(torch.tensor([1.5])).item() == 0
    assert LOSSES["hinge"].fake(torch.tensor([-1.5])).item() == 0
    assert LOSSES["hinge"].generator(torch.tensor([1.5])).item() == -1.5


def test_soft_targets_mix_the_two_costs() -> None:
    loss = LOSSES["bce"]
    mixed = loss.discriminator(LOGITS, torch.full_like(LOGITS, 0.9))
    torch.testing.assert_close(mixed, (0.9 * loss.real(LOGITS) + 0.1 * loss.fake(LOGITS)).mean())
