"""Settings of `augment-test`."""

from __future__ import annotations

from dataclasses import dataclass

from tyro.conf import Positional

from dcgan.config.base import Device, require, require_positive


@dataclass(frozen=True, kw_only=True)
class AugmentTestConfig:
    """Test whether synthetic data help: train the same classifier with and without, on fractions of the real data."""

    data: Positional[str]
    """Labelled images: a packed data set, a folder with one sub-folder a class, an archive, toy or digits."""
    model: str | None = None
    """A conditional model trained on DATA. By default one is trained for each fraction, on that fraction alone."""
    label: str | None = None
    """What the classifier learns: a yes/no label, or a group of classes (default: DATA's only one)."""
    fractions: str = "0.02,0.1,1"
    """Shares of the real training images that the classifier is given."""
    seeds: int = 5
    """Runs of each kind, over which the accuracy is averaged."""
    seed: int = 0
    """Decides which real images are given, the synthetic ones, and all training."""
    synthetic: int = 10_000
    """Synthetic images; beside them, real ones are repeated until there are as many."""
    steps: int = 500
    """Training steps of every classifier, of 64 images each."""
    width: int = 16
    """Channels of the classifier's first layer."""
    flip: bool = True
    """Mirror images in the classic augmentation; not for labels that tell left from right."""
    kimg: float = 60.0
    """kimg that each fraction's own generator is trained for, with the default preset."""
    crop: str = "square"
    """For images that are not packed yet: square (centre), none (squeeze), or WxH (centre)."""
    out: str = "augment-test"
    """Folder for the results, and for the generators that are trained."""
    device: Device = "auto"
    """Where to compute: auto takes CUDA, then Apple's MPS, then the CPU."""

    def __post_init__(self) -> None:
        require_positive(self, "seeds", "synthetic", "steps", "width", "kimg")
        require(self.seed >= 0, f"seed must not be negative: {self.seed}")
        _ = self.shares

    @property
    def shares(self) -> tuple[float, ...]:
        """The fractions as numbers, the smallest first."""
        try:
            shares = sorted({float(word) for word in self.fractions.split(",")})
        except ValueError:
            shares = []
        require(
            bool(shares) and all(0 < share <= 1 for share in shares),
            f"fractions must be numbers above 0 and up to 1, such as 0.02,0.1,1, not {self.fractions!r}",
        )
        return tuple(shares)
