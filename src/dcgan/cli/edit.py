"""`dcgan edit`."""

from __future__ import annotations

from collections.abc import Sequence

from dcgan.cli import parse
from dcgan.config import EditConfig


def main(arguments: Sequence[str]) -> int:
    """Write a picture of changed faces and say where it is."""
    config = parse(EditConfig, arguments, "edit")
    from dcgan.explore.directions import edit

    print(f"wrote {edit(config)}")
    return 0
