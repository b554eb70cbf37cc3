"""Frames to a moving picture: GIF or WebP."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from dcgan.checkpoint import write_bytes

MOST_FRAMES = 120


def animate(path: Path, frames: Sequence[Path], milliseconds: int = 150) -> None:
    """Write the picture files `frames` as an endless animation, .gif or .webp by `path`'s ending.

    More than 120 frames are thinned evenly; the last one stays for two seconds.
    """
    step = max(1, -(-len(frames) // MOST_FRAMES))
    chosen = [*frames[:-1:step], frames[-1]]
    images = []
    for frame in chosen:
        with Image.open(frame) as image:
            images.append(image.convert("RGB"))
    durations = [milliseconds] * (len(images) - 1) + [2000]
    buffer = io.BytesIO()
    images[0].save(
        buffer,
        "GIF" if path.suffix == ".gif" else "WEBP",
        save_all=True,
        append_images=images[1:],
        duration=durations,
        loop=0,
        **({} if path.suffix == ".gif" else {"quality": 80}),
    )
    write_bytes(path, buffer.getvalue())
