"""The images of a folder or an archive in a stable order, with what their folders or CelebA's files tell of them."""

from __future__ import annotations

import hashlib
import itertools
import posixpath
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import numpy as np

from dcgan.config import Label
from dcgan.data import celeba
from dcgan.data.packed import Floats
from dcgan.data.table import LabelTable, find_table, is_table, read_table
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
    Names are gone through, never kept: but for what is skipped and what files of labels list, memory does not grow.
    Raises `DcganError` for what cannot be read at all, and for damaged annotation files.
    """

    def __init__(self, path: Path, split: str = "all", part: tuple[int, int] = (1, 1)) -> None:
        self.name = _without_suffix(path)
        self._tree = self._images = open_tree(path)
        try:
            self._find_images(path, split)
            survey = _survey(self._chosen())
            self._start = len(survey.folder) + 1 if survey.folder else 0
            self._table = self._read_table()
            self.labels = self._find_labels()
            """What each number of an entry's labels means."""
        except BaseException:
            self.close()
            raise
        self.landmarks = () if self._annotations.landmarks is None else celeba.LANDMARKS
        self.has_partition = self._annotations.partition is not None
        is_aligned = celeba.IMAGES in survey.first.split("/")[:-1]
        self.terms = celeba.TERMS if self._is_celeba or is_aligned else ""
        """Terms of use of the images, where they are known."""
        self.names_digest = survey.digest
        """SHA-256 over the names of all that may be packed, whatever the part."""
        self._block = block_of(survey.count, part)
        if part[0] != 1:
            self.skipped.clear()  # the first part tells of it

    def __len__(self) -> int:
        return len(self._block)

    def __iter__(self) -> Iterator[Entry]:
        return self.entries()

    def entries(self, first: int = 0) -> Iterator[Entry]:
        """The entries from number `first` on."""
        marks, partition = self._annotations.landmarks, self._annotations.partition
        rows = np.eye(len(self.labels), dtype=np.float32)
        one_hot = {label.name: row for label, row in zip(self.labels, rows, strict=True)}
        for name in itertools.islice(self._chosen(), self._block.start + first, self._block.stop):
            if self._annotations.attributes is not None:
                labels = self._annotations.attributes.row(name)
            elif self._table is not None:
                labels = self._table.rows.get(name)
            else:
                labels = one_hot.get(_class_of(name, self._start))
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

    def _find_images(self, path: Path, split: str) -> None:
        """Find what lies beside the images and where they lie, and list what is no image."""
        beside = [name for name in self._tree.names if _may_tell(name)]
        self._annotations = celeba.read_annotations(beside, self._read_annotation)
        self._table_name = find_table(beside) if self._annotations.attributes is None else None
        archive = next(filter(_is_celeba_archive, beside), None)
        if archive is not None and path.is_dir():
            self._images = ZipTree(path / archive)
        self._only_aligned = bool(self._annotations) and any(
            _is_aligned(name) and not celeba.is_annotation(name) for name in self._images.names
        )
        others = [name for name in self._listed() if not _is_image(name)]
        table = find_table(others)
        self.skipped = sorted(self._images.skipped) + [(name, "not an image") for name in others if name != table]
        if split != "all" and self._annotations.partition is None:
            raise DcganError(f"split {split} needs CelebA's list_eval_partition.txt or .csv, and {path} has neither")
        self._split = None if split == "all" else celeba.SPLITS[split]

    def _listed(self) -> Iterator[str]:
        """Names of the files among which the images are: of CelebA's, those in the folder of the aligned ones."""
        if self._images is not self._tree or not self._annotations:
            yield from self._images.names
            return
        for name in self._images.names:
            if not celeba.is_annotation(name) and (_is_aligned(name) or not self._only_aligned):
                yield name

    def _chosen(self) -> Iterator[str]:
        """Names of the images of the split."""
        for name in filter(_is_image, self._listed()):
            if self._split is None or self._part_of(name) == self._split:
                yield name

    def _part_of(self, name: str) -> float | None:
        """The part of CelebA's partition that an image is in, if that is known."""
        partition = self._annotations.partition
        row = None if partition is None else partition.row(name)
        return None if row is None else row[0]

    def _read_table(self) -> LabelTable | None:
        """The labels of a labels.csv, unless CelebA's own are there."""
        name = self._table_name
        return None if name is None else read_table(name, self._read_annotation(name), self._images.names)

    def _read_annotation(self, name: str) -> bytes:
        try:
            return read_payload(self._tree.payload(name))
        except UnusableError as error:
            raise DcganError(f"cannot read {name}: {error}") from error

    def _find_labels(self) -> tuple[Label, ...]:
        if self._annotations.attributes is not None:
            return tuple(Label(name, "binary") for name in self._annotations.attributes.columns)
        if self._table is not None:
            return self._table.labels
        classes = [] if self._is_celeba else _find_classes(self._chosen(), self._start)
        return tuple(Label(name, "class") for name in classes)


@dataclass(frozen=True)
class _Survey:
    """What the sorted names of all images tell."""

    count: int
    digest: str
    first: str
    """Empty if there is none."""
    folder: str
    """The deepest that holds all of them."""


def _survey(names: Iterable[str]) -> _Survey:
    count, digest, first, last = 0, hashlib.sha256(), "", ""
    for count, last in enumerate(names, 1):  # noqa: B007
        first = first or last
        digest.update(f"{last}\n".encode("utf-8", "surrogateescape"))
    # What the first and the last of sorted names begin with, all between them begin with.
    folder = posixpath.commonpath([posixpath.dirname(first), posixpath.dirname(last)])
    return _Survey(count, digest.hexdigest(), first, folder)


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


def _class_of(name: str, start: int) -> str:
    """An image's sub-folder at the first level below the folder of all, where names go on at `start`; empty if none."""
    folder, slash, _ = name[start:].partition("/")
    return folder if slash else ""


def _find_classes(names: Iterable[str], start: int) -> list[str]:
    """The images' classes: their sub-folders at the first level where there are several; empty if there are none."""
    classes: set[str] = set()
    for name in names:
        if folder := _class_of(name, start):
            classes.add(folder)
        if len(classes) > MAX_CLASSES:
            return []
    return sorted(classes) if len(classes) >= 2 else []


def _is_image(name: str) -> bool:
    return name.lower().endswith(IMAGE_SUFFIXES)


def _is_aligned(name: str) -> bool:
    """Whether a file lies in CelebA's folder of aligned images."""
    return f"/{celeba.IMAGES}" in f"/{name}".rpartition("/")[0]


def _is_celeba_archive(name: str) -> bool:
    return f"/{name}".endswith(f"/{celeba.IMAGES}.zip")


def _may_tell(name: str) -> bool:
    """Whether a file may tell of images, or hold those of CelebA."""
    return celeba.is_annotation(name) or is_table(name) or _is_celeba_archive(name)
