"""What there is to learn in labelled images: one task a class group or yes/no label, and draws of labelled images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from dcgan.config import Label, label_groups
from dcgan.data import PackedImages, choose_labels, label_values
from dcgan.data.labels import SOURCES_OF_LABELS
from dcgan.draws import generator_for
from dcgan.errors import DcganError

Floats = npt.NDArray[np.float32]
Indices = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Task:
    """One thing to tell of an image."""

    name: str
    classes: tuple[str, ...]
    """What it can be; no and yes for a yes/no label."""
    labels: tuple[Label, ...]
    """The data's labels it is made of: one for each class, or the yes/no label alone."""
    targets: Indices
    """For each image of the data set its place in `classes`, -1 where unknown."""

    def values(self) -> Floats:
        """What `labels` are for each image of the data set, N x labels; NaN where unknown."""
        unknown = (self.targets < 0)[:, None]
        if len(self.labels) == 1:
            return np.where(unknown, np.nan, self.targets[:, None]).astype(np.float32)
        return np.where(unknown, np.nan, np.eye(len(self.labels))[self.targets]).astype(np.float32)

    def known(self, indices: Indices) -> Indices:
        """Those of `indices` whose label is known."""
        return indices[self.targets[indices] >= 0]


def find_tasks(data: PackedImages, wanted: str | None) -> list[Task]:
    """The tasks that `wanted` names, such as `hair,glasses`, or every class group and yes/no label.

    Raises `DcganError` for data without labels, for names it does not have, and for numbers.
    """
    if data.labels is None or not data.label_names:
        raise DcganError(f"{data.name} has no labels to learn: {SOURCES_OF_LABELS}")
    labels = choose_labels(data, wanted or "all")
    numbers = [label.name for label in labels if label.kind == "number"]
    if wanted and numbers:
        raise DcganError(f"{', '.join(numbers)}: a linear classifier tells classes, yes and no, but not numbers")
    values = label_values(data, labels, np.arange(len(data)))
    return [
        _task([labels[column] for column in columns], values[:, columns])
        for columns in label_groups(labels)
        if labels[columns[0]].kind != "number"
    ]


def _task(labels: Sequence[Label], values: Floats) -> Task:
    """One task of a class's columns, or of a yes/no label's."""
    unknown = np.isnan(values).any(1)
    if labels[0].kind == "class":
        name, classes = labels[0].group, tuple(label.name.rpartition("=")[2] for label in labels)
        targets = np.nan_to_num(values).argmax(1)
    else:
        name, classes = labels[0].name, ("no", "yes")
        targets = np.nan_to_num(values[:, 0]) > 0.5
    return Task(name, classes, tuple(labels), np.where(unknown, -1, targets).astype(np.int64))


def draw_labelled(task: Task, indices: Indices, count: int | None, balanced: bool, seed: int) -> Indices:
    """Sorted `count` of `indices` (all of them if None), each class in its own proportion, or equal if `balanced`.

    Every class gets two at least. Raises `DcganError` if a class has fewer than two images, or too few.
    """
    available = np.bincount(task.targets[indices], minlength=len(task.classes))
    if available.min() < 2:
        lacking = task.classes[int(available.argmin())]
        raise DcganError(f"{task.name}: {lacking} has {available.min()} training images, and two at least are needed")
    if count is None:
        return indices
    shares = np.full(len(available), count / len(available)) if balanced else count * available / available.sum()
    quota = np.maximum(2, np.floor(shares)).astype(int)
    for place in np.argsort(np.floor(shares) - shares, kind="stable")[: max(0, count - quota.sum())]:
        quota[place] += 1
    if (quota > available).any():
        lacking = task.classes[int((quota - available).argmax())]
        raise DcganError(f"{task.name}: {lacking} has too few training images for {count} in equal shares")
    order = torch.randperm(len(indices), generator=generator_for(seed, f"labelled {task.name}", count)).numpy()
    shuffled = indices[order]
    parts = [shuffled[task.targets[shuffled] == place][:wanted] for place, wanted in enumerate(quota)]
    return np.sort(np.concatenate(parts))
