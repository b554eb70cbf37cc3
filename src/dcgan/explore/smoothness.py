"""How evenly images change along the latent space.

A generator that had memorised its training images would show sharp transitions between them (Radford et al. 2015,
section 6.1). So walks between random faces are cut into equal steps: how much longer is the longest step, seen in the
images, than the mean one? Perceptual path length (Karras et al. 2019, section 4.1) says how much images change at all.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor

from dcgan.checkpoint import write_json
from dcgan.config import SmoothnessConfig, parse_seeds
from dcgan.device import choose_device
from dcgan.draws import generator_for
from dcgan.errors import DcganError
from dcgan.explore.latents import between_latents
from dcgan.explore.sheets import sheet, signed
from dcgan.images import Pixels, save_image
from dcgan.models import SAMPLE_BATCH, Discriminator, Generator

EPSILON = 1e-3
"""Share of the way between two latents over which the path length is measured."""
_WALKS_TOGETHER = 16


@dataclass(frozen=True, kw_only=True)
class Smoothness:
    """Figures of a generator's latent space."""

    model: str | None
    """The model's digest."""
    walks: int
    frames: int
    seed: int
    path_length: float
    """Mean of d(G(z(t)), G(z(t + e))) / e^2 over random t on random walks, d being that of `feature_distance`."""
    pixel_path_length: float
    """The same with d the mean squared difference of pixels in [-1, 1]: comparable between models of one size."""
    longest_step_median: float
    """Longest of a walk's steps over their mean, in the median walk: 1 is perfectly even, `frames` one single jump."""
    longest_step_p95: float
    """The same in the walk that 95% of all are smoother than."""
    longest_step_max: float
    """The same in the least smooth walk."""


def feature_distance(discriminator: Discriminator, a: Tensor, b: Tensor) -> Tensor:
    """Squared distance N between images N x C x H x W in [-1, 1], as the discriminator's features see it.

    In form that of LPIPS (Zhang et al. 2018) without learned weights: at each place of each hidden layer the features
    are scaled to norm 1; squared differences are summed over channels, averaged over places, and over layers. The
    discriminator is the model's own, so only figures of one model (or one discriminator) may be compared.
    """
    layers = []
    for x, y in zip(discriminator.features(a), discriminator.features(b), strict=True):
        x, y = (torch.nn.functional.normalize(layer, dim=1) for layer in (x, y))
        layers.append((x - y).square().sum(1).mean((1, 2)))
    return torch.stack(layers).mean(0)


def pixel_distance(a: Tensor, b: Tensor) -> Tensor:
    """Mean squared difference N of images N x C x H x W."""
    return (a - b).square().mean((1, 2, 3))


@torch.no_grad()
def path_lengths(
    generator: Generator, discriminator: Discriminator, *, count: int = 200, seed: int = 0
) -> tuple[float, float]:
    """Path length in features and in pixels, each the mean over `count` random places on random walks.

    Walks are great circles for normal latents and straight lines for uniform ones; images are not rounded to 8 bits.
    """
    device = next(generator.parameters()).device
    starts, ends = _ends(generator, count, seed)
    share = torch.rand(count, 1, generator=generator_for(seed, "places on walks", 0))
    here, there = (between_latents(starts, ends, at, generator.config) for at in (share, share + EPSILON))
    sums = torch.zeros(2)
    generator.eval()
    discriminator.eval()
    for some, next_ones in zip(here.split(SAMPLE_BATCH), there.split(SAMPLE_BATCH), strict=True):
        a, b = generator(some.to(device)), generator(next_ones.to(device))
        sums += torch.stack([feature_distance(discriminator, a, b).sum(), pixel_distance(a, b).sum()]).cpu()
    features, pixels = (sums / count / EPSILON**2).tolist()
    return features, pixels


