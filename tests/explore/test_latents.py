"""Paths in the latent space."""

from __future__ import annotations

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch import Tensor

from dcgan.draws import latents_from_seeds
from dcgan.errors import DcganError
from dcgan.explore.latents import lerp, move, slerp, walk

SHARES = torch.linspace(0, 1, 11)[:, None]


def latents(*seeds: int, size: int = 20) -> Tensor:
    return latents_from_seeds(seeds, size, "normal").double()


def test_slerp_goes_evenly_along_a_circle_from_end_to_end() -> None:
    a, b = latents(0), latents(1)
    path = slerp(a, b, SHARES.double())
    torch.testing.assert_close(path[[0, -1]], torch.cat([a, b]))
    unit = torch.nn.functional.normalize(path)
    turns = (unit[:-1] * unit[1:]).sum(1).clamp(-1, 1).arccos()
    torch.testing.assert_close(turns, turns.mean().expand(10))
    torch.testing.assert_close(path.norm(dim=1), lerp(a.norm(), b.norm(), SHARES[:, 0].double()))
    assert torch.linalg.matrix_rank(path) == 2


@given(st.integers(0, 2**62), st.floats(-2, 2), st.floats(-1, 1))
@example(0, -1e-29, 0.25)  # whose square is no float32
@settings(max_examples=50)
def test_slerp_is_finite_and_keeps_the_norm_even_between_equal_and_opposite_points(
    seed: int, scale: float, t: float
) -> None:
    a = latents_from_seeds([seed], 5, "normal")
    point = slerp(a, scale * a, torch.tensor([[t]]))
    assert point.isfinite().all()
    torch.testing.assert_close(point.norm(), (a.norm() * (1 + (abs(scale) - 1) * t)).abs(), rtol=1e-4, atol=1e-4)
    if scale > 0:
        torch.testing.assert_close(point, a * (1 + (scale - 1) * t), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("spherical", [True, False])
@pytest.mark.parametrize("loop", [True, False])
def test_a_walk_passes_through_its_keys_without_jump_or_corner(loop: bool, spherical: bool) -> None:
    keys, frames = latents(*range(5)), 100
    path = walk(keys, frames, loop=loop, spherical=spherical)
    assert len(path) == (500 if loop else 401)
    assert torch.equal(path[::frames], keys)
    around = torch.cat([path, path[:2]]) if loop else path
    velocity = around.diff(dim=0)
    speed = velocity.norm(dim=1)
    assert speed.max() < 2.5 * speed.mean()
    assert velocity.diff(dim=0).norm(dim=1).max() < 0.06 * speed.max()  # a corner would be of the order of 1


def test_repeated_and_returning_keys_do_not_jump() -> None:
    for keys in (latents(0, 1, 0), latents(0, 0, 1), latents(0, 1)):
        steps = walk(keys, 100, loop=True).diff(dim=0).norm(dim=1)
        assert steps.max() < 0.05 * keys.norm(dim=1).max()


def test_two_keys_give_plain_interpolation() -> None:
    keys = latents(0, 1)
    shares = torch.linspace(0, 1, 13)[:, None]
    for spherical, between in ((True, slerp), (False, lerp)):
        expected = between(keys[:1], keys[1:], shares)
        torch.testing.assert_close(walk(keys, 12, spherical=spherical), expected, rtol=1e-6, atol=1e-6)


def test_straight_walks_are_catmull_rom_splines() -> None:
    a, b, c, d = keys = latents(0, 1, 2, 3)
    t = torch.arange(10)[:, None] / 10
    # The textbook's formula of the piece from b to c.
    spline = (2 * b + (c - a) * t + (2 * a - 5 * b + 4 * c - d) * t**2 + (3 * b - a - 3 * c + d) * t**3) / 2
    torch.testing.assert_close(walk(keys, 10, loop=True, spherical=False)[10:20], spline)


def test_a_walk_needs_two_keys() -> None:
    with pytest.raises(DcganError, match="at least two"):
        walk(latents(0), 10)


def test_a_move_is_measured_in_standard_deviations_of_the_latent() -> None:
    directions = {"a": torch.eye(3)[0], "b": torch.eye(3)[1]}
    for latent in ("normal", "uniform"):
        moved = move(torch.zeros(2, 3), directions, {"a": 2.0, "b": -1.0}, latent)
        spread = latents_from_seeds(range(400), 100, latent).std()
        torch.testing.assert_close(moved, spread * torch.tensor([[2.0, -1, 0]] * 2), rtol=0.02, atol=0)
    with pytest.raises(DcganError, match="no direction 'c'; known are: a, b"):
        move(torch.zeros(1, 3), directions, {"c": 1.0}, "normal")
