"""CelebA's official annotation files: attributes, partition and landmarks, as .txt or as Kaggle's .csv."""

from __future__ import annotations

import array
import io
import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

import numpy as np
import numpy.typing as npt

from dcgan.errors import DcganError

FRAME = (178, 218)
"""Width and height of the official aligned images, in whose pixels the landmarks are given."""
LANDMARKS = ("left_eye", "right_eye", "nose", "left_mouth", "right_mouth")
"""In the files' order. Left is the left of the image."""
SPLITS = {"train": 0, "valid": 1, "test": 2}
IMAGES = "img_align_celeba"
"""Start of the name of the folder, or of the .zip, that holds the aligned images."""
TERMS = "CelebA: for non-commercial research only; its images must not be redistributed"

_ATTRIBUTES, _PARTITION, _LANDMARKS = "list_attr_celeba", "list_eval_partition", "list_landmarks_align_celeba"
_FILES = frozenset(stem + suffix for stem in (_ATTRIBUTES, _PARTITION, _LANDMARKS) for suffix in (".txt", ".csv"))


@dataclass(frozen=True)
class Table:
    """One annotation file: a row of numbers for each image."""

    columns: tuple[str, ...]
    values: npt.NDArray[np.float32]
    """N x columns."""
    rows: Mapping[str, int]
    """File name without its suffix to row: some copies are re-encoded as .png."""

    def row(self, name: str) -> npt.NDArray[np.float32] | None:
        """The numbers of the image with this file name, or None if the file does not list it."""
        number = self.rows.get(PurePosixPath(name).stem)
        return None if number is None else self.values[number]


@dataclass(frozen=True)
class Annotations:
    """Those of the three files that are there."""

    attributes: Table | None
    """40 columns of 0 and 1."""
    partition: Table | None
    """One column: 0, 1 or 2 as in `SPLITS`."""
    landmarks: Table | None
    """10 columns: x and y of each of `LANDMARKS`, in pixels of `FRAME`."""

    def __bool__(self) -> bool:
        """Whether there is any."""
        return any(table is not None for table in (self.attributes, self.partition, self.landmarks))


def is_annotation(name: str) -> bool:
    """Whether a file is one of the three by its name, wherever it lies."""
    return name.rpartition("/")[2] in _FILES


def read_annotations(names: Iterable[str], read: Callable[[str], bytes]) -> Annotations:
    """Find annotation files among `names` and `read` them; the .txt is taken where there is a .csv too.

    Raises `DcganError` that names the file and the line where one is malformed.
    """
    found = {PurePosixPath(name).stem: name for name in sorted(filter(is_annotation, names), key=_suffix)}

    def table(stem: str, width: int | None, allowed: tuple[float, ...] | None) -> Table | None:
        name = found.get(stem)
        return None if name is None else _read_table(name, read(name), width, allowed)

    attributes = table(_ATTRIBUTES, None, (-1, 0, 1))
    if attributes is not None:
        np.maximum(attributes.values, 0, out=attributes.values)  # -1 is no
    partition = table(_PARTITION, 1, (0, 1, 2))
    return Annotations(attributes, partition, table(_LANDMARKS, 2 * len(LANDMARKS), None))


def _suffix(name: str) -> str:
    return PurePosixPath(name).suffix


def _read_table(name: str, data: bytes, width: int | None, allowed: tuple[float, ...] | None) -> Table:
    """Parse rows of an image's name and its numbers, below a count and a header where there are any."""
    lines = _fields(data)
    number, fields = next(lines, (1, [""]))
    stated = None
    if len(fields) == 1 and fields[0].isdecimal():
        stated = int(fields[0])
        number, fields = next(lines, (2, [""]))
    if PurePosixPath(fields[0]).suffix:  # an image's name: there is no header
        columns = [""] * (len(fields) - 1)
        lines = itertools.chain([(number, fields)], lines)
    else:
        columns = [field for field in fields if field != "image_id"]
    if width is not None and len(columns) != width:
        raise DcganError(f"{name}, line {number}: {len(columns)} columns where CelebA's file has {width}")

    rows: dict[str, int] = {}
    values = array.array("f")
    for number, fields in lines:
        numbers = _numbers(fields[1:], allowed)
        if numbers is None or len(numbers) != len(columns):
            among = "" if allowed is None else f", each of {', '.join(f'{value:g}' for value in allowed)}"
            text = " ".join(fields)[:60]
            raise DcganError(f"{name}, line {number}: not a name and {len(columns)} numbers{among}: {text!r}")
        rows[PurePosixPath(fields[0]).stem] = len(rows)
        values.extend(numbers)
    if not rows:
        raise DcganError(f"{name}, line {number}: it lists no images")
    if len(values) != len(rows) * len(columns):
        raise DcganError(f"{name} lists an image twice")
    if stated not in (None, len(rows)):
        raise DcganError(f"{name} is cut short: its first line promises {stated} images, and it lists {len(rows)}")
    return Table(tuple(columns), np.array(values, np.float32).reshape(len(rows), len(columns)), rows)


def _fields(data: bytes) -> Iterator[tuple[int, list[str]]]:
    """Number and fields of each line that has any; all at once, they would take 20 times the file's size."""
    for number, line in enumerate(io.BytesIO(data), 1):
        if fields := line.decode(errors="replace").replace(",", " ").split():
            yield number, fields


def _numbers(fields: Sequence[str], allowed: tuple[float, ...] | None) -> list[float] | None:
    """The fields as numbers, or None if one is no number, not finite, or not among those allowed."""
    try:
        numbers = [float(field) for field in fields]
    except ValueError:
        return None
    if allowed is None:
        return numbers if all(map(math.isfinite, numbers)) else None
    return numbers if all(number in allowed for number in numbers) else None
