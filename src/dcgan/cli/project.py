"""`dcgan project`."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from dcgan.cli import parse
from dcgan.config import ProjectConfig


def main(arguments: Sequence[str]) -> int:
    """Project images, and say how near the model comes to them."""
    config = parse(ProjectConfig, arguments, "project")
    from dcgan.explore.project import project

    projected = project(config)
    print("root mean squared error, in levels of 0 to 255:")
    for name, error in zip(projected.names, projected.errors.tolist(), strict=True):
        print(f"  {name}: {error:.1f}")
    if len(projected.own_errors):
        own = projected.own_errors.tolist()
        print(f"  the model's own samples: median {statistics.median(own):.1f}, largest {max(own):.1f}")
    print(f"wrote {projected.latents} and {projected.picture}")
    return 0
