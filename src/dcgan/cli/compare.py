"""`dcgan compare`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from dcgan.cli import parse
from dcgan.config import CompareConfig


def main(arguments: Sequence[str]) -> int:
    """Compare, write table and plot, and print the table."""
    config = parse(CompareConfig, arguments, "compare")
    from dcgan.compare import compare

    table, folder = compare(config), Path(config.out)
    print(f"{table}\n\nwrote {folder}")
    return 0
