"""Differentiable augmentation: what it does to images is what it says, and so are its derivatives."""

from __future__ import annotations

import pytest
import torch

from dcgan.diffaug import NUMBERS, augment


def draws(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def drawn(count: int, seed: int) -> torch.Tensor:
    return torch.rand(NUMBERS, count, generator=draws(seed))


def fixed(*numbers: float) -> torch.Tensor:
    """These numbers for each image: brightness, saturation, contrast, down, right, hole y, hole x."""
    return torch.tensor(numbers)[:, None].expand(-1, len(IMAGES))


IMAGES = torch.rand(3, 3, 16, 24, generator=draws()) * 2 - 1
NEUTRAL = (0.5, 0.5, 0.5, 0.5, 0.5)


def test_each_image_is_drawn_for_and_the_same_draws_give_the_same() -> None:
    same = IMAGES[:1].expand(8, -1, -1, -1)
    out = augment(same, drawn(8, 1))
    assert torch.equal(out, augment(same, drawn(8, 1)))
    assert all(not torch.allclose(out[0], other) for other in out[1:])


def test_middle_draws_change_nothing_but_the_hole() -> None:
    numbers = fixed(*NEUTRAL, 0.5, 0.0)
    out = augment(IMAGES, numbers)
    expected = IMAGES.clone()
    expected[:, :, 4:12, :6] = 0  # half of the height around the middle, a quarter of the width from the edge
    torch.testing.assert_close(out, expected)


@pytest.mark.parametrize(("draw", "moved"), [(0.0, -2), (0.99, 2), (0.5, 0)])
def test_shifts_move_by_an_eighth_at_most_and_leave_black_behind(draw: float, moved: int) -> None:
    numbers = fixed(0.5, 0.5, 0.5, draw, 0.5, 0.999, 0.999)
    rows = augment(IMAGES, numbers)[:, :, :8, :12]  # where the hole is not
    expected = torch.zeros_like(IMAGES)
    source = IMAGES[:, :, max(0, -moved) : 16 - max(0, moved)]
    expected[:, :, max(0, moved) : 16 - max(0, -moved)] = source
    torch.testing.assert_close(rows, expected[:, :, :8, :12])


def test_colour() -> None:
    numbers = fixed(0.75, 0.0, 0.5, 0.5, 0.5, 0.999, 0.999)  # brighter by 0.25, no saturation
    out = augment(IMAGES, numbers)[:, :, :8, :12]
    grey = IMAGES.mean(1, keepdim=True) + 0.25
    torch.testing.assert_close(out, grey.expand_as(IMAGES)[:, :, :8, :12])


def test_it_has_first_and_second_derivatives() -> None:
    images = torch.randn(2, 2, 8, 8, dtype=torch.float64, generator=draws()).requires_grad_()

    def function(images: torch.Tensor) -> torch.Tensor:
        return augment(images, drawn(2, 3).double()).pow(3)

    assert torch.autograd.gradcheck(function, images, fast_mode=True)
    assert torch.autograd.gradgradcheck(function, images, fast_mode=True)
