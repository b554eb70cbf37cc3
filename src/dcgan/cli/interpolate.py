"""`dcgan interpolate`."""

from __future__ import annotations

from collections.abc import Sequence

from dcgan.cli import parse
from dcgan.config import InterpolateConfig


def main(arguments: Sequence[str]) -> int:
    """Write a walk and say where it is."""
    config = parse(InterpolateConfig, arguments, "interpolate")
    from dcgan.explore.interpolate import interpolate

    walk = interpolate(config)
    how = "on the sphere" if walk.spherical else "in straight lines"
    print(f"wrote {walk.path}: {walk.frames} pictures, {how}")
    return 0