def step_lengths(generator: Generator, *, walks: int = 100, frames: int = 32, seed: int = 0) -> Tensor:
    """Length of each step of walks between two random latents each: walks x frames.

    Root mean squared difference of the 8-bit images before and after the step, in levels of 0 to 255.
    """
    lengths = []
    for paths in _paths(generator, walks, frames, seed).split(_WALKS_TOGETHER):
        pixels = generator.render(paths.flatten(0, 1))
        images = torch.from_numpy(pixels).unflatten(0, paths.shape[:2]).float()
        lengths.append(images.diff(dim=1).square().mean((2, 3, 4)).sqrt())
    return torch.cat(lengths)


def smoothness(config: SmoothnessConfig) -> Smoothness:
    """Measure what `Smoothness` holds, and write it and two sheets into the folder `config.out`.

    `walks.png` shows the smoothest, the median and the least smooth walks, `coordinates.png` what single numbers of
    z do to seed 0. Raises `DcganError` for coordinates that z does not have.
    """
    device = choose_device(config.device)
    generator = Generator.from_pretrained(config.model).to(device)
    discriminator = Discriminator.from_pretrained(config.model).to(device)
    coordinates = parse_seeds(config.coordinates)
    if max(coordinates) >= generator.config.latent_size:
        raise DcganError(f"coordinate {max(coordinates)} is not in z, whose last is {generator.config.latent_size - 1}")
    features, pixels = path_lengths(generator, discriminator, count=10 * config.walks, seed=config.seed)
    steps = step_lengths(generator, walks=config.walks, frames=config.frames, seed=config.seed)
    longest = steps.max(1).values / steps.mean(1).clamp_min(1e-6)
    figures = Smoothness(
        model=generator.about.get("digest"),
        walks=config.walks,
        frames=config.frames,
        seed=config.seed,
        path_length=features,
        pixel_path_length=pixels,
        longest_step_median=longest.median().item(),
        longest_step_p95=longest.quantile(0.95).item(),
        longest_step_max=longest.max().item(),
    )
    out = Path(config.out)
    write_json(out / "figures.json", asdict(figures))
    save_image(out / "walks.png", _walks_sheet(generator, longest, config))
    save_image(out / "coordinates.png", coordinates_sheet(generator, coordinates))
    return figures


def coordinates_sheet(generator: Generator, coordinates: Sequence[int], seed: int = 0, steps: int = 7) -> Pixels:
    """A picture with a row for each coordinate of z, which goes over its range while the others stay seed `seed`'s."""
    reach = 1.0 if generator.config.latent == "uniform" else 3.0
    values = reach * (torch.arange(steps) * 2 / (steps - 1) - 1)
    rows = []
    for coordinate in coordinates:
        latents = generator.latents([seed]).repeat(steps, 1)
        latents[:, coordinate] = values
        rows.append(list(generator.render(latents)))
    return sheet(rows, [f"z[{coordinate}]" for coordinate in coordinates], [signed(value) for value in values.tolist()])


def _walks_sheet(generator: Generator, longest: Tensor, config: SmoothnessConfig) -> Pixels:
    """Some walks from the smoothest to the least smooth, nine pictures of each."""
    order = longest.argsort()
    last = len(order) - 1
    chosen = {"smoothest": 0, "median": last // 2, "95%": round(0.95 * last), "least smooth": last}
    paths = _paths(generator, config.walks, config.frames, config.seed)[order[list(chosen.values())]]
    shown = torch.linspace(0, config.frames, 9).round().long()
    rows = [list(generator.render(path[shown])) for path in paths]
    return sheet(rows, [f"{name}: {longest[order[place]]:.2f}" for name, place in chosen.items()])


def _paths(generator: Generator, walks: int, frames: int, seed: int) -> Tensor:
    """Walks between two random latents each, walks x (frames + 1) x Z."""
    starts, ends = (latents.unsqueeze(1) for latents in _ends(generator, walks, seed))
    return between_latents(starts, ends, torch.linspace(0, 1, frames + 1).reshape(1, -1, 1), generator.config)


def _ends(generator: Generator, walks: int, seed: int) -> tuple[Tensor, Tensor]:
    """Random latents where walks start, and where they end: N x Z each."""
    starts, ends = generator.random_latents([2, walks], generator_for(seed, "ends of walks", 0))
    return starts, ends
