"""`dcgan export`."""

from __future__ import annotations

from collections.abc import Sequence

from dcgan.cli import parse
from dcgan.config import ExportConfig


def main(arguments: Sequence[str]) -> int:
    """Write a model in another form, and say where it is and how near it comes to the original."""
    config = parse(ExportConfig, arguments, "export")
    from dcgan.export import export

    for line in export(config):
        print(line)
    return 0
