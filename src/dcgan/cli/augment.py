"""`dcgan augment`."""

from __future__ import annotations

from collections.abc import Sequence

from dcgan.cli import parse
from dcgan.config import AugmentConfig


def main(arguments: Sequence[str]) -> int:
    """Write a labelled synthetic data set, and say what is in it."""
    config = parse(AugmentConfig, arguments, "augment")
    from dcgan.synthesize import augment

    written = augment(config)
    print(f"wrote {written.images} labelled synthetic images into {written.path}")
    if config.filter:
        print(f"left out {written.left_out} images of low score" + (" and near copies" if config.like else ""))
    if written.landmark_error is not None:
        print(
            f"landmarks are off by {written.landmark_error:.2f} pixels on average, "
            "as measured on held-out faces whose landmarks are known"
        )
    return 0
