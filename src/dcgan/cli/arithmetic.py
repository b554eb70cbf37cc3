"""`dcgan arithmetic`."""

from __future__ import annotations

from collections.abc import Sequence

from dcgan.cli import parse
from dcgan.config import ArithmeticConfig


def main(arguments: Sequence[str]) -> int:
    """Draw a sum of faces and say where it is."""
    config = parse(ArithmeticConfig, arguments, "arithmetic")
    from dcgan.explore.arithmetic import arithmetic

    path, latent = arithmetic(config)
    print(f"wrote {path}: |z| = {latent.norm():.1f}, and about {len(latent) ** 0.5:.1f} is usual")
    return 0
