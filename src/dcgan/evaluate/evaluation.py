"""One whole evaluation: draw, generate, extract, measure, audit. `report` writes down what comes of it."""

from __future__ import annotations

import contextlib
import dataclasses
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dcgan.config import EvaluateConfig
from dcgan.data import PackedImages
from dcgan.device import choose_device, describe_machine
from dcgan.errors import DcganError
from dcgan.evaluate.by_class import ByClass, measure_by_class
from dcgan.evaluate.fakes import Fakes, Shape, generated, is_model, open_shaped, stored
from dcgan.evaluate.features import FeatureExtractor, extract_features, load_extractor
from dcgan.evaluate.figures import Figures, frechet_name, measure
from dcgan.evaluate.memorisation import FEWEST_HELD_OUT, NEIGHBOURS, Audit, Finding, Views, audit, thumbnails
from dcgan.evaluate.reals import (
    CHUNK,
    Floor,
    Part,
    RealFeatures,
    floor,
    read_batches,
    read_reference,
    real_features,
)
from dcgan.images import Pixels
from dcgan.models import Generator

SAMPLES = 64  # fakes in the report's grid


@dataclass(frozen=True, eq=False)
class Evaluation:
    """What came of an evaluation, with all it takes to do it again."""

    protocol: dict[str, Any]
    """Results compare where all of this is equal."""
    model: dict[str, Any]
    data: dict[str, Any]
    measured: Figures
    figures: dict[str, float]
    """The same by name."""
    floor: Floor | None
    audit: Audit | str
    """Or why it could not be made."""
    notes: tuple[str, ...]
    seconds: dict[str, float]
    """Time that each stage took."""
    environment: dict[str, Any]
    samples: Pixels
    """The first fakes."""
    pairs: dict[str, Pixels]
    """Fake and nearest training image side by side, closest first, for each space of the audit."""
    by_class: ByClass | None = None
    """Of a conditional model."""


