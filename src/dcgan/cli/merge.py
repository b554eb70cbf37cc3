"""`dcgan merge`."""

from __future__ import annotations

from collections.abc import Sequence

from dcgan.cli import parse
from dcgan.cli.prepare import report
from dcgan.config import MergeConfig


def main(arguments: Sequence[str]) -> int:
    """Join packed sets and say what came of it."""
    config = parse(MergeConfig, arguments, "merge")
    from dcgan.data import merge

    report(config.out, merge(config))
    return 0
