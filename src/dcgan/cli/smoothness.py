"""`dcgan smoothness`."""

from __future__ import annotations

from collections.abc import Sequence

from dcgan.cli import parse
from dcgan.config import SmoothnessConfig


def main(arguments: Sequence[str]) -> int:
    """Measure smoothness, and say what came of it."""
    config = parse(SmoothnessConfig, arguments, "smoothness")
    from dcgan.explore.smoothness import smoothness

    figures = smoothness(config)
    print(
        f"path length: {figures.path_length:.4g} in discriminator features, {figures.pixel_path_length:.4g} in pixels"
    )
    print(
        f"longest step of a walk over its mean step: median {figures.longest_step_median:.2f}, "
        f"95% below {figures.longest_step_p95:.2f}, largest {figures.longest_step_max:.2f} "
        f"(even is 1, a single jump would be {figures.frames})"
    )
    print(f"wrote {config.out}/figures.json, walks.png and coordinates.png")
    return 0
