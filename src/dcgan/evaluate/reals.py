"""The real images' side of an evaluation: which are drawn, their features in the cache, and the floor.

Features are kept in the order in which their images were drawn, so that any smaller count is the start of a larger
one. A cache file says what it was made from; given as `--reference` elsewhere, it stands in for the images.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import json
import sys
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from dcgan.checkpoint import json_digest, read_json, write_json, write_with
from dcgan.data import PackedImages
from dcgan.data.cache import cache_folder
from dcgan.data.packed import Indices
from dcgan.draws import generator_for
from dcgan.errors import DcganError
from dcgan.evaluate.features import FeatureExtractor, extract_features
from dcgan.evaluate.figures import FEWEST, VERSION, frechet_name, measure
from dcgan.images import Pixels

CHUNK = 256  # images in memory at a time
Part = Literal["training", "held out", "all"]


class ImageSource(Protocol):
    """Images by number: a packed data set, or a generator whose numbers are seeds."""

    def read(self, indices: npt.ArrayLike) -> Pixels:
        """The images of these numbers, uint8 N x H x W x C."""


@dataclass(frozen=True)
class Origin:
    """All that decides the features of real images; they compare with others of the same origin only."""

    extractor: str
    weights_digest: str
    """SHA-256 of the extractor's weights."""
    resize: str
    data_digest: str
    """Of the packed data set."""
    size: int
    channels: int
    part: Part
    """Which of the data set's images."""
    available: int
    """Number of images in that part."""
    seed: int
    """Decides the order in which they are drawn, without replacement."""
    figures_version: int = VERSION

    @property
    def digest(self) -> str:
        """A short name for files that depend on all of it."""
        return json_digest(dataclasses.asdict(self))[:12]


@dataclass(frozen=True, eq=False)
class RealFeatures:
    """Features of real images, in the order drawn."""

    origin: Origin
    features: Tensor
    """float32 N x D."""
    path: Path
    """The file they are kept in."""
    data: PackedImages | None
    """Where the images are, if they are here."""

    def first(self, count: int) -> RealFeatures:
        """The first `count` of them, or all if there are fewer."""
        return dataclasses.replace(self, features=self.features[:count])

    @functools.cached_property
    def indices(self) -> Indices:
        """The numbers of the images in the data set, N."""
        assert self.data is not None, "a reference alone has no images"
        numbers = images_of(self.data, self.origin.part)
        return numbers[draw_order(len(numbers), self.origin.seed)][: len(self.features)]


def draw_order(count: int, seed: int) -> Indices:
    """The order in which `count` images are drawn: a permutation."""
    order: Indices = torch.randperm(count, generator=generator_for(seed, "evaluation draw", 0)).numpy()
    return order


def images_of(data: PackedImages, part: Part) -> Indices:
    """The numbers of the images in a part of `data`."""
    if part == "all":
        return np.arange(len(data), dtype=np.int64)
    return np.asarray(data.training_indices) if part == "training" else data.held_out_indices


def read_batches(images: ImageSource, indices: Indices) -> Iterator[Pixels]:
    """Images by number, a chunk at a time."""
    for start in range(0, len(indices), CHUNK):
        yield images.read(indices[start : start + CHUNK])


