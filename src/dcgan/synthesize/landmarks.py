"""Pseudo-landmarks: a small regressor that learned from faces whose landmarks are known."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dcgan.classify import Classifier, train_classifier
from dcgan.data import PackedImages
from dcgan.data.packed import Floats
from dcgan.errors import DcganError
from dcgan.images import Pixels

EPOCHS = 12.0
FEWEST = 200  # labelled faces to learn from


class WithLandmarks:
    """A data set whose labels are its landmarks: 2K numbers, x and y in shares of the image's size."""

    def __init__(self, data: PackedImages) -> None:
        if data.landmarks is None:
            raise DcganError(f"{data.name} has no landmarks to learn from: give CelebA with its list, or toy")
        self.name, self.digest = data.name, data.digest
        self.size, self.channels = data.size, data.channels
        self.label_names = tuple(f"{name}_{axis}" for name in data.landmark_names for axis in "xy")
        self.label_kinds = ("number",) * len(self.label_names)
        self.labels: Floats = ((data.landmarks.reshape(len(data), -1) + 0.5) / data.size).astype(np.float32)
        self.read = data.read


@dataclass(frozen=True)
class Marker:
    """Marks landmarks in faces."""

    regressor: Classifier
    names: tuple[str, ...]
    error: dict[str, float]
    """Mean distance between the marked and the true point on faces it had not seen, by landmark, as a share of the
    image's size."""
    learned_from: str
    training_count: int
    held_out_count: int

    def mark(self, images: Pixels) -> Floats:
        """Landmarks, N x K x 2 in pixels with centres at whole numbers, of uint8 images N x S x S x C."""
        shares = self.regressor.read(images).reshape(len(images), len(self.names), 2)
        points: Floats = shares * images.shape[1] - 0.5
        return points


def train_marker(data: PackedImages, seed: int = 0) -> Marker:
    """Learn from `data`'s training images, and measure on its held-out ones (on a tenth left out, if there are none).

    Raises `DcganError` for data without landmarks, or with too few.
    """
    labelled = WithLandmarks(data)
    training, held_out = data.training_indices[:], data.held_out_indices
    if not len(held_out):
        training, held_out = np.delete(training, np.s_[::10]), training[::10]
    known = np.isfinite(labelled.labels.sum(axis=1))
    training, held_out = training[known[training]], held_out[known[held_out]]
    if min(len(training), 10 * len(held_out)) < FEWEST:
        raise DcganError(f"{data.name} has landmarks of {len(training)} faces: a regressor needs at least {FEWEST}")
    regressor = train_classifier(labelled, training, epochs=EPOCHS, shift=False, seed=seed, progress=True)
    found = regressor.read(data.read(held_out)).reshape(len(held_out), -1, 2)
    distances = np.linalg.norm(found - labelled.labels[held_out].reshape(found.shape), axis=2).mean(0)
    error = {name: round(float(distance), 5) for name, distance in zip(data.landmark_names, distances, strict=True)}
    return Marker(regressor, data.landmark_names, error, data.name, len(training), len(held_out))
