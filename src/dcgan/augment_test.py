"""Do synthetic data help? The same small classifier, trained with and without them, decides.

A generator that has seen more real images than the classifier it helps is no augmentation of those few images, but a
way of handing on the others. So by default each fraction of the real data gets a generator that was trained on that
fraction alone. With a given model the comparison is only fair for the whole of the data, which is said.
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from dcgan.classify import Classifier, train_classifier
from dcgan.confidence import Accuracy, accuracy, difference
from dcgan.config import DEFAULT_PRESET, AugmentTestConfig, TrainConfig
from dcgan.data import PackedImages, PackedWriter, open_data
from dcgan.device import choose_device
from dcgan.errors import DcganError
from dcgan.images import Pixels
from dcgan.models import Generator
from dcgan.represent.tasks import Floats, Indices, Task, draw_labelled, find_tasks
from dcgan.train import resumable_config, train
from dcgan.train.run import checkpoints
from dcgan.train.state import read_counters

METHODS = ("real", "classic", "synthetic", "both", "only")
"""Real images alone; with classic augmentation; with synthetic ones; with both; synthetic images alone."""
_FOUND_OUT = ("size", "channels", "labels", "augment", "device", "data", "run_dir")
"""Settings of a run that follow from the data and the machine."""
_BATCH = 64
_CHUNK = 512
_FIRST_SEED = 1_000_000  # of the synthetic images: not those that a model's own sample grids show


@dataclass(frozen=True, eq=False)
class Comparison:
    """What came of one fraction of the real data."""

    share: float
    real: int
    """Real images that the classifiers were given."""
    seen: int
    """Real images that the generator was trained on."""
    model: str
    """Digest of the generator's model."""
    right: dict[str, npt.NDArray[np.bool_]]
    """By method, seeds x tested images: whether the classifier was right."""

    @property
    def accuracies(self) -> dict[str, Accuracy]:
        """By method, the mean accuracy."""
        return {name: accuracy(right.mean(1).tolist(), right.shape[1]) for name, right in self.right.items()}

    def gain(self, method: str, over: str) -> Accuracy:
        """By how much one method is more accurate than another."""
        return difference(self.right[method], self.right[over])


@dataclass(frozen=True, eq=False)
class AugmentTest:
    """All comparisons, and what they were made on."""

    config: AugmentTestConfig
    data: PackedImages
    task: Task
    tested: int
    """Real images, held out from generator and classifiers alike, that they were tested on."""
    comparisons: tuple[Comparison, ...]


class Pool:
    """Real images and, after them, synthetic ones, as the classifier learns from them."""

    def __init__(self, data: PackedImages, task: Task, synthetic: Pixels, labels: Floats) -> None:
        """`labels` are those of the synthetic images, M x labels of the task."""
        self.data, self.synthetic = data, synthetic
        self.name, self.digest, self.size, self.channels = data.name, data.digest, data.size, data.channels
        self.label_names = tuple(label.name for label in task.labels)
        self.label_kinds = tuple(label.kind for label in task.labels)
        self.labels: Floats | None = np.concatenate([task.values(), labels])

    def read(self, indices: npt.ArrayLike) -> Pixels:
        """Images by number: the real ones' own, then N + the synthetic one's."""
        wanted = np.asarray(indices, np.int64)
        real = wanted < len(self.data)
        images = np.empty((len(wanted), self.size, self.size, self.channels), np.uint8)
        images[real] = self.data.read(wanted[real])
        images[~real] = self.synthetic[wanted[~real] - len(self.data)]
        return images


def augment_test(config: AugmentTestConfig) -> AugmentTest:
    """Run the whole comparison. Raises `DcganError` for data, labels or a model that do not fit it."""
    data = open_data(config.data, crop=config.crop)
    task = _only_task(data, config.label)
    tested = task.known(data.held_out_indices)
    if not len(tested):
        raise DcganError(
            f"{data.name} holds no images with labels back to test on: pack it with `dcgan prepare ... --held-out 0.2` "
            "(sets below 500 images hold none back)"
        )
    given = None if config.model is None else _given_generator(config.model, data, task)
    known = task.known(data.training_indices[:])
    comparisons = []
    for share in config.shares:
        count = None if share == 1 else max(2 * len(task.classes), round(share * len(known)))
        draws = [
            draw_labelled(task, known, count, False, seed) for seed in range(config.seed, config.seed + config.seeds)
        ]
        if given is None:
            draws = [draws[0]] * config.seeds  # a generator for each draw would take days
            generator, seen = _own_generator(config, data, task, draws[0], share), len(draws[0])
        else:
            generator, seen = given, len(data.training_indices)
        comparisons.append(_compare(config, data, task, tested, draws, generator, share, seen))
    return AugmentTest(config, data, task, len(tested), tuple(comparisons))


def _only_task(data: PackedImages, label: str | None) -> Task:
    tasks = find_tasks(data, label)
    if len(tasks) != 1:
        raise DcganError(f"{data.name} has several labels: choose one with --label: {', '.join(t.name for t in tasks)}")
    return tasks[0]


