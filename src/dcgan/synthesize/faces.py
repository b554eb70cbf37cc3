"""Labelled faces as torch data sets, real and generated, for any training loop."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import Dataset

from dcgan.conditions import parse_condition
from dcgan.config import Label
from dcgan.data import PackedImages, label_values
from dcgan.errors import DcganError
from dcgan.images import Pixels, to_signed
from dcgan.models import Generator
from dcgan.synthesize.balance import balanced_labels, require_labels, shares_of_data

Item = tuple[Tensor, Tensor]
"""An image, float32 C x H x W in [-1, 1], and its labels, float32 L in their own units (NaN: unknown)."""
Transform = Callable[[Tensor], Tensor]


class Faces(Protocol):
    """What `mix` takes: `RealFaces`, `GeneratedFaces`, or any data set that gives many items at once."""

    def __len__(self) -> int: ...

    def __getitems__(self, places: Sequence[int]) -> list[Item]:
        """The items at these places."""


class GeneratedFaces(Dataset[Item]):
    """`count` labelled faces that a generator makes when they are asked for.

    Face i of epoch e has seed `first_seed` + e * `count` + i, so it is the same whatever the batch, the worker or the
    order. A loader that batches asks for a whole batch at once (`__getitems__`), which is many times faster than face
    by face. Usable with any number of workers (with `multiprocessing_context="spawn"` where the model is on a GPU).
    """

    def __init__(
        self,
        model: str | Path | Generator,
        count: int,
        *,
        first_seed: int = 0,
        condition: str | Mapping[str, float] | None = None,
        balance: bool = False,
        truncation: float | None = None,
        transform: Transform | None = None,
    ) -> None:
        """`condition` sets labels, such as `"smile=1"`; others are drawn as they are among the training images.

        With `balance` all classes are equally frequent, and half of the images show each attribute. `transform` is
        applied to each image. Raises `DcganError` for a model or a condition that cannot be used.
        """
        self.generator = model if isinstance(model, Generator) else Generator.from_pretrained(model)
        self.count, self.first_seed, self.truncation, self.transform = count, first_seed, truncation, transform
        self.epoch = 0
        """Set it to go on to faces that were not there before."""
        if count < 1 or first_seed < 0:
            raise DcganError(f"generated faces need a count above 0 and a first seed from 0: {count}, {first_seed}")
        self.label_columns: tuple[Label, ...] = self.generator.config.labels
        self.condition = parse_condition(condition, self.label_columns) if isinstance(condition, str) else condition
        self.shares: Sequence[Tensor | None] | None = None
        if balance:
            require_labels(self.label_columns, "balance")
            self.shares = shares_of_data(self.label_columns, None, count)
        self.latents([0])  # a mistake in the condition should be told here, not in a worker

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, place: int) -> Item:
        return self.__getitems__([place])[0]

    def __getitems__(self, places: Sequence[int]) -> list[Item]:
        """The items at these places, rendered together."""
        for place in places:
            if not 0 <= place < self.count:
                raise IndexError(f"there is no face {place} among {self.count}")
        latents = self.latents(places)
        images = to_signed(torch.from_numpy(self.generator.render(latents)))
        labels = self.generator.labels_of(latents) if self.label_columns else torch.empty(len(places), 0)
        return [(self._transformed(image), row) for image, row in zip(images, labels, strict=True)]

    def latents(self, places: Sequence[int]) -> Tensor:
        """Latents of the faces at these places."""
        return labelled_latents(self.generator, self.seeds(places), self.truncation, self.condition, self.shares)

    def seeds(self, places: Sequence[int]) -> list[int]:
        """Seeds of the faces at these places, in this epoch."""
        return [self.first_seed + self.epoch * self.count + place for place in places]

    def _transformed(self, image: Tensor) -> Tensor:
        return image if self.transform is None else self.transform(image)


def labelled_latents(
    generator: Generator,
    seeds: Sequence[int],
    truncation: float | None,
    condition: Mapping[str, float] | None,
    shares: Sequence[Tensor | None] | None,
) -> Tensor:
    """Latents of `seeds` with labels drawn by `shares`, if there are any, and set by `condition`."""
    if shares is None:
        return generator.latents(seeds, truncation, condition)
    drawn = generator.labels_of(generator.latents(seeds, truncation))
    labels = balanced_labels(generator.config.labels, drawn, seeds, shares)
    latents = generator.latents(seeds, truncation, labels)
    return latents if condition is None else generator.with_condition(latents, condition)


class RealFaces(Dataset[Item]):
    """Images of a packed data set as the same kind of items."""

    def __init__(
        self,
        data: PackedImages,
        labels: Sequence[Label],
        indices: npt.NDArray[np.int64] | None = None,
        transform: Transform | None = None,
    ) -> None:
        """`labels` are the columns wanted; `indices` the images (default: those that training sees)."""
        self.data, self.transform = data, transform
        self.indices = data.training_indices[:] if indices is None else indices
        self.label_columns = tuple(labels)
        self.values = torch.from_numpy(label_values(data, self.label_columns, self.indices))

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, place: int) -> Item:
        return self.__getitems__([place])[0]

    def __getitems__(self, places: Sequence[int]) -> list[Item]:
        """The items at these places."""
        pixels: Pixels = self.data.read(self.indices[list(places)])
        images = to_signed(torch.from_numpy(pixels))
        if self.transform is not None:
            images = torch.stack([self.transform(image) for image in images])
        return list(zip(images, self.values[list(places)], strict=True))


class Mixed(Dataset[Item]):
    """One data set after the other."""

    def __init__(self, real: Faces, synthetic: Faces, synthetic_count: int) -> None:
        self.real, self.synthetic, self.synthetic_count = real, synthetic, synthetic_count

    def __len__(self) -> int:
        return len(self.real) + self.synthetic_count

    def __getitem__(self, place: int) -> Item:
        return self.__getitems__([place])[0]

    def __getitems__(self, places: Sequence[int]) -> list[Item]:
        """The items at these places."""
        start = len(self.real)
        for place in places:
            if not 0 <= place < len(self):
                raise IndexError(f"there is no face {place} among {len(self)}")
        ours = iter(self.real.__getitems__([place for place in places if place < start]))
        made = iter(self.synthetic.__getitems__([place - start for place in places if place >= start]))
        return [next(ours) if place < start else next(made) for place in places]


def mix(real: Faces, synthetic: Faces, ratio: float = 1.0) -> Mixed:
    """All of `real`, and `ratio` synthetic faces for each of them, as one data set (shuffle it in the loader).

    Raises `DcganError` if `synthetic` has fewer faces than that.
    """
    wanted = round(ratio * len(real))
    if not 0 <= wanted <= len(synthetic):
        raise DcganError(f"a ratio of {ratio:g} takes {wanted} synthetic faces, and there are {len(synthetic)}")
    return Mixed(real, synthetic, wanted)
