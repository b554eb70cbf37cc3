"""Settings of `augment`."""

from __future__ import annotations

from dataclasses import dataclass

from tyro.conf import Positional

from dcgan.config.base import Count, Device, require, require_positive


@dataclass(frozen=True, kw_only=True)
class AugmentConfig:
    """Write a labelled synthetic data set."""

    model: Positional[str]
    """A .safetensors file, a run's folder or a checkpoint's folder; or the word pretrained: the package's own."""
    out: Positional[str]
    """Folder to write, or a .zip; the same command goes on where it was stopped."""
    count: Count = 10_000
    """Images to write."""
    first_seed: int = 1_000_000
    """Seed of the first image; those of `evaluate` and of sample grids start at 0."""
    condition: str | None = None
    """Labels that all images should have, such as smile=1,hair=red."""
    balance: bool = False
    """Make classes equally frequent, and no and yes of attributes; with --like, fill up the rare ones of DATA."""
    like: str | None = None
    """DATA that the images will be added to: --balance fills its rare classes, --filter drops copies of its images."""
    filter: bool = False
    """Drop images that the discriminator scores lowest for their labels, and copies of images of --like."""
    filter_share: float = 0.1
    """Share of images that --filter finds too low-scored."""
    landmarks: str | None = None
    """DATA with landmarks (packed, or toy) that a small regressor learns from, to mark the synthetic faces."""
    truncation: float | None = None
    """Keep every number of z within this distance of 0: fewer oddities, less variety (0.5 to 2 is useful)."""
    device: Device = "auto"
    """Where to compute: auto takes CUDA, then Apple's MPS, then the CPU."""

    def __post_init__(self) -> None:
        require_positive(self, "count", "truncation")
        require(self.first_seed >= 0, f"first_seed must not be negative: {self.first_seed}")
        require(0 < self.filter_share < 1, f"filter_share must be above 0 and below 1, not {self.filter_share}")
        require(not (self.balance and self.condition), "give --balance or --condition, not both")
