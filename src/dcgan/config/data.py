"""Settings of `prepare`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from tyro.conf import Positional

from dcgan.config.base import require, require_positive
from dcgan.errors import DcganError


@dataclass(frozen=True, kw_only=True)
class PrepareConfig:
    """Pack images once into a form that training reads fast."""

    source: Positional[str]
    """A folder, a .zip or .tar of images, CelebA's, CIFAR-10's or SVHN's official files, or the word toy or digits."""
    out: Positional[str]
    """Folder to create for the packed data set."""
    size: int = 64
    """Width and height of the packed images in pixels."""
    crop: str = "square"
    """What part of each image is kept: square (centre), none (all, squeezed), or WxH (centre) in its own pixels."""
    channels: int = 3
    """3 for colour, 1 for grey."""
    split: Literal["all", "train", "valid", "test"] = "all"
    """Official part to take: CelebA's, or CIFAR-10's and SVHN's train or test."""
    held_out: float = 0.05
    """Share of the images that training never sees (none below 500 images; the official part where there is one)."""
    count: int = 5000
    """Number of faces to draw, for toy only."""
    seed: int = 0
    """Seed of the drawn faces and of the choice of held-out images."""
    terms: str = ""
    """Terms of use of the images, kept in every model that is trained on them (CelebA's are known)."""
    workers: int = 0
    """Processes that decode (0: one a core)."""
    part: str = "1/1"
    """Which part of the source to pack, such as 2/4 for the second of four; `dcgan merge` joins them."""
    reuse: str | None = None
    """An earlier packed set of the same settings: images that it holds, unchanged, are copied and not decoded."""

    def __post_init__(self) -> None:
        require(4 <= self.size <= 1024, f"size must be from 4 to 1024, not {self.size}")
        require(self.channels in (1, 3), f"channels must be 1 or 3, not {self.channels}")
        require(0 <= self.held_out < 1, f"held_out must be at least 0 and below 1, not {self.held_out}")
        require(self.workers >= 0, f"workers must not be negative: {self.workers}")
        require(self.seed >= 0, f"seed must not be negative: {self.seed}")
        require_positive(self, "count")
        check_crop(self.crop)
        parse_part(self.part)


@dataclass(frozen=True, kw_only=True)
class MergeConfig:
    """Join packed sets into one: all parts of a source, or whole sets one after the other."""

    out: Positional[str]
    """Folder to create for the joined data set."""
    parts: Positional[tuple[str, ...]]
    """What `dcgan prepare --part i/N` made, all N in any order; or whole sets, in the order they shall have."""


def parse_part(part: str) -> tuple[int, int]:
    """The numbers of a part: 2/4 is (2, 4); anything else is a `DcganError`."""
    match = re.fullmatch(r"([1-9]\d{0,8})/([1-9]\d{0,8})", part)
    require(match is not None and int(match[1]) <= int(match[2]), f"part must be i/N such as 2/4, not {part!r}")
    assert match is not None
    return int(match[1]), int(match[2])


def check_crop(crop: str) -> tuple[int, int] | None:
    """The width and height of a WxH crop, or None for square and none; anything else is a `DcganError`."""
    if crop in ("square", "none"):
        return None
    match = re.fullmatch(r"([1-9]\d*)x([1-9]\d*)", crop)
    if match is None:
        raise DcganError(f"crop must be square, none or WIDTHxHEIGHT such as 108x108, not {crop!r}")
    return int(match[1]), int(match[2])
