"""Settings of `evaluate` and `compare`."""

from __future__ import annotations

from dataclasses import dataclass

from tyro.conf import Positional

from dcgan.config.base import Count, Device, require, require_positive
from dcgan.config.data import check_crop


@dataclass(frozen=True, kw_only=True)
class EvaluateConfig:
    """Measure how near generated images are to real ones, and whether they are copies."""

    model: Positional[str]
    """What to judge: a .safetensors file, the folder of a run or checkpoint, the word pretrained, or any folder, .zip
    or .tar of images."""
    data: Positional[str] = ""
    """The real images: a packed data set, a folder, a .zip or .tar, or toy. Only --reference can stand in for it."""
    count: Count = 10_000
    """Images on each side: seeds 0 to count - 1, and as many training images (fewer if there are fewer)."""
    extractor: str = "efficientnet-lite0"
    """What images are compared by: efficientnet-lite0, inception, or the path of a TorchScript or ONNX file."""
    reference: str | None = None
    """Features of the real images, an .npz file that an earlier evaluation left in the cache folder."""
    held_out: str | None = None
    """Real images that the model never saw, for the memorisation audit (default: those that DATA holds out)."""
    audit_pool: int = 50_000
    """Training images that the audit looks for copies among (all, if there are fewer)."""
    out: str | None = None
    """Folder for the results (default: evaluation in the model's folder, or ./evaluation-NAME)."""
    seed: int = 0
    """Decides which real images are drawn, the kernel distance's subsets, and the audit's resamples."""
    raw_weights: bool = False
    """Judge the last step's weights, not their moving average; MODEL must be a checkpoint's folder."""
    crop: str = "square"
    """For images that are not packed yet: square (centre), none (squeeze), or WxH (centre)."""
    device: Device = "auto"
    """Where to compute: auto takes CUDA, then Apple's MPS, then the CPU."""

    def __post_init__(self) -> None:
        require(bool(self.data or self.reference), "name the real images to judge by, or give their --reference")
        require(0 <= self.seed < 2**63, f"seed must be a whole number from 0 to 2**63 - 1, not {self.seed}")
        require_positive(self, "count", "audit_pool")
        check_crop(self.crop)


@dataclass(frozen=True, kw_only=True)
class CompareConfig:
    """Lay several evaluations side by side."""

    paths: Positional[tuple[str, ...]]
    """Results of evaluate (folders or evaluation.json files), and runs that were trained with --evaluate-every."""
    out: str = "comparison"
    """Folder for the table and the plot."""

    def __post_init__(self) -> None:
        require(len(self.paths) > 0, "name what to compare: folders of evaluations or of runs")