class Stages:
    """How long each stage took."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextlib.contextmanager
    def timed(self, stage: str) -> Iterator[None]:
        """Add the time the block takes to `stage`."""
        start = time.perf_counter()
        yield
        self.seconds[stage] = self.seconds.get(stage, 0.0) + time.perf_counter() - start


def evaluate(
    config: EvaluateConfig, *, generator: Generator | None = None, extractor: FeatureExtractor | None = None
) -> Evaluation:
    """Judge `config.model` by `config.data`; `generator` and `extractor` take the place of those the config names.

    The reference are training images drawn by seed, as the field measures FID; fakes are seeds 0, 1, 2, ...
    Nothing is written but the cache. Raises `DcganError` for images, a model, a reference or an extractor that
    cannot be read or do not fit each other, for too few images, and for NaN.
    """
    stages, device = Stages(), choose_device(config.device)
    if generator is None and is_model(Path(config.model)):
        if config.raw_weights:
            raise DcganError("raw_weights: pass the generator that dcgan.train.state.read_raw_generator reads")
        generator = Generator.from_pretrained(config.model)
    shape = None if generator is None else (generator.config.size, generator.config.channels)
    data = open_shaped(config.data, shape, config.crop, "MODEL") if config.data else None
    unseen = open_unseen(config, data)
    extractor = extractor or load_extractor(config.extractor, device)
    reference = find_reference(config, extractor, data)
    digest, shape = identify(data, reference)
    # before the reals, which take long: a mistake in MODEL should be told at once
    fakes = (
        stored(config, digest, shape) if generator is None else generated(generator.to(device), config, digest, shape)
    )

    with stages.timed("features of reals"):
        reals = reference or find_reals(config, extractor, data, unseen)
        held_out = find_held_out(config, extractor, unseen)
    views = view_fakes(fakes, extractor, stages)
    real = reals.first(config.count)
    with stages.timed("figures"):
        measured = measure(real.features, views.features, config.seed)
    with stages.timed("floor"):
        best = floor(reals, extractor, len(real.features), len(views.features))
    with stages.timed("audit"):
        training = reals.first(config.audit_pool)
        found = held_out if isinstance(held_out, str) else audit(views, view(held_out), view(training), config.seed)
    with stages.timed("classes"):
        classes = judge_classes(generator, data, reals, len(real.features), views)
    told = [f"no figures by class: {classes}"] if isinstance(classes, str) else []
    return Evaluation(
        protocol={**dataclasses.asdict(reals.origin), "reals": len(real.features), "fakes": len(views.features)},
        model=fakes.about,
        data=about_data(config, reals, held_out),
        measured=measured,
        figures=measured.named(frechet_name(extractor)),
        floor=best,
        audit=found,
        notes=(*fakes.notes, *notes_on(config, real, views, best, found), *told),
        seconds={stage: round(seconds, 2) for stage, seconds in stages.seconds.items()},
        environment=describe_machine(device),
        samples=fakes.images.read(fakes.indices[:SAMPLES]),
        pairs={} if isinstance(found, str) else {f.space: read_pairs(f, fakes, training) for f in found.findings},
        by_class=None if isinstance(classes, str) else classes,
    )


def judge_classes(
    generator: Generator | None, data: PackedImages | None, reals: RealFeatures, count: int, fakes: Views
) -> ByClass | str | None:
    """The figures of a conditional model class by class, by `count` of the reals; None for any other."""
    if generator is None or not generator.config.labels:
        return None
    if data is None:
        return "the training images are not here, only their features: give DATA as well"
    return measure_by_class(generator, data, reals, count, fakes.features)


def open_unseen(config: EvaluateConfig, data: PackedImages | None) -> PackedImages | str:
    """The data set with the images that the model never saw, or why there can be no memorisation audit."""
    if data is None:
        return "the training images are not here, only their features: give DATA as well"
    if config.held_out is None:
        unseen, count = data, len(data.held_out_indices)
    else:
        unseen = open_shaped(config.held_out, (data.size, data.channels), config.crop)
        count = len(unseen)
        if unseen.digest == data.digest:
            raise DcganError("--held-out is DATA itself: give images that the model never saw")
    if count < FEWEST_HELD_OUT:
        return (
            f"it takes {FEWEST_HELD_OUT} real images that the model never saw, and there are {count}: "
            "name a folder of such images with --held-out"
        )
    if len(data.training_indices) <= NEIGHBOURS:
        return f"it takes more than {NEIGHBOURS} training images, and there are {len(data.training_indices)}"
    return unseen


def find_reference(
    config: EvaluateConfig, extractor: FeatureExtractor, data: PackedImages | None
) -> RealFeatures | None:
    """The features that `--reference` names, if it does."""
    if config.reference is None:
        return None
    return read_reference(Path(config.reference), extractor, data, config.count, config.seed)


def identify(data: PackedImages | None, reference: RealFeatures | None) -> tuple[str, Shape]:
    """The digest of the real images, and their size and channels."""
    if data is not None:
        return data.digest, (data.size, data.channels)
    assert reference is not None, "EvaluateConfig asks for DATA or a reference"
    return reference.origin.data_digest, (reference.origin.size, reference.origin.channels)


def find_reals(
    config: EvaluateConfig, extractor: FeatureExtractor, data: PackedImages | None, unseen: PackedImages | str
) -> RealFeatures:
    """Features of training images: enough for the figures, the floor and any audit."""
    assert data is not None, "EvaluateConfig asks for DATA or a reference"
    pool = 0 if isinstance(unseen, str) else config.audit_pool
    return real_features(data, extractor, max(2 * config.count, pool), seed=config.seed)


def find_held_out(
    config: EvaluateConfig, extractor: FeatureExtractor, unseen: PackedImages | str
) -> RealFeatures | str:
    """Features of images that the model never saw, at most `count`; or why there are none."""
    if isinstance(unseen, str):
        return unseen
    part: Part = "held out" if config.held_out is None else "all"
    return real_features(unseen, extractor, config.count, part=part, seed=config.seed).first(config.count)


def view_fakes(fakes: Fakes, extractor: FeatureExtractor, stages: Stages) -> Views:
    """Make (or read) the fakes a few at a time, and keep only their features and thumbnails."""
    small: list[Tensor] = []

    def batches() -> Iterator[Pixels]:
        for start in range(0, len(fakes.indices), CHUNK):
            with stages.timed("fakes"):
                images = fakes.images.read(fakes.indices[start : start + CHUNK])
            small.append(thumbnails(images))
            yield images

    title = "features of fakes" if sys.stderr.isatty() else None
    with stages.timed("features of fakes"):
        features = extract_features(extractor, batches(), total=len(fakes.indices), progress=title)
    stages.seconds["features of fakes"] -= stages.seconds["fakes"]
    return Views(features, torch.cat(small))


def view(reals: RealFeatures) -> Views:
    """Real images as the audit sees them."""
    assert reals.data is not None, "an audit is made of images"
    small = [thumbnails(images) for images in read_batches(reals.data, reals.indices)]
    return Views(reals.features, torch.cat(small))


def read_pairs(finding: Finding, fakes: Fakes, training: RealFeatures) -> Pixels:
    """Each close fake beside its nearest training image (mirrored if that is nearer), uint8 N x H x 2W x C."""
    assert training.data is not None, "an audit is made of images"
    left = fakes.images.read(fakes.indices[[pair.fake for pair in finding.pairs]])
    right = training.data.read(training.indices[[pair.training for pair in finding.pairs]])
    for i, pair in enumerate(finding.pairs):
        if pair.mirrored:
            right[i] = right[i][:, ::-1].copy()
    return np.concatenate([left, right], axis=2)


def notes_on(
    config: EvaluateConfig, real: RealFeatures, fakes: Views, best: Floor | None, found: Audit | str
) -> Iterator[str]:
    """What a reader of the figures should know."""
    fewest, dimensions = min(len(real.features), len(fakes.features)), real.features.shape[1]
    if len(real.features) < config.count:
        yield f"DATA has {len(real.features)} training images, fewer than --count {config.count}"
    if fewest <= dimensions:
        yield (
            f"{fewest} images are no more than the {dimensions} dimensions of the features: the Frechet distance is "
            "far above what more images would give, so read it beside the floor; the kernel distance is not affected"
        )
    if best is None:
        yield "DATA has too few images for a floor"
    if isinstance(found, str):
        yield f"no memorisation audit: {found}"
    elif found.is_blunt:
        yield "the held-out images repeat training images: the audit sees only what is copied more closely still"


def about_data(config: EvaluateConfig, reals: RealFeatures, held_out: RealFeatures | str) -> dict[str, Any]:
    """What identifies the real images, JSON-able."""
    about: dict[str, Any] = {
        "path": config.data or None,
        "name": None if reals.data is None else reals.data.name,
        "digest": reals.origin.data_digest,
        "reference": str(reals.path),
        "reference_images": len(reals.features),
        "held_out": None,
    }
    if not isinstance(held_out, str):
        about["held_out"] = {
            "path": config.held_out or config.data,
            "digest": held_out.origin.data_digest,
            "images": len(held_out.features),
        }
    return about
