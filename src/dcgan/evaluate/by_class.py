"""A conditional model class by class: each class's distance, and whether the images show the labels asked for."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from dcgan.checkpoint import json_digest
from dcgan.classify import Classifier, measure, train_classifier
from dcgan.config import Label
from dcgan.data import PackedImages, label_values
from dcgan.data.cache import cache_folder
from dcgan.data.packed import Floats
from dcgan.errors import DcganError
from dcgan.evaluate.fakes import GeneratedImages
from dcgan.evaluate.kernel import KernelDistance, kernel_distance
from dcgan.evaluate.reals import RealFeatures
from dcgan.models import Generator

FEWEST_OF_A_CLASS = 50
"""Images on either side below which a class's distance would mostly be noise."""
MOST_READ_BACK = 2000  # fakes whose labels the classifier reads
EPOCHS = 8.0


@dataclass(frozen=True)
class ClassDistance:
    """One class, or the images with or without an attribute."""

    name: str
    """Such as `hair=red`, or `glasses=1`."""
    reals: int
    fakes: int
    """Images on either side."""
    kernel: KernelDistance | None
    """None where either side has fewer than `FEWEST_OF_A_CLASS` images."""
    floor: float | None
    """The same distance between two disjoint halves of the class's real images."""


@dataclass(frozen=True)
class Fidelity:
    """What a classifier that learned from real images reads from fakes, against the labels that were asked for."""

    fakes: dict[str, float]
    """By attribute the share that is right, and of a number the share of its variance explained."""
    reals: dict[str, float]
    """The same of held-out real images: what the classifier can do. Empty if there are none."""
    fake_count: int
    real_count: int
    training_count: int
    """Real images that the classifier learned from."""
    numbers: tuple[str, ...]
    """Those that are numbers."""


@dataclass(frozen=True)
class ByClass:
    """All of this module's figures of one model."""

    distances: tuple[ClassDistance, ...]
    fidelity: Fidelity


class GeneratedLabelled:
    """A generator's images by seed with the labels that were asked for: what a classifier is measured on."""

    def __init__(self, generator: Generator, labels: Floats) -> None:
        """`labels` are N x L, row i for seed i."""
        self.name, self.digest = "the generator's images", str(generator.about.get("digest"))
        self.size, self.channels = generator.config.size, generator.config.channels
        self.label_names = tuple(label.name for label in generator.config.labels)
        self.label_kinds = tuple(label.kind for label in generator.config.labels)
        self.labels = labels
        self.read = GeneratedImages(generator).read


def measure_by_class(
    generator: Generator, data: PackedImages, reals: RealFeatures, count: int, fakes: Tensor
) -> ByClass | str:
    """Figures from the first `count` of `reals`, which are of `data`, and the features (M x D) of seeds 0 to M - 1.

    All of `reals` serve for the floor. If `data` lack labels that the model was told, the result says so.
    """
    labels, seed = generator.config.labels, reals.origin.seed
    if missing := [label.name for label in labels if label.name not in data.label_names]:
        return f"DATA lacks the labels that MODEL was told: {', '.join(missing)}"
    truth = torch.from_numpy(label_values(data, labels, reals.indices))
    asked = generator.labels_of(generator.latents(range(len(fakes))))
    distances = []
    for column, label in enumerate(labels):
        for value in {"class": (1,), "binary": (0, 1)}.get(label.kind, ()):
            name = label.name if label.kind == "class" else f"{label.name}={value}"
            real = truth[:, column] == value
            sides = reals.features[:count][real[:count]], fakes[asked[:, column] == value]
            distances.append(_distance(name, *sides, reals.features[real], seed))
    return ByClass(tuple(distances), fidelity(generator, data, asked[:MOST_READ_BACK].numpy(), seed))


def _distance(name: str, real: Tensor, fake: Tensor, all_real: Tensor, seed: int) -> ClassDistance:
    if min(len(real), len(fake)) < FEWEST_OF_A_CLASS:
        return ClassDistance(name, len(real), len(fake), None, None)
    half = len(all_real) // 2
    enough = half >= FEWEST_OF_A_CLASS
    floor = kernel_distance(all_real[:half], all_real[half:], seed=seed).value if enough else None
    return ClassDistance(name, len(real), len(fake), kernel_distance(real, fake, seed=seed), floor)


def fidelity(generator: Generator, data: PackedImages, asked: Floats, seed: int = 0) -> Fidelity:
    """Read back the labels `asked` (N x L) of seeds 0 to N - 1 with a classifier of `data`'s training images."""
    reader = label_reader(data, generator.config.labels, seed)
    held_out = data.held_out_indices
    return Fidelity(
        fakes=measure(reader, GeneratedLabelled(generator, asked), np.arange(len(asked))),
        reals=measure(reader, data, held_out) if len(held_out) else {},
        fake_count=len(asked),
        real_count=len(held_out),
        training_count=len(data.training_indices),
        numbers=tuple(label.name for label in generator.config.labels if label.kind == "number"),
    )


def label_reader(data: PackedImages, labels: tuple[Label, ...], seed: int = 0) -> Classifier:
    """A classifier of `labels` trained on `data`'s training images; the cache folder keeps it."""
    wanted = [label.name for label in labels]
    identity = json_digest([data.digest, wanted, seed, EPOCHS])
    path = cache_folder() / "classifiers" / f"{data.name}-{identity[:12]}.safetensors"
    if path.is_file():
        with contextlib.suppress(DcganError):  # damaged, or of another version: it is made anew
            return Classifier.load(path)
    reader = train_classifier(data, data.training_indices[:], labels=wanted, epochs=EPOCHS, seed=seed, progress=True)
    reader.save(path)
    return reader


def in_words(fidelity: Fidelity) -> str:
    """The mean share that is right, over classes and attributes, of the fakes and of held-out reals."""
    names = [name for name in fidelity.fakes if name not in fidelity.numbers]
    if not names:
        return "labels read back: see the report"
    reals = [fidelity.reals[name] for name in names if name in fidelity.reals]
    beside = f" (held-out reals {np.mean(reals):.1%})" if reals else ""
    return f"labels read back right {np.mean([fidelity.fakes[name] for name in names]):.1%}{beside}"