def real_features(
    data: PackedImages,
    extractor: FeatureExtractor,
    count: int,
    *,
    part: Part = "training",
    seed: int = 0,
) -> RealFeatures:
    """Features of (at least) the first `count` images drawn from a part of `data`, or of all if there are fewer.

    They come from the cache folder as far as they are there, and go into it otherwise. Raises `DcganError` if the
    part is empty.
    """
    numbers = images_of(data, part)
    if not len(numbers):
        raise DcganError(f"{data.path} holds no {part} images")
    origin = Origin(
        extractor=extractor.name,
        weights_digest=extractor.digest,
        resize=extractor.resize,
        data_digest=data.digest,
        size=data.size,
        channels=data.channels,
        part=part,
        available=len(numbers),
        seed=seed,
    )
    path = cache_folder() / "features" / f"{data.name}-{part.replace(' ', '-')}-{extractor.name}-{origin.digest}.npz"
    known = None
    if path.is_file():
        with contextlib.suppress(DcganError):  # damaged, or of another version: it is made anew
            known = read_features(path, data)
    have = 0 if known is None else len(known.features)
    missing = numbers[draw_order(len(numbers), seed)][have:count]
    if known is not None and not len(missing):
        return known
    title = f"features of {part} images" if sys.stderr.isatty() else None
    features = extract_features(extractor, read_batches(data, missing), total=len(missing), progress=title)
    if known is not None:
        features = torch.cat([known.features, features])
    about = json.dumps(dataclasses.asdict(origin))
    write_with(path, lambda temporary: np.savez(temporary, about=about, features=features.numpy()))
    return RealFeatures(origin, features, path, data)


def read_features(path: Path, data: PackedImages | None) -> RealFeatures:
    """Features that `real_features` wrote, those of `data` if it is here; anything else is a `DcganError`."""
    try:
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as file:
            origin = Origin(**json.loads(str(file["about"])))
            features = torch.from_numpy(file["features"])
    except OSError as error:
        raise DcganError(f"cannot read {path}: {error.strerror or error}") from error
    except (ValueError, TypeError, KeyError, EOFError, AttributeError, zipfile.BadZipFile) as error:
        raise DcganError(
            f"{path} is damaged, or no reference of dcgan: one says which extractor, resize and images it was made "
            "with, and figures against anything else would not be comparable"
        ) from error
    return RealFeatures(origin, features, path, data)


def read_reference(
    path: Path, extractor: FeatureExtractor, data: PackedImages | None, count: int, seed: int
) -> RealFeatures:
    """Features of training images given by file; `DcganError` if they do not fit what is asked for."""
    reals = read_features(path, data)
    origin = reals.origin
    asked: dict[str, tuple[object, object]] = {
        "extractor": (origin.extractor, extractor.name),
        "weights' digest": (origin.weights_digest, extractor.digest),
        "resize": (origin.resize, extractor.resize),
        "part of the data": (origin.part, "training"),
        "seed": (origin.seed, seed),
        "version of the figures": (origin.figures_version, VERSION),
    }
    if data is not None:
        asked["data's digest"] = origin.data_digest, data.digest
    for name, (found, wanted) in asked.items():
        if found != wanted:
            raise DcganError(
                f"{path} was made under another protocol, so figures would not be comparable: "
                f"its {name} is {found}, and not {wanted}"
            )
    if len(reals.features) < min(count, origin.available):
        raise DcganError(f"{path} holds {len(reals.features)} images: too few for --count {count}")
    return reals


@dataclass(frozen=True)
class Floor:
    """The figures between two disjoint parts of the real images: what a perfect generator would get."""

    reals: int
    fakes: int
    """Images on either side: as many as were compared, or what half the data allows."""
    figures: dict[str, float]


def floor(reals: RealFeatures, extractor: FeatureExtractor, real_count: int, fake_count: int) -> Floor | None:
    """The floor for figures between so many images; None where there are too few images for one.

    It is kept beside the features that it is measured on.
    """
    available = len(reals.features)
    second = min(fake_count, available // 2)
    first = min(real_count, available - second)
    if min(first, second) < FEWEST:
        return None
    path = cache_folder() / "features" / f"floor-{reals.origin.digest}-{first}-{second}.json"
    if path.is_file():
        with contextlib.suppress(DcganError):  # damaged: it is made anew
            kept = read_json(path)
            if isinstance(kept, dict) and frechet_name(extractor) in kept:
                return Floor(first, second, kept)
    one, other = reals.features[:first], reals.features[first : first + second]
    figures = measure(one, other, reals.origin.seed).named(frechet_name(extractor))
    write_json(path, figures)
    return Floor(first, second, figures)
