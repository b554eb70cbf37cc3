"""Labels from a `labels.csv` beside the images: a header `file,NAME,...`, then a line for each image."""

from __future__ import annotations

import csv
import io
import math
import posixpath
from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from dcgan.config import Label
from dcgan.data.packed import Floats
from dcgan.errors import DcganError

NAME = "labels.csv"
MAX_CLASSES = 1000
_WORDS = {"yes": "1", "true": "1", "no": "0", "false": "0"}


@dataclass(frozen=True)
class LabelTable:
    """What the file says."""

    labels: tuple[Label, ...]
    rows: dict[str, Floats]
    """Labels of each image by its path as the source names it, NaN where unknown."""


def is_table(name: str) -> bool:
    """Whether a file is a `labels.csv` by its name, wherever it lies."""
    return name.rpartition("/")[2].lower() == NAME


def find_table(names: Iterable[str]) -> str | None:
    """The `labels.csv` nearest to the top, if there is one."""
    return min(filter(is_table, names), key=lambda name: (name.count("/"), name), default=None)


def read_table(name: str, data: bytes, images: Container[str]) -> LabelTable:
    """Parse the file `name`, whose paths are relative to its own folder, and see that it fits the `images`.

    A column of words is a class (of a column named class the words alone are the labels' names; of another, NAME=word).
    A column of 0 and 1 (or -1 and 1, or yes and no) is an attribute, any other column of numbers a number; an empty
    field is unknown. Raises `DcganError` that names the line for another encoding, a missing or double file, and
    lines that do not fit the header.
    """
    header, lines = _split(name, data)
    folder = posixpath.dirname(name)
    fields: dict[str, Sequence[str]] = {}
    for number, line in lines:
        if len(line) != len(header):
            raise DcganError(f"{name}, line {number}: {len(line)} fields, and the header has {len(header)}")
        path = posixpath.normpath(posixpath.join(folder, line[0].strip().replace("\\", "/")))
        if path in fields:
            raise DcganError(f"{name}, line {number}: {line[0]} is listed twice")
        if path not in images:
            raise DcganError(f"{name}, line {number}: there is no image {line[0]}")
        fields[path] = [field.strip() for field in line[1:]]
    if not fields:
        raise DcganError(f"{name} lists no images")
    labels: list[Label] = []
    columns: list[Floats] = []
    for column, title in enumerate(header[1:]):
        found, values = _column(name, title, [row[column] for row in fields.values()])
        labels += found
        columns.append(values)
    values = np.concatenate(columns, axis=1)
    return LabelTable(tuple(labels), dict(zip(fields, values, strict=True)))


def _split(name: str, data: bytes) -> tuple[list[str], list[tuple[int, list[str]]]]:
    """The header, and number and fields of each line below it."""
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DcganError(f"{name} is not in UTF-8 (at byte {error.start}): save it as UTF-8") from error
    first = text.partition("\n")[0]
    delimiter = next((mark for mark in ",;\t" if mark in first), ",")
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    try:
        header = [field.strip() for field in next(reader, [])]
        lines = [(reader.line_num, line) for line in reader if line]
    except csv.Error as error:
        raise DcganError(f"{name}, line {reader.line_num}: {error}") from error
    if len(header) < 2 or header[0].lower() != "file" or "" in header:
        raise DcganError(f"{name} must begin with a header such as file,smile,age: not {first.strip()[:60]!r}")
    if len(set(header)) != len(header):
        raise DcganError(f"{name}: a column of its header is there twice")
    return header, lines


def _column(name: str, title: str, fields: Sequence[str]) -> tuple[list[Label], Floats]:
    """The labels that one column makes, and their values, N x 1 or N x classes."""
    words = [_WORDS.get(field.lower(), field) for field in fields]
    numbers = [_number(word) for word in words]
    if all(number is not None for number in numbers):
        large = np.abs(np.array(numbers, np.float64)) > np.finfo(np.float32).max
        if large.any():
            raise DcganError(
                f"{name}: column {title} has {fields[int(large.argmax())]}, which is too large for a label"
            )
        values = np.array(numbers, np.float32)
        known = set(values[~np.isnan(values)].tolist())
        if not known:
            raise DcganError(f"{name}: column {title} is empty")
        if known <= {0, 1} or known == {-1, 1}:
            return [Label(title, "binary")], np.maximum(values, 0)[:, None]
        return [Label(title, "number")], values[:, None]
    classes = sorted({field for field in fields if field})
    if len(classes) > MAX_CLASSES:
        raise DcganError(f"{name}: column {title} has {len(classes)} different words, too many for classes")
    one_hot = np.eye(len(classes) + 1, dtype=np.float32)[:, :-1]
    one_hot[-1] = np.nan
    places = {word: place for place, word in enumerate(classes)}
    rows = one_hot[[places.get(field, len(classes)) for field in fields]]
    prefix = "" if title == "class" else f"{title}="
    return [Label(prefix + word, "class") for word in classes], rows


def _number(text: str) -> float | None:
    """A finite number, NaN for an empty field, or None for anything else."""
    if not text:
        return math.nan
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None
