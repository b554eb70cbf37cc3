"""`dcgan generate`."""

from __future__ import annotations

from collections.abc import Sequence

from dcgan.cli import parse
from dcgan.config import GenerateConfig


def main(arguments: Sequence[str]) -> int:
    """Generate images and say where they are."""
    config = parse(GenerateConfig, arguments, "generate")
    from dcgan.generate import generate

    for path in generate(config):
        print(f"wrote {path}")
    return 0
