"""Frames to a moving picture: GIF, WebP or MP4."""

from __future__ import annotations

import io
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import IO

import numpy as np
from PIL import Image

from dcgan.checkpoint import write_bytes
from dcgan.errors import DcganError
from dcgan.images import Pixels, to_pil

MOST_FRAMES = 120
SUFFIXES = (".gif", ".webp", ".mp4")


def animate(path: Path, frames: Sequence[Path], milliseconds: int = 150) -> list[Path]:
    """Write the picture files `frames` as an endless animation, of the kind that `path` ends in.

    More than 120 frames are thinned evenly; the last one stays for two seconds. Returns those that cannot be read, or
    are of another size than the first: they are left out.
    """
    step = max(1, -(-len(frames) // MOST_FRAMES))
    chosen: list[Pixels] = []
    damaged = []
    for frame in [*frames[:-1:step], frames[-1]]:
        try:
            with Image.open(frame) as image:
                pixels = np.asarray(image.convert("RGB"))
        except Exception:  # on damaged data, decoders raise whatever they like
            damaged.append(frame)
            continue
        if chosen and pixels.shape != chosen[0].shape:
            damaged.append(frame)
        else:
            chosen.append(pixels)
    if chosen:
        write_animation(path, chosen, fps=1000 / milliseconds, hold=2.0)
    return damaged


def write_animation(path: Path, frames: Sequence[Pixels] | Pixels, fps: float = 30.0, hold: float = 0.0) -> None:
    """Write frames, each uint8 H x W x C, as .gif, .webp or .mp4; the first two are endless.

    `hold` is for how many seconds the last frame stays. GIF knows only hundredths of a second and 256 colours a
    frame, and MP4 only even sizes: an odd edge is repeated. Raises `DcganError` for another ending, an unwritable
    place, or if PyAV, which writes MP4, is not installed.
    """
    if path.suffix.lower() not in SUFFIXES:
        raise DcganError(f"{path}: the name of an animation must end in {', '.join(SUFFIXES)}")
    write_bytes(path, encode_animation(path.suffix.lower(), frames, fps, hold))


def encode_animation(suffix: str, frames: Sequence[Pixels] | Pixels, fps: float = 30.0, hold: float = 0.0) -> bytes:
    """The bytes of the file that `write_animation` would write; `suffix` is one of `SUFFIXES`."""
    buffer = io.BytesIO()
    match suffix:
        case ".mp4":
            _write_mp4(buffer, [*frames, *[frames[-1]] * round(hold * fps)], fps)
        case ".gif" | ".webp":
            images = [to_pil(frame).convert("RGB") for frame in frames]
            options: dict[str, object] = {"quality": 80}
            if suffix == ".gif":  # the octree is 30 times as fast as Pillow's default, and no worse to see
                images = [image.quantize(256, Image.Quantize.FASTOCTREE) for image in images]
                options = {}
            durations = [round(1000 / fps)] * (len(images) - 1) + [round(1000 * (hold or 1 / fps))]
            kind, others = suffix[1:].upper(), images[1:]
            images[0].save(buffer, kind, save_all=True, append_images=others, duration=durations, loop=0, **options)
    return buffer.getvalue()


def _write_mp4(file: IO[bytes], frames: Sequence[Pixels], fps: float) -> None:
    """H.264 in the form that every player and browser takes."""
    try:
        import av
    except ImportError as error:
        raise DcganError("writing .mp4 needs PyAV: pip install av (or choose .webp or .gif)") from error
    height, width = frames[0].shape[:2]
    with av.open(file, "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=Fraction(fps).limit_denominator(1000), options={"crf": "18"})
        stream.height, stream.width = height + height % 2, width + width % 2
        stream.pix_fmt = "yuv420p"
        for frame in frames:
            rgb = np.asarray(to_pil(frame).convert("RGB"))
            even = np.pad(rgb, ((0, height % 2), (0, width % 2), (0, 0)), "edge")
            container.mux(stream.encode(av.VideoFrame.from_ndarray(even, format="rgb24")))
        container.mux(stream.encode())