def _given_generator(path: str, data: PackedImages, task: Task) -> Generator:
    """The generator at `path`, if it was told the label and trained on `data`, whose held-out part it never saw."""
    generator = Generator.from_pretrained(path)
    trained = generator.about.get("dataset") or {}
    if trained.get("digest") != data.digest:
        raise DcganError(
            f"{path} was trained on other data ({trained.get('name', 'unknown')}, digest "
            f"{str(trained.get('digest'))[:12]}) than {data.path} (digest {data.digest[:12]}): nobody can tell whether "
            "it saw the images to test on. Give the data that it was trained on, or leave out --model"
        )
    known = {label.name for label in generator.config.labels}
    if missing := [label.name for label in task.labels if label.name not in known]:
        raise DcganError(
            f"{path} makes no labelled images, as it was not told {', '.join(missing)} in training: train one with "
            f"`dcgan train ... --condition {task.name if len(task.labels) == 1 else 'all'}`"
        )
    if (generator.config.size, generator.config.channels) != (data.size, data.channels):
        raise DcganError(f"{path} makes images of another size or another number of channels than {data.path}")
    return generator


def _own_generator(
    config: AugmentTestConfig, data: PackedImages, task: Task, indices: Indices, share: float
) -> Generator:
    """A generator trained on the images at `indices` and their labels alone, now or by an earlier call."""
    out = Path(config.out)
    part = out / f"data-{share:g}"
    if part.exists():
        packed = PackedImages.open(part)
    else:
        with PackedWriter(part, data.size, data.channels, labels=task.labels, held_out=0, name=data.name) as writer:
            values = task.values()
            for start in range(0, len(indices), _CHUNK):
                chunk = indices[start : start + _CHUNK]
                writer.append(data.read(chunk), values[chunk])
            writer.terms = data.terms
            writer.source = {"name": data.name, "digest": data.digest}
        packed = PackedImages.open(part)
    settings = TrainConfig.from_preset(
        DEFAULT_PRESET,
        data=str(part),
        condition="all",
        kimg=config.kimg,
        run_dir=str(out / "runs"),
        name=f"fraction-{share:g}",
        flip=config.flip,
        seed=config.seed,
        device=config.device,
        tensorboard=False,
        animation="none",
    )
    begun = next((run for run in sorted((out / "runs").glob("*")) if _is_of(run, settings, packed)), None)
    if begun is not None:
        print(f"dcgan: taking {begun} for {share:g} of the data, from an earlier call", file=sys.stderr)
        generator = Generator.from_pretrained(begun)
        if generator.about["training"]["kimg"] >= config.kimg:
            return generator
    outcome = train(settings, resume=begun)
    if outcome.stopped_by is not None:
        raise KeyboardInterrupt
    return Generator.from_pretrained(outcome.run)


def _is_of(run: Path, settings: TrainConfig, data: PackedImages) -> bool:
    """Whether a run was made with these settings and data, finished or not."""
    kept = checkpoints(run)
    if not kept:
        return False
    made = resumable_config(run)
    same = dataclasses.replace(made, **{name: getattr(settings, name) for name in _FOUND_OUT}) == settings
    return same and read_counters(kept[-1])["dataset"]["digest"] == data.digest


def synthesize(generator: Generator, task: Task, count: int, seed: int) -> tuple[Pixels, Floats]:
    """Synthetic images, as many of each label as among the training images, and their labels M x labels of `task`."""
    first = _FIRST_SEED * (seed + 1)
    names = [label.name for label in generator.config.labels]
    columns = [names.index(label.name) for label in task.labels]
    images, labels = [], []
    for start in range(first, first + count, _CHUNK):
        latents = generator.latents(range(start, min(start + _CHUNK, first + count)))
        images.append(generator.render(latents))
        labels.append(generator.labels_of(latents)[:, columns].numpy())
    return np.concatenate(images), np.concatenate(labels)


def _compare(
    config: AugmentTestConfig,
    data: PackedImages,
    task: Task,
    tested: Indices,
    draws: Sequence[Indices],
    generator: Generator,
    share: float,
    seen: int,
) -> Comparison:
    """Train and test a classifier of each method on each draw."""
    device = choose_device(config.device)
    generator.to(device)
    pool = Pool(data, task, *synthesize(generator, task, config.synthetic, config.seed))
    synthetic = np.arange(len(data), len(data) + config.synthetic)
    right: dict[str, list[npt.NDArray[np.bool_]]] = {method: [] for method in METHODS}
    for number, real in enumerate(draws):
        mixed = np.concatenate([np.resize(real, max(len(real), config.synthetic)), synthetic])
        given = {"real": real, "classic": real, "synthetic": mixed, "both": mixed, "only": synthetic}
        for method in METHODS:
            classic = method in ("classic", "both")
            classifier = train_classifier(
                pool,
                given[method],
                epochs=config.steps * _BATCH / len(given[method]),
                batch=_BATCH,
                width=config.width,
                shift=classic,
                flip=classic and config.flip,
                seed=config.seed + number,
                device=device,
            )
            right[method].append(is_right(classifier, data, task, tested))
        told = ", ".join(f"{method} {100 * found[-1].mean():.1f}" for method, found in right.items())
        print(f"{len(real):,} real images, run {number + 1} of {len(draws)}: {told}", file=sys.stderr)
    stacked = {method: np.stack(found) for method, found in right.items()}
    return Comparison(share, len(draws[0]), seen, str(generator.about.get("digest")), stacked)


def is_right(classifier: Classifier, data: PackedImages, task: Task, indices: Indices) -> npt.NDArray[np.bool_]:
    """Whether the classifier reads the label of each image right, N."""
    parts = [classifier.read(data.read(part)) for part in np.array_split(indices, -(-len(indices) // _CHUNK))]
    read = np.concatenate(parts)
    places = read.argmax(1) if read.shape[1] > 1 else (read[:, 0] > 0.5).astype(np.int64)
    return np.asarray(places == task.targets[indices])
