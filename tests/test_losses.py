"""Losses: the formulas of their papers, on numbers."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from dcgan.losses import LOSSES, Pointwise, gradient_penalty

LOGITS = torch.linspace(-6, 6, 25, dtype=torch.float64)
ONES, ZEROS = torch.ones_like(LOGITS), torch.zeros_like(LOGITS)
POINTWISE = {name: loss for name, loss in LOSSES.items() if isinstance(loss, Pointwise)}


def test_bce_is_torchs_own() -> None:
    draws = torch.Generator().manual_seed(0)
    real_targets, fake_targets, fake = torch.rand(3, 25, dtype=torch.float64, generator=draws)
    ours = LOSSES["bce"].discriminator(LOGITS, fake, real_targets, fake_targets)
    torchs = [F.binary_cross_entropy_with_logits(*pair) for pair in ((LOGITS, real_targets), (fake, fake_targets))]
    torch.testing.assert_close(ours, torchs[0] + torchs[1])
    flipped = F.binary_cross_entropy_with_logits(fake, ONES)
    torch.testing.assert_close(LOSSES["bce"].generator(LOGITS, fake), flipped)


@pytest.mark.parametrize("name", LOSSES)
def test_each_network_wants_what_it_should(name: str) -> None:
    """A higher logit costs less for a real image and for the generator, and more for a fake, where it is undecided."""
    loss = LOSSES[name]
    real, fake = torch.zeros(2, 4, requires_grad=True).unbind()
    of_real, of_fake = torch.autograd.grad(loss.discriminator(real, fake, torch.ones(4), torch.zeros(4)), [real, fake])
    (of_generated,) = torch.autograd.grad(loss.generator(real.detach(), fake), fake)
    assert (of_real < 0).all()
    assert (of_fake > 0).all()
    assert (of_generated < 0).all()


@pytest.mark.parametrize("name", LOSSES)
def test_a_fake_costs_what_a_real_of_the_opposite_logit_costs(name: str) -> None:
    loss, other = LOSSES[name], LOGITS.roll(3)
    torch.testing.assert_close(
        loss.discriminator(LOGITS, other, ONES, ZEROS), loss.discriminator(-other, -LOGITS, ONES, ZEROS)
    )


def test_least_squares_is_that_of_targets_zero_and_one_up_to_scale() -> None:
    """With the discriminator's output moved to (x + 1) / 2, Mao et al.'s targets 1 and 0, times 4."""
    moved, loss = (LOGITS + 1) / 2, POINTWISE["least_squares"]
    torch.testing.assert_close(loss.real_cost(LOGITS), 4 * (moved - 1) ** 2 / 2)
    torch.testing.assert_close(loss.fake_cost(LOGITS), 4 * moved**2 / 2)


def test_hinge_stops_where_the_discriminator_is_sure() -> None:
    loss = POINTWISE["hinge"]
    assert loss.real_cost(torch.tensor([1.5])).item() == 0
    assert loss.fake_cost(torch.tensor([-1.5])).item() == 0
    assert loss.generator_cost(torch.tensor([1.5])).item() == -1.5


def test_soft_targets_mix_the_two_costs() -> None:
    loss = POINTWISE["bce"]
    mixed = loss.discriminator(LOGITS, LOGITS, torch.full_like(LOGITS, 0.9), ZEROS)
    on_real = 0.9 * loss.real_cost(LOGITS) + 0.1 * loss.fake_cost(LOGITS)
    torch.testing.assert_close(mixed, on_real.mean() + loss.fake_cost(LOGITS).mean())


def test_relativistic_pairing_sees_differences_alone() -> None:
    loss = LOSSES["relativistic"]
    fake = LOGITS.flip(0) / 2
    for cost in (loss.generator, lambda real, fake: loss.discriminator(real, fake, ONES, ZEROS)):
        torch.testing.assert_close(cost(LOGITS, fake), cost(LOGITS + 5, fake + 5))
    torch.testing.assert_close(loss.generator(LOGITS, fake), -F.logsigmoid(fake - LOGITS).mean())


def test_the_gradient_penalty_of_a_known_function() -> None:
    """D(x) = |x|^2 / 2 has gradient x, and the penalty's own gradient by x is then 2 x / N."""
    images = torch.randn(3, 2, 4, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).requires_grad_()
    penalty = gradient_penalty(images.square().sum((1, 2, 3)) / 2, images)
    torch.testing.assert_close(penalty.double(), images.square().sum() / 3, rtol=1e-6, atol=0)
    (slope,) = torch.autograd.grad(penalty, images)
    torch.testing.assert_close(slope, 2 * images / 3, rtol=1e-6, atol=0)
