"""The images of a folder or an archive in a stable order, with what their folders or CelebA's files tell of them."""

from __future__ import annotations

import hashlib
import itertools
import posixpath
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from types import TracebackType

import numpy as np

from dcgan.config import Label
from dcgan.data import celeba
from dcgan.data.packed import Floats
from dcgan.data.table import LabelTable, find_table, read_table
from dcgan.data.trees import TAR_SUFFIXES, Payload, UnusableError, ZipTree, open_tree, read_payload
from dcgan.errors import DcganError

IMAGE_SUFFIXES = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".png", ".apng", ".webp", ".gif", ".bmp", ".dib"),
    *(".tif", ".tiff", ".ppm", ".pgm", ".pbm", ".pnm", ".jp2", ".j2k", ".avif"),
)
MAX_CLASSES = 1000
"""More sub-folders than this are a way of storing, not classes."""


@dataclass(frozen=True)
class Entry:
    """One file that may be packed, with all that is known of it."""

    name: str
    payload: Payload
    labels: Floats | None
    """One number for each of the source's labels, or None: all unknown."""
    landmarks: Floats | None
    """K x 2 in pixels of `celeba.FRAME`, or None: all unknown."""
    held_out: bool
    """Whether CelebA's official partition keeps it from training."""


class Source:
    """Image files, sorted by name: the same files give the same entries from a folder, a zip or a tar.

    A context manager, which closes the archive. `split` is all, or a part of CelebA's official partition; `part`
    (i, N) takes the i-th of N blocks of what that leaves, while labels, terms and so on stay those of all.
    Raises `DcganError` for what cannot be read at all, and for damaged annotation files.
    """

    def __init__(self, path: Path, split: str = "all", part: tuple[int, int] = (1, 1)) -> None:
        self.name = _without_suffix(path)
        self._tree = self._images = open_tree(path)
        try:
            self._annotations = celeba.read_annotations(self._tree.names, self._read_annotation)
            self._names, self.skipped = self._sort_out(path)
            self._names = self._choose_split(split, path)
        except BaseException:
            self.close()
            raise
        self._table = self._read_table()
        self._classes = {} if self._is_celeba or self._table is not None else _find_classes(self._names)
        self.labels = self._find_labels()
        """What each number of an entry's labels means."""
        self.landmarks = () if self._annotations.landmarks is None else celeba.LANDMARKS
        self.has_partition = self._annotations.partition is not None
        folders = {part for name in self._names[:1] for part in PurePosixPath(name).parent.parts}
        self.terms = celeba.TERMS if self._is_celeba or celeba.IMAGES in folders else ""
        """Terms of use of the images, where they are known."""
        names = hashlib.sha256()
        for name in self._names:
            names.update(f"{name}\n".encode("utf-8", "surrogateescape"))
        self.names_digest = names.hexdigest()
        """SHA-256 over the names of all that may be packed, whatever the part."""
        block = block_of(len(self._names), part)
        self._names = self._names[block.start : block.stop]
        if part[0] != 1:
            self.skipped = []  # the first part tells of it

    def __len__(self) -> int:
        return len(self._names)

    def __iter__(self) -> Iterator[Entry]:
        return self.entries()

    def entries(self, first: int = 0) -> Iterator[Entry]:
        """The entries from number `first` on."""
        marks, partition = self._annotations.landmarks, self._annotations.partition
        rows = np.eye(len(self.labels), dtype=np.float32)
        one_hot = {label.name: row for label, row in zip(self.labels, rows, strict=True)}
        for name in itertools.islice(self._names, first, None):
            if self._annotations.attributes is not None:
                labels = self._annotations.attributes.row(name)
            elif self._table is not None:
                labels = self._table.rows.get(name)
            else:
                labels = one_hot.get(self._classes.get(name, ""))
            points = None if marks is None else marks.row(name)
            part = None if partition is None else partition.row(name)
            yield Entry(
                name,
                self._images.payload(name),
                labels,
                None if points is None else points.reshape(-1, 2),
                part is not None and part[0] != celeba.SPLITS["train"],
            )

    def __enter__(self) -> Source:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the archives."""
        self._tree.close()
        self._images.close()

    @property
    def _is_celeba(self) -> bool:
        return bool(self._annotations) or self._images is not self._tree

    def _read_table(self) -> LabelTable | None:
        """The labels of a labels.csv, unless CelebA's own are there."""
        name = find_table(self._tree.names) if self._annotations.attributes is None else None
        try:
            return None if name is None else read_table(name, self._read_annotation(name), self._images.names)
        except BaseException:
            self.close()
            raise

    def _read_annotation(self, name: str) -> bytes:
        try:
            return read_payload(self._tree.payload(name))
        except UnusableError as error:
            raise DcganError(f"cannot read {name}: {error}") from error

    def _sort_out(self, path: Path) -> tuple[list[str], list[tuple[str, str]]]:
        """Names of image files (in CelebA's folder, of the aligned ones), and what is none with its reason."""
        names: Sequence[str] = self._tree.names
        archive = next((name for name in names if PurePosixPath(name).name == f"{celeba.IMAGES}.zip"), None)
        if archive is not None and path.is_dir():
            self._images = ZipTree(path / archive)
            names = self._images.names
        elif self._annotations:
            names = [name for name in names if not celeba.is_annotation(name)]
            names = [name for name in names if f"/{celeba.IMAGES}" in f"/{PurePosixPath(name).parent}"] or names
        images = [name for name in names if name.lower().endswith(IMAGE_SUFFIXES)]
        others = sorted(set(names) - set(images) - {find_table(names)})
        return images, sorted(self._images.skipped) + [(name, "not an image") for name in others]

    def _choose_split(self, split: str, path: Path) -> list[str]:
        if split == "all":
            return self._names
        partition = self._annotations.partition
        if partition is None:
            raise DcganError(f"split {split} needs CelebA's list_eval_partition.txt or .csv, and {path} has neither")
        rows = {name: partition.row(name) for name in self._names}
        return [name for name, row in rows.items() if row is not None and row[0] == celeba.SPLITS[split]]

    def _find_labels(self) -> tuple[Label, ...]:
        if self._annotations.attributes is not None:
            return tuple(Label(name, "binary") for name in self._annotations.attributes.columns)
        if self._table is not None:
            return self._table.labels
        return tuple(Label(name, "class") for name in sorted(set(self._classes.values())))


def block_of(count: int, part: tuple[int, int]) -> range:
    """The numbers that the i-th of N parts (i, N) of `count` things holds: blocks in order, as equal as can be."""
    number, parts = part
    return range((number - 1) * count // parts, number * count // parts)


def _without_suffix(path: Path) -> str:
    """The last part of a path, of an archive without .zip, .tar.gz and the like."""
    name = path.resolve().name or "images"
    if path.is_dir():
        return name
    return next((name[: -len(end)] for end in (".zip", *TAR_SUFFIXES) if name.lower().endswith(end)), name)


def _find_classes(names: Sequence[str]) -> Mapping[str, str]:
    """Each image's class: its sub-folder at the first level where there are several; empty if there are none."""
    folders = {name.rpartition("/")[0] for name in names}
    common = posixpath.commonpath(folders) if folders else ""
    start = len(common) + 1 if common else 0
    classes = {name: inside.partition("/")[0] for name in names if "/" in (inside := name[start:])}
    return classes if 2 <= len(set(classes.values())) <= MAX_CLASSES else {}
