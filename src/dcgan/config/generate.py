"""Settings of `generate` and `info`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from tyro.conf import Positional

from dcgan.config.base import Count, Device, require, require_positive
from dcgan.errors import DcganError


@dataclass(frozen=True, kw_only=True)
class GenerateConfig:
    """Generate images from a model."""

    model: Positional[str] = "pretrained"
    """A .safetensors file, a run's folder or a checkpoint's folder; or the word pretrained: the package's own."""
    count: Count = 64
    """Number of images: seeds 0 to count - 1."""
    seeds: str | None = None
    """Seeds in place of a count, such as 0-63,100. Image 42 depends on seed 42 alone."""
    out: str | None = None
    """Folder for one file an image, named by its seed."""
    grid: str | None = None
    """File for all images in one picture (faces.png if neither out nor grid is given)."""
    format: Literal["png", "jpg", "webp", "npy"] = "png"
    """File type of the single images; npy is one uint8 array N x H x W x C for all."""
    raw_weights: bool = False
    """Use the last step's weights, not their moving average; MODEL must be a checkpoint's folder."""
    condition: str | None = None
    """Labels the images should have, such as smile=1,hair=red (others: drawn by seed as among the training images)."""
    by_class: bool = False
    """A grid with a row for each class, no and yes of each attribute: the same seeds in each (conditional models)."""
    truncation: float | None = None
    """Keep every number of z within this distance of 0: fewer oddities, less variety (0.5 to 2 is useful)."""
    device: Device = "auto"
    """Where to compute: auto takes CUDA, then Apple's MPS, then the CPU."""

    def __post_init__(self) -> None:
        require_positive(self, "count", "truncation")


@dataclass(frozen=True, kw_only=True)
class InfoConfig:
    """Describe a model, a run, a checkpoint or a data set."""

    path: Positional[str]
    """What to describe: a .safetensors file, the folder of a run, a checkpoint or a packed data set, or the word
    pretrained."""
    json: bool = False
    """Print JSON in place of words."""
    verify: bool = False
    """Also read every file in full and compare its checksum."""


def parse_seeds(text: str) -> list[int]:
    """Seeds from text such as `0-63,100`, in the order written; each from 0 to 2**63 - 1."""
    seeds: list[int] = []
    for part in text.split(","):
        match = re.fullmatch(r"\s*(\d+)(?:-(\d+))?\s*", part)
        if match is None:
            raise DcganError(f"seeds must look like 0-63,100, and {part!r} does not")
        first, last = int(match[1]), int(match[2] or match[1])
        require(first <= last < 2**63, f"seeds {part.strip()!r} run backwards or pass 2**63 - 1")
        require(last - first < 10_000_000, f"seeds {part.strip()!r} are more than 10 million")
        seeds.extend(range(first, last + 1))
    return seeds
