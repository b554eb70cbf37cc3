"""Speed and quality of walking through the latent space and of projecting images into it.

    python bench/explore.py runs/00000-celeba-paper

The walk is 600 pictures after loading; beside it, the same pictures rendered one at a time. Projection is of the
model's own samples, whose error could be 0; beside it, plain Adam on z with as many steps, as most public code does
it. Errors are root mean squared differences in levels of 0 to 255. Only ratios taken in one run mean something.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch

from dcgan.animation import write_animation
from dcgan.errors import DcganError
from dcgan.explore import find_latents, walk
from dcgan.explore.project import error
from dcgan.images import Pixels, make_grid, save_image, to_signed
from dcgan.models import Discriminator, Generator

STEPS = 300
Result = TypeVar("Result")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="a model file, or the folder of a run")
    parser.add_argument("--images", type=int, default=8, help="own samples that are projected together")
    arguments = parser.parse_args()
    generator = Generator.from_pretrained(arguments.model)
    discriminator = Discriminator.from_pretrained(arguments.model)
    print(f"{torch.get_num_threads()} threads")
    bench_walk(generator)
    bench_projection(generator, discriminator, arguments.images)


def bench_walk(generator: Generator) -> None:
    """Time 600 frames, and each way to write them."""
    generator.sample(range(64))
    path, planning = timed(lambda: walk(generator.latents(range(10)), 60, loop=True))
    pixels, rendering = timed(lambda: generator.render(path))
    _, singly = timed(lambda: render_singly(generator, path))
    row("600 frames", "seconds", "frames/s")
    row("path", f"{planning:.2f}")
    row("render", f"{rendering:.2f}", f"{600 / rendering:.0f}")
    row("render, one at a time", f"{singly:.2f}", f"{600 / singly:.0f}")
    with tempfile.TemporaryDirectory() as folder:
        for kind in ("webp", "gif", "mp4", "png"):
            try:
                _, writing = timed(lambda kind=kind: write(Path(folder, f"walk.{kind}"), pixels))  # type: ignore[misc]
            except DcganError as missing:
                row(f"write {kind}", "-", str(missing))
                continue
            row(f"write {kind}", f"{writing:.2f}", f"all {planning + rendering + writing:.2f} s")


def render_singly(generator: Generator, path: torch.Tensor) -> None:
    """One forward pass a frame."""
    with torch.no_grad():
        for latent in path:
            generator(latent[None])


def write(path: Path, pixels: Pixels) -> None:
    if path.suffix == ".png":
        save_image(path, make_grid(pixels))
    else:
        write_animation(path, pixels)


def bench_projection(generator: Generator, discriminator: Discriminator, count: int) -> None:
    """Time one image and several together, and compare what is reached in as many steps."""
    own = generator.sample(range(1000, 1000 + count))
    print()
    row(f"project, {STEPS} steps", "s an image", "median error", "largest error")
    for images in (own[:1], own):
        found, seconds = timed(lambda images=images: find_latents(generator, discriminator, images, steps=STEPS))  # type: ignore[misc]
        report(f"{len(images)} of the model's own", seconds / len(images), found.errors)
    errors, seconds = timed(lambda: plain_adam(generator, own))
    report(f"{len(own)}, plain Adam on z", seconds / len(own), errors)


def plain_adam(generator: Generator, images: Pixels) -> np.ndarray:
    """From random latents, pixels only, a constant rate: the common recipe."""
    wanted = to_signed(torch.from_numpy(images))
    latents = generator.latents(range(len(images))).requires_grad_()
    optimizer = torch.optim.Adam([latents], 0.1)
    for _ in range(STEPS):
        loss = (generator(latents) - wanted).square().mean((1, 2, 3)).sum()
        (latents.grad,) = torch.autograd.grad(loss, latents)
        optimizer.step()
    return error(generator.render(latents.detach()), images)


def report(name: str, seconds: float, errors: np.ndarray) -> None:
    row(name, f"{seconds:.1f}", f"{np.median(errors):.2f}", f"{errors.max():.2f}")


def timed(work: Callable[[], Result]) -> tuple[Result, float]:
    """What `work` returns, and how many seconds it took."""
    start = time.perf_counter()
    return work(), time.perf_counter() - start


def row(*cells: str) -> None:
    """Print one row of a table."""
    print(f"{cells[0]:28}" + "".join(f"{cell:>16}" for cell in cells[1:]))


if __name__ == "__main__":
    main()
