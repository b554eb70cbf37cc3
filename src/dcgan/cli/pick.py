"""`dcgan pick`."""

from __future__ import annotations

from collections.abc import Sequence

from dcgan.cli import parse
from dcgan.config import PickConfig


def main(arguments: Sequence[str]) -> int:
    """Draw the grid or save a name, and list the names there are."""
    config = parse(PickConfig, arguments, "pick")
    from dcgan.explore.arithmetic import pick

    path, names = pick(config)
    print(f"wrote {path}")
    for name, seeds in names.items():
        print(f"  {name}: {','.join(map(str, seeds))}")
    return 0
