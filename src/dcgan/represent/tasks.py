"""What there is to learn in labelled images: one task a class group or yes/no label, and draws of labelled images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from dcgan.data import Label, PackedImages
from dcgan.draws import generator_for
from dcgan.errors import DcganError

Indices = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Task:
    """One thing to tell of an image."""

    name: str
    classes: tuple[str, ...]
    """What it can be; no and yes for a yes/no label."""
    targets: Indices
    """For each image of the data set its place in `classes`, -1 where unknown."""

    def known(self, indices: Indices) -> Indices:
        """Those of `indices` whose label is known."""
        return indices[self.targets[indices] >= 0]


def find_tasks(data: PackedImages, wanted: Sequence[str] | None) -> list[Task]:
    """The tasks called `wanted`, or every class group and yes/no label.

    Raises `DcganError` for data without labels, for names it does not have, and for numbers.
    """
    if data.labels is None or not data.label_names:
        raise DcganError(
            f"{data.name} has no labels to learn: give a folder with one sub-folder a class, CelebA with its "
            "attributes, toy or digits"
        )
    columns: dict[str, list[int]] = {}
    for column, label in enumerate(map(Label, data.label_names, data.label_kinds)):
        name = (label.name.rpartition("=")[0] or "class") if label.kind == "class" else label.name
        columns.setdefault(name, []).append(column)
    tasks = {name: _task(name, data, places) for name, places in columns.items() if data.label_kinds[places[0]] != "number"}
    for name in wanted or ():
        if name in columns and name not in tasks:
            raise DcganError(f"{name} is a number, and a linear classifier tells classes: choose {', '.join(tasks)}")
        if name not in tasks:
            raise DcganError(f"{data.name} has no label {name!r} to learn; it has {', '.join(tasks)}")
    return [tasks[name] for name in wanted or tasks]


def _task(name: str, data: PackedImages, columns: list[int]) -> Task:
    assert data.labels is not None
    values = np.array(data.labels[:, columns])
    unknown = np.isnan(values).any(1)
    if data.label_kinds[columns[0]] == "class":
        classes = tuple(data.label_names[column].rpartition("=")[2] for column in columns)
        targets = np.nan_to_num(values).argmax(1)
    else:
        classes, targets = ("no", "yes"), (values[:, 0] > 0.5).astype(np.int64)
    return Task(name, classes, np.where(unknown, -1, targets).astype(np.int64))


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
