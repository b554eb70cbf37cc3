"""Settings of `probe` and `nearest`."""

from __future__ import annotations

import re
from dataclasses import dataclass

from tyro.conf import Positional

from dcgan.config.base import Device, require, require_positive
from dcgan.config.data import check_crop

BASELINES = ("random", "pixels", "imagenet")


@dataclass(frozen=True, kw_only=True)
class ProbeConfig:
    """Measure what the discriminator learned: a linear classifier on its features, beside the same on others."""

    model: Positional[str]
    """A .safetensors file, a run's folder or a checkpoint's folder; or the word pretrained: the package's own."""
    data: Positional[str]
    """Labelled images: a packed data set, a folder with one sub-folder a class, an archive, toy or digits."""
    labels: str | None = None
    """Labels to learn, such as hair,glasses (default: every class and yes/no label)."""
    images: str = "100,1000,all"
    """How many labelled images the classifier is given: numbers, or all."""
    against: str = "random,pixels,imagenet"
    """What else is measured: a random discriminator, raw pixels, the ImageNet network of evaluate; or none."""
    balanced: bool = False
    """Draw as many labelled images of each class, not in the data's own proportions."""
    seeds: int = 5
    """Draws of the labelled images, and random discriminators, over which the accuracy is averaged."""
    seed: int = 0
    """Decides the draws, the folds of the cross-validation and the random discriminators."""
    crop: str = "square"
    """For images that are not packed yet: square (centre), none (squeeze), or WxH (centre)."""
    out: str | None = None
    """Folder for the results (default: probe-DATA in the model's folder; for pretrained, in this one)."""
    device: Device = "auto"
    """Where to compute features: auto takes CUDA, then Apple's MPS, then the CPU."""

    def __post_init__(self) -> None:
        require_positive(self, "seeds")
        require(self.seed >= 0, f"seed must not be negative: {self.seed}")
        check_crop(self.crop)
        _ = self.counts, self.baselines

    @property
    def counts(self) -> tuple[int | None, ...]:
        """Numbers of labelled images, None for all."""
        words = [word.strip() for word in self.images.split(",")]
        for word in words:
            require(
                word == "all" or (re.fullmatch(r"\d+", word) is not None and int(word) >= 10),
                f"images must be numbers from 10 on, or all, such as 100,1000,all, and {word!r} is neither",
            )
        return tuple(None if word == "all" else int(word) for word in dict.fromkeys(words))

    @property
    def baselines(self) -> tuple[str, ...]:
        """What the model is compared with."""
        words = [word.strip() for word in self.against.split(",") if word.strip() not in ("", "none")]
        for word in words:
            require(word in BASELINES, f"against can name {', '.join(BASELINES)}, or be none, and not {word!r}")
        return tuple(dict.fromkeys(words))


@dataclass(frozen=True, kw_only=True)
class NearestConfig:
    """Find the images that are most like given ones to the discriminator."""

    model: Positional[str]
    """A .safetensors file, a run's folder or a checkpoint's folder; or the word pretrained: the package's own."""
    images: Positional[tuple[str, ...]]
    """Image files, or folders or archives of them, of any size and kind; the last one is the data to search."""
    count: int = 8
    """Neighbours of each."""
    seeds: str | None = None
    """Ask for the neighbours of the model's own samples of these seeds too, such as 0-7."""
    crop: str = "square"
    """What part of each image is kept: square (centre), none (all, squeezed), or WxH (centre) in its own pixels."""
    out: str = "nearest.png"
    """Picture to write: each image beside its neighbours, the nearest first."""
    device: Device = "auto"
    """Where to compute: auto takes CUDA, then Apple's MPS, then the CPU."""

    def __post_init__(self) -> None:
        require(len(self.images) > 0, "name the data to search, after the images to search for")
        require(
            len(self.images) > 1 or self.seeds is not None,
            "give an image and then the data to search, or --seeds and the data",
        )
        require_positive(self, "count")
        check_crop(self.crop)

    @property
    def queries(self) -> tuple[str, ...]:
        """The images whose neighbours are wanted."""
        return self.images[:-1]

    @property
    def data(self) -> str:
        """What is searched."""
        return self.images[-1]
