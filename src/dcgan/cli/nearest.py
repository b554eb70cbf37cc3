"""`dcgan nearest`."""

from __future__ import annotations

from collections.abc import Sequence

from dcgan.cli import parse
from dcgan.config import NearestConfig


def main(arguments: Sequence[str]) -> int:
    """Find nearest images, draw them, and print their places in the data."""
    config = parse(NearestConfig, arguments, "nearest")
    from dcgan.represent.nearest import nearest

    found = nearest(config)
    for name, places, similarities in zip(found.names, found.indices, found.similarities, strict=True):
        print(f"{name}: " + ", ".join(f"{place} ({s:.2f})" for place, s in zip(places, similarities, strict=True)))
    print(f"{config.out}: each image beside its {config.count} nearest; numbers are places in the data (cosine)")
    return 0
