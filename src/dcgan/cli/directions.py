"""`dcgan directions`."""

from __future__ import annotations

from collections.abc import Sequence

from dcgan.cli import parse
from dcgan.config import DirectionsConfig


def main(arguments: Sequence[str]) -> int:
    """Learn directions, and say what each one does."""
    config = parse(DirectionsConfig, arguments, "directions")
    from dcgan.explore.directions import directions

    path, found, measured = directions(config)
    if measured:
        print("scorer on images it had not seen: " + ", ".join(f"{k} {v:.3f}" for k, v in measured.items()))
    print("from -2 to +2 along a direction, in standard deviations of the attribute (linearity: 0 means nothing)")
    width = max(map(len, found))
    for name, direction in found.items():
        effects: dict[str, float] = dict(direction.about["effects"])
        own = effects.pop(name)
        others = sorted(effects.items(), key=lambda item: -abs(item[1]))[:3]
        most = ", ".join(f"{other} {effect:+.2f}" for other, effect in others)
        print(f"  {name:<{width}}  {own:+.2f}  linearity {direction.about['linearity']:.2f}  others: {most or 'none'}")
    print(f"wrote {path} and {config.out}")
    return 0
