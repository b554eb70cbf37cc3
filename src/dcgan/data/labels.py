"""Which labels of a data set a model is told, and their values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt

from dcgan.config import Label, label_groups, unknown_label
from dcgan.data.packed import Floats
from dcgan.errors import DcganError

FEWEST = 2  # images of each class, and of yes and of no
SOURCES_OF_LABELS = (
    "give images in one folder a class, with a labels.csv, CelebA with its list_attr_celeba.txt, toy or digits"
)


class Labelled(Protocol):
    """Images with labels, such as `PackedImages`."""

    name: str
    label_names: tuple[str, ...]
    label_kinds: tuple[str, ...]

    @property
    def labels(self) -> Floats | None:
        """N x L, NaN where unknown."""


def choose_labels(data: Labelled, chosen: str | None) -> tuple[Label, ...]:
    """The labels that `chosen` names, in the data's order: all, or names and groups of classes such as `smile,hair`.

    None chooses none. Some of a group's classes without the others become yes or no. Raises `DcganError` for data
    without labels, and for names it does not have.
    """
    if chosen is None:
        return ()
    labels = [Label(*label) for label in zip(data.label_names, data.label_kinds, strict=True)]
    if not labels:
        raise DcganError(f"{data.name} has no labels to condition on: {SOURCES_OF_LABELS}")
    wanted: set[int] = set()
    for name in filter(None, (name.strip() for name in chosen.split(","))):
        found = [
            column
            for column, label in enumerate(labels)
            if name in ("all", label.name) or (label.kind == "class" and name == label.group)
        ]
        if not found:
            raise unknown_label(name, labels)
        wanted.update(found)
    if not wanted:
        raise DcganError(f"condition {chosen!r} names no label: say all, or names such as {labels[0].name}")
    groups = [group for group in label_groups(labels) if wanted.issuperset(group) and len(group) > 1]
    whole = {column for group in groups for column in group}
    return tuple(
        Label(label.name, "binary") if label.kind == "class" and column not in whole else label
        for column, label in enumerate(labels)
        if column in wanted
    )


def label_values(data: Labelled, labels: Sequence[Label], indices: npt.NDArray[np.int64]) -> Floats:
    """The values of `labels`, n x L, NaN where unknown, of the images at `indices`.

    Raises `DcganError` if the data lack one of them.
    """
    missing = [label.name for label in labels if label.name not in data.label_names]
    if missing or data.labels is None:
        raise DcganError(f"{data.name} lacks the labels that the model was told: {', '.join(missing)}")
    columns = [data.label_names.index(label.name) for label in labels]
    return np.array(data.labels[indices][:, columns])


def training_labels(data: Labelled, labels: Sequence[Label], indices: npt.NDArray[np.int64]) -> Floats:
    """As `label_values`; `DcganError` for a label of which the images at `indices` show too little to learn it."""
    values = label_values(data, labels, indices)
    for label, column in zip(labels, values.T, strict=True):
        known = column[~np.isnan(column)]
        sides = {"class": [("", known > 0.5)], "binary": [("=1", known > 0.5), ("=0", known <= 0.5)]}
        for side, images in sides.get(label.kind, [("", known == known)]):
            if images.sum() < FEWEST:
                raise DcganError(
                    f"{data.name}: {int(images.sum())} training images show {label.name}{side}, which is too few to "
                    f"learn it: add images, or leave {label.name} out of --condition"
                )
    return values
