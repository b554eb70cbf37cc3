"""Points and paths in the latent space."""

from __future__ import annotations

import itertools
from collections.abc import Mapping

import torch
from torch import Tensor

from dcgan.config import ModelConfig
from dcgan.errors import DcganError


def deviation(latent: str) -> float:
    """Standard deviation of each number of z: 1 for normal, 1 / sqrt(3) for uniform."""
    return 3**-0.5 if latent == "uniform" else 1.0


def lerp(a: Tensor, b: Tensor, t: Tensor) -> Tensor:
    """Points on the straight lines from a to b (... x Z) at `t` (... x 1); outside [0, 1] the lines go on."""
    return a + (b - a) * t


def slerp(a: Tensor, b: Tensor, t: Tensor) -> Tensor:
    """Points on the great circles from a to b (... x Z) at `t` (... x 1), their norm going evenly from |a| to |b|.

    Normal latents in many dimensions lie near a sphere, whose inside the generator never saw: a straight line
    between two of them passes through it (Shoemake 1985; White 2016, section 2.1). Outside [0, 1] the circles go
    on; between opposite points, one circle of many is taken.
    """
    norm_a, norm_b = a.norm(dim=-1, keepdim=True), b.norm(dim=-1, keepdim=True)
    u, v = _unit(a, norm_a), _unit(b, norm_b)
    cosine = (u * v).sum(-1, keepdim=True)
    across = v - cosine * u
    sine = across.norm(dim=-1, keepdim=True)
    # Parallel to u, v says nothing of the circle: any axis does, such as the one that u leans on least.
    axis = torch.zeros_like(u).scatter_(-1, u.abs().argmin(-1, keepdim=True), 1.0)
    axis = axis - (u * axis).sum(-1, keepdim=True) * u
    parallel = sine < 1e-5
    w = torch.where(parallel, _unit(axis, axis.norm(dim=-1, keepdim=True)), across / sine.clamp_min(1e-5))
    angle = torch.atan2(torch.where(parallel, 0.0, sine), cosine)
    direction = torch.cos(t * angle) * u + torch.sin(t * angle) * w
    return lerp(norm_a, norm_b, t) * direction


def between_latents(a: Tensor, b: Tensor, t: Tensor, config: ModelConfig) -> Tensor:
    """Points from latents a to b of a model, ... x (Z + L), at `t` (... x 1).

    Great circles where z is normal; straight lines where it is uniform, and for labels' codes.
    """
    curve = lerp if config.latent == "uniform" else slerp
    (z_a, codes_a), (z_b, codes_b) = (x.tensor_split([config.latent_size], dim=-1) for x in (a, b))
    return torch.cat([curve(z_a, z_b, t), lerp(codes_a, codes_b, t)], -1)


def walk(keys: Tensor, frames: int, *, loop: bool = False, spherical: bool = True) -> Tensor:
    """A smooth path through the latents `keys` (K x Z), `frames` points from each to the next, as F x Z.

    Every `frames`-th point is a key. A loop goes on from the last key to the first and has K * frames points; else
    the last key ends the path, which makes one point more. Velocity is continuous at the keys, also where a loop
    closes: each step is a cubic Bezier curve (de Casteljau's, on the sphere if `spherical`), whose handles halve
    the difference between coming and going, as a Catmull-Rom spline's do. Two keys give a plain slerp or lerp.
    Raises `DcganError` for fewer than two keys.
    """
    if len(keys) < 2:
        raise DcganError("a walk needs at least two latents: give more seeds")
    between = slerp if spherical else lerp
    one = torch.ones(1, 1)
    if loop:
        before, here, after = keys.roll(1, 0), keys, keys.roll(-1, 0)
        end = slice(None)
    else:  # beyond both ends the path is thought to go straight on
        first, last = between(keys[:1], keys[1:2], -one), between(keys[-2:-1], keys[-1:], 2 * one)
        padded = torch.cat([first, keys, last])
        before, here, after = padded[:-2], keys, padded[2:]
        end = slice(0, -1)
    leave = between(between(here, after, one / 3), between(before, here, one * 4 / 3), one / 2)
    arrive = between(between(here, before, one / 3), between(after, here, one * 4 / 3), one / 2)
    controls = [here[end], leave[end], arrive.roll(-1, 0)[end], here.roll(-1, 0)[end]]  # each S x Z
    t = torch.arange(frames).div(frames).reshape(1, -1, 1)
    points = [control[:, None].expand(-1, frames, -1) for control in controls]
    while len(points) > 1:
        points = [between(a, b, t) for a, b in itertools.pairwise(points)]
    path = points[0].flatten(0, 1)
    path[::frames] = keys[end]  # to the bit, where the formula is off by a rounding
    return path if loop else torch.cat([path, keys[-1:]])


def walk_of_model(
    keys: Tensor, frames: int, config: ModelConfig, *, loop: bool = False, spherical: bool | None = None
) -> Tensor:
    """`walk` through a model's latents, K x (Z + L): on the sphere where z is normal, straight for labels' codes."""
    uniform = config.latent == "uniform"
    z, codes = keys.tensor_split([config.latent_size], dim=1)
    path = walk(z, frames, loop=loop, spherical=not uniform if spherical is None else spherical)
    if uniform:
        path = path.clamp(-1, 1)  # a curve may swing a little beyond its keys, where the generator never was
    return torch.cat([path, walk(codes, frames, loop=loop, spherical=False)], 1)


def move(latents: Tensor, directions: Mapping[str, Tensor], amounts: Mapping[str, float], latent: str) -> Tensor:
    """Latents N x Z moved by each amount, in standard deviations of `latent`, along the unit direction of that name.

    Raises `DcganError` for a name that is not among `directions`, and names those that are.
    """
    moved = latents
    for name, amount in amounts.items():
        if name not in directions:
            raise DcganError(f"there is no direction {name!r}; known are: {', '.join(directions) or 'none'}")
        moved = moved + amount * deviation(latent) * directions[name]
    return moved


def _unit(vectors: Tensor, norms: Tensor) -> Tensor:
    """Vectors over their norms; what is as good as zero becomes zero."""
    return vectors / norms.clamp_min(1e-12)
