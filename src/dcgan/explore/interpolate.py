"""Walks between faces, as animations and film strips."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from dcgan.animation import write_animation
from dcgan.config import InterpolateConfig
from dcgan.device import choose_device
from dcgan.explore.files import gather_latents
from dcgan.explore.latents import walk_of_model
from dcgan.explore.sheets import sheet
from dcgan.images import Pixels, save_image
from dcgan.models import Generator

STRIP_FRAMES, ANIMATION_FRAMES = 8, 60


class Walk(NamedTuple):
    """What `interpolate` wrote."""

    path: Path
    frames: int
    spherical: bool


def interpolate(config: InterpolateConfig) -> Walk:
    """Write the animation or the film strip that `config` asks for.

    Raises `DcganError` for fewer than two faces, a model or latents that cannot be read, or an unwritable place.
    """
    generator = Generator.from_pretrained(config.model).to(choose_device(config.device))
    keys, names = gather_latents(generator, config.seeds, config.latents, "0-5", config.truncation)
    uniform = generator.config.latent == "uniform"
    spherical = config.spherical or not (config.linear or uniform)
    out = Path(config.out)
    frames = config.frames or (STRIP_FRAMES if out.suffix.lower() == ".png" else ANIMATION_FRAMES)
    path = walk_of_model(keys, frames, generator.config, loop=config.loop, spherical=spherical)
    pixels = generator.render(path)
    if out.suffix.lower() == ".png":
        save_image(out, film_strip(pixels, names, frames))
    else:
        write_animation(out, pixels, config.fps)
    return Walk(out, len(pixels), spherical)


def film_strip(pixels: Pixels, names: list[str], frames: int) -> Pixels:
    """One picture of a walk's images, with a row for each step from one of `names` to the next, both included."""
    steps = len(pixels) // frames
    rows = [[pixels[(step * frames + i) % len(pixels)] for i in range(frames + 1)] for step in range(steps)]
    return sheet(rows, [f"{names[i]} to {names[(i + 1) % len(names)]}" for i in range(steps)])
