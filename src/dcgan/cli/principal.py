"""`dcgan principal`."""

from __future__ import annotations

from collections.abc import Sequence

from dcgan.cli import parse
from dcgan.config import PrincipalConfig


def main(arguments: Sequence[str]) -> int:
    """Find directions without labels, and say how much each stands for."""
    config = parse(PrincipalConfig, arguments, "principal")
    from dcgan.explore.principal import principal

    path, found = principal(config)
    what = "the first layer's gain" if config.method == "weights" else "the features' variance"
    print(f"share of {what}:")
    for name, direction in found.items():
        print(f"  {name}: {direction.about['share']:.1%}")
    print(f"wrote {path} and {config.out}")
    return 0
