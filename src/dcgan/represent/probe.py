"""The probe: how well a linear classifier does on the discriminator's features, and on others for comparison.

As in section 5 of the paper: the discriminator learns without labels; then a linear L2-SVM learns from few labelled
images what it takes to tell classes apart, and is tested on images that neither has seen.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from dcgan.confidence import Accuracy, accuracy
from dcgan.config import ProbeConfig
from dcgan.data import PackedImages
from dcgan.device import choose_device
from dcgan.draws import generator_for
from dcgan.errors import DcganError
from dcgan.evaluate import load_extractor
from dcgan.images import Pixels, to_input
from dcgan.models import Discriminator
from dcgan.represent.activations import features, open_images, random_discriminator
from dcgan.represent.linear import FOLDS, GRID, choose_c, fit_svm, leading, one_against_rest, right
from dcgan.represent.tasks import Indices, Task, draw_labelled, find_tasks

Describe = Callable[[Pixels], Tensor]
"""Features, float32 N x F, of uint8 images N x H x W x C."""
_CHUNK = 512
ONE_SPLIT_FROM = 2000
"""With so many labelled images, C is validated on one fifth of them, not on every fifth in turn."""


@dataclass(frozen=True)
class Measurement:
    """The accuracy of one kind of features, for one task and number of labelled images."""

    task: str
    features: str
    images: int
    """Labelled images that the classifier was given."""
    accuracy: Accuracy
    runs: tuple[float, ...]
    """Accuracy of each draw."""
    c: tuple[float, ...]
    """C of each draw, chosen by cross-validation within its labelled images."""
    dimensions: int
    """Length of a feature vector."""


@dataclass(frozen=True)
class Probe:
    """All that was measured, and how."""

    measurements: tuple[Measurement, ...]
    frequent: dict[str, float]
    """For each task the share of its most frequent class among the tested images: what guessing gets."""
    tested: dict[str, int]
    """For each task the number of tested images."""
    about: dict[str, Any]
    """Model, data and protocol, JSON-able."""
    notes: tuple[str, ...] = field(default=())


def probe(config: ProbeConfig) -> Probe:
    """Measure what `config` asks for. Raises `DcganError` for data without labels or without images held out."""
    device = choose_device(config.device)
    model = Discriminator.from_pretrained(config.model).to(device)
    data = open_images(config.data, model, config.crop)
    if not len(data.held_out_indices):
        raise DcganError(
            f"{data.name} holds no images back to test on: pack it with `dcgan prepare ... --held-out 0.2` "
            "(sets below 500 images hold none back)"
        )
    tasks = find_tasks(data, config.labels)
    notes = _notes(model, data)
    work = _Work(config, data, tasks)
    measured: list[Measurement] = []
    for name, networks in _features(config, model, data, notes):
        measured += work.measure(name, networks)
    return Probe(
        measurements=tuple(measured),
        frequent={task.name: work.frequent(task) for task in tasks},
        tested={task.name: len(work.test[task.name]) for task in tasks},
        about={
            "model": {"path": config.model, **model.about},
            "data": {"name": data.name, "digest": data.digest, "size": data.size, "channels": data.channels},
            "protocol": {
                "classifier": "linear L2-SVM, one against the rest; features centred, of mean square length 1",
                "c": list(GRID),
                "folds": FOLDS,
                "one_split_from": ONE_SPLIT_FROM,
                "balanced": config.balanced,
                "seeds": config.seeds,
                "seed": config.seed,
            },
        },
        notes=tuple(notes),
    )


def _notes(model: Discriminator, data: PackedImages) -> list[str]:
    """What a reader has to know of model and data."""
    notes = []
    trained = model.about.get("dataset") or {}
    if trained.get("digest") != data.digest:
        notes.append(
            f"the model was trained on other data ({trained.get('name', 'unknown')}), so this measures transfer; "
            "nothing here can tell whether that data held the tested images"
        )
    if model.config.labels:
        told = ", ".join(label.name for label in model.config.labels)
        notes.append(f"the model was told labels in training ({told}), so its features were not learned without any")
    return notes


def _features(
    config: ProbeConfig, model: Discriminator, data: PackedImages, notes: list[str]
) -> Iterator[tuple[str, list[Describe]]]:
    """Each kind of features by name: one network, or of random ones as many as there are seeds."""
    device = next(model.parameters()).device
    size, channels = model.config.size, model.config.channels
    yield "model", [lambda images: features(model, images)]
    if "random" in config.baselines:
        some = data.read(data.training_indices[:2048])
        seeds = range(config.seed, config.seed + config.seeds)
        networks = [random_discriminator(model.config, some, seed).to(device) for seed in seeds]
        yield "random", [lambda images, network=network: features(network, images) for network in networks]  # type: ignore[misc]
    if "pixels" in config.baselines:
        yield "pixels", [lambda images: to_input(torch.from_numpy(images), size, channels).flatten(1)]
    if "imagenet" in config.baselines:
        try:
            yield "imagenet", [load_extractor("efficientnet-lite0", device)]
        except DcganError as error:
            notes.append(f"no comparison with ImageNet features: {error}")


class _Work:
    """Which images are labelled and tested, the same for all kinds of features."""

    def __init__(self, config: ProbeConfig, data: PackedImages, tasks: list[Task]) -> None:
        self.config, self.data, self.tasks = config, data, tasks
        self.test = {task.name: task.known(data.held_out_indices) for task in tasks}
        self.draws: dict[tuple[str, int], list[Indices]] = {}
        """By task and number of labelled images: one draw a seed, but only one if it is all of them."""
        for task in tasks:
            if not len(self.test[task.name]):
                raise DcganError(f"{data.name}: {task.name} is known of no image that is held out")
            known = task.known(data.training_indices[:])
            for count in config.counts:
                if count is None or count >= len(known):
                    self.draws[task.name, len(known)] = [draw_labelled(task, known, None, False, config.seed)]
                    continue
                seeds = range(config.seed, config.seed + config.seeds)
                drawn = [draw_labelled(task, known, count, config.balanced, seed) for seed in seeds]
                self.draws[task.name, count] = drawn
        self.labelled = np.unique(np.concatenate([indices for drawn in self.draws.values() for indices in drawn]))
        self.tested = np.unique(np.concatenate(list(self.test.values())))

    def frequent(self, task: Task) -> float:
        """The share of the most frequent class among the tested images."""
        return float(np.bincount(task.targets[self.test[task.name]]).max() / len(self.test[task.name]))

    def measure(self, name: str, networks: list[Describe]) -> list[Measurement]:
        """All tasks and numbers of labelled images, by the features of one network, or of one for each seed."""
        found: dict[tuple[str, int], list[tuple[float, float]]] = {key: [] for key in self.draws}
        dimensions = 0
        for number, describe in enumerate(networks):
            labelled = self._describe(describe, self.labelled, name)
            tested = self._describe(describe, self.tested, name)
            dimensions = labelled.shape[1]
            for task in self.tasks:
                at = np.searchsorted(self.tested, self.test[task.name])
                for key, drawn in self.draws.items():
                    if key[0] != task.name:
                        continue
                    # Of several networks each has a draw of its own, so that both vary together.
                    mine = drawn if len(networks) == 1 else [drawn[number % len(drawn)]]
                    for place, indices in enumerate(mine):
                        places = np.searchsorted(self.labelled, indices)
                        targets, truth = (torch.from_numpy(task.targets[i]) for i in (indices, self.test[task.name]))
                        seed = self.config.seed + number + place
                        found[key].append(judge(labelled[places], targets, tested[at], truth, len(task.classes), seed))
        return [
            Measurement(
                task=task,
                features=name,
                images=count,
                accuracy=accuracy([run[0] for run in runs], len(self.test[task])),
                runs=tuple(run[0] for run in runs),
                c=tuple(run[1] for run in runs),
                dimensions=dimensions,
            )
            for (task, count), runs in found.items()
        ]

    def _describe(self, describe: Describe, indices: Indices, name: str) -> Tensor:
        starts = range(0, len(indices), _CHUNK)
        bar = tqdm(starts, desc=f"features: {name}", unit="chunk", disable=None)
        return torch.cat([describe(self.data.read(indices[start : start + _CHUNK])) for start in bar])


def judge(
    features: Tensor, targets: Tensor, test_features: Tensor, test_targets: Tensor, classes: int, seed: int
) -> tuple[float, float]:
    """Accuracy on the tested images after learning from the labelled ones, and the C that was chosen for it.

    Features are N x F, targets N places among the classes; `seed` decides the folds of the cross-validation.
    """
    centre = features.mean(0)
    x = features = features - centre  # a copy, which frees the caller's temporary one: these take gigabytes
    scale = torch.linalg.vector_norm(x) / math.sqrt(len(x))
    x /= scale.clamp_min(1e-12)
    tested = (test_features - centre) / scale.clamp_min(1e-12)
    if len(x) < x.shape[1]:
        # A linear classifier lives in the span of its images: in that span's own axes all is the same, and faster.
        basis, lengths = torch.linalg.qr(x.T)
        x, tested = lengths.T.contiguous(), tested @ basis
    truth, ahead = one_against_rest(targets, classes), leading(x)
    fold = _folds(targets, seed)
    c = choose_c(x, truth, fold, range(1 if len(x) >= ONE_SPLIT_FROM else FOLDS), ahead)
    weights, bias = fit_svm(x, truth, c, ahead=ahead)
    return right(tested @ weights + bias, one_against_rest(test_targets, classes)), c


def _folds(targets: Tensor, seed: int) -> Tensor:
    """A fold for each of N images, drawn so that each class is spread evenly over all."""
    order = torch.randperm(len(targets), generator=generator_for(seed, "folds", len(targets)))
    by_class = order[targets[order].argsort(stable=True)]
    return torch.empty_like(targets).scatter_(0, by_class, torch.arange(len(targets)) % FOLDS)
