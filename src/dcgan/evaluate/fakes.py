"""The images under judgement: a generator's by their seeds, or anyone's from a folder, an archive or a packed set."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from dcgan.config import EvaluateConfig
from dcgan.data import PackedImages, open_data
from dcgan.data.packed import MANIFEST, Indices
from dcgan.errors import DcganError
from dcgan.evaluate.reals import ImageSource, draw_order
from dcgan.images import Pixels
from dcgan.model_file import MODEL_FILE, PRETRAINED, model_file
from dcgan.models import Generator

Shape = tuple[int, int]  # size, channels


@dataclass(frozen=True)
class GeneratedImages:
    """A generator's images by seed."""

    generator: Generator

    def read(self, indices: npt.ArrayLike) -> Pixels:
        """The images of these seeds, uint8 N x H x W x C."""
        return self.generator.sample(np.asarray(indices, np.int64).tolist())


@dataclass(frozen=True)
class Fakes:
    """The images under judgement."""

    images: ImageSource
    indices: Indices
    """Seeds 0, 1, 2, ... of a generator's, or places in a packed data set."""
    about: dict[str, Any]
    """What identifies them, JSON-able."""
    notes: tuple[str, ...] = ()
    """What a reader of the figures should know of them."""


def is_model(path: Path) -> bool:
    """Whether MODEL is one of ours; if not, it holds images. `DcganError` for a run that has no model yet."""
    if path.is_dir() and not (path / MODEL_FILE).is_file() and (path / "metrics.jsonl").is_file():
        raise DcganError(f"{path} is a run that has no model yet: wait for its first checkpoint")
    return str(path) == PRETRAINED or path.suffix == ".safetensors" or (path / MODEL_FILE).is_file()


def generated(generator: Generator, config: EvaluateConfig, data: str, wanted: Shape) -> Fakes:
    """The images of seeds 0 to count - 1, to be judged by the data set of digest `data`, of the shape `wanted`.

    Raises `DcganError` for images of another shape, and for weights that are not finite: images of NaN would be
    black, and could be measured.
    """
    shape = generator.config.size, generator.config.channels
    if shape != wanted:
        raise DcganError(f"MODEL makes images of {in_words(shape)}, and the reference is of {in_words(wanted)}")
    for name, tensor in generator.state_dict().items():
        if not tensor.isfinite().all():
            raise DcganError(f"{config.model}: the generator's {name} holds NaN or infinity, so it makes no images")
    trained_on = generator.about.get("dataset")
    notes = []
    if trained_on and trained_on["digest"] != data:
        notes.append(
            f"MODEL was trained on {trained_on['name']} (digest {trained_on['digest'][:12]}), which is not DATA: "
            "copies of images that are not in DATA cannot be found"
        )
    about = {
        "kind": "model",
        "path": config.model,
        "digest": generator.about.get("digest"),
        "weights": "raw" if config.raw_weights else "average",
        "dataset": trained_on,
        "training": generator.about.get("training"),
        "images": f"seeds 0 to {config.count - 1}",
    }
    return Fakes(GeneratedImages(generator), np.arange(config.count), about, tuple(notes))


def stored(config: EvaluateConfig, data: str, wanted: Shape) -> Fakes:
    """Images from a folder, an archive or a packed set, prepared as real ones are; `count` are drawn by seed.

    They are to be judged by the data set of digest `data`, of the shape `wanted`. Raises `DcganError` if they cannot
    be read, or are packed in another shape.
    """
    packed = open_shaped(config.model, wanted, config.crop)
    order = draw_order(len(packed), config.seed)[: config.count]
    notes = []
    skipped = packed.manifest["skipped"]["count"]
    if skipped:
        notes.append(f"{skipped} files of MODEL could not be read and were left out: see {packed.path}/{MANIFEST}")
    if len(packed) < config.count:
        notes.append(f"MODEL holds {len(packed)} images, fewer than --count {config.count}")
    if packed.digest == data:
        notes.append("MODEL and DATA are the same images: the figures compare DATA with itself")
    about = {
        "kind": "images",
        "path": config.model,
        "digest": packed.digest,
        "prepared": packed.manifest["settings"],
        "images": f"{len(order)} of {len(packed)}, drawn with seed {config.seed}",
    }
    return Fakes(packed, order, about, tuple(notes))


def open_shaped(path: str, shape: Shape | None, crop: str, needed_by: str = "DATA") -> PackedImages:
    """Open images by whatever name in the size and channels of `shape`; None takes what there is.

    Raises `DcganError` if they are packed in another; what is not packed yet is prepared in this one.
    """
    is_packed = (Path(path).expanduser() / MANIFEST).is_file()
    if shape is None or is_packed:
        packed = open_data(path, crop=crop)
    else:
        packed = open_data(path, size=shape[0], channels=shape[1], crop=crop)
    found = packed.size, packed.channels
    if shape is not None and found != shape:
        raise DcganError(
            f"{path} is packed as {in_words(found)}, and {needed_by} is {in_words(shape)}: "
            f"prepare it again with --size {shape[0]} --channels {shape[1]}"
        )
    return packed


def in_words(shape: Sequence[int]) -> str:
    """Size and channels as 64x64x3."""
    return f"{shape[0]}x{shape[0]}x{shape[1]}"


def results_folder(config: EvaluateConfig) -> Path:
    """Where results go: `--out`, or beside a model of ours, or a folder of the images' name where we are.

    Raises `DcganError` for a place among the images, whose pictures would be taken for images the next time.
    """
    path = Path(config.model).expanduser()
    if is_model(path) and str(path) != PRETRAINED:
        file = model_file(path)
        return Path(
            config.out or file.parent / ("evaluation" if file.name == MODEL_FILE else f"evaluation-{file.stem}")
        )
    folder = Path(config.out or f"evaluation-{path.resolve().name.split('.')[0] or 'images'}")
    if folder.resolve().is_relative_to(path.resolve()):
        raise DcganError(f"the results would go into {path} among the images: choose another place with --out")
    return folder
