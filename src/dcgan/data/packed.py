"""The packed data set: a folder of memory-mapped arrays with a manifest, and its reader (`writer` writes it).

`images.npy` (`images-001.npy`, ... once one is full) holds uint8 N x H x W x C, `labels.npy` float32 N x L,
`landmarks.npy` float32 N x K x 2, `held_out.npy` the sorted int64 indices that training never sees.
`dataset.json` names and checksums them; it is written last, and only then does the folder get its name.
`entries.jsonl` lists the source's files (`entries`); it is not needed for training.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from dcgan.checkpoint import json_digest, read_json
from dcgan.data.entries import Listed, read_entries
from dcgan.errors import DcganError

FORMAT = 1
PARTIAL = ".partial"
MANIFEST = "dataset.json"

Images = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]
Indices = npt.NDArray[np.int64]


@dataclass(frozen=True)
class PackedFile:
    """One .npy file of a data set; `sha256` is that of its values, without the .npy header."""

    name: str
    count: int
    sha256: str


class AllBut:
    """The numbers from 0 to `count` without some, in order: indexed and read like an int64 array, but never stored."""

    dtype = np.dtype(np.int64)

    def __init__(self, count: int, without: Indices) -> None:
        """`without` is sorted, and holds no number twice."""
        self._length = count - len(without)
        # The i-th number is i, and one more for each left-out number that comes before it.
        self._steps = without - np.arange(len(without))

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, places: slice | npt.ArrayLike) -> Indices:
        if isinstance(places, slice):
            places = np.arange(*places.indices(self._length))
        chosen = np.asarray(places)
        if chosen.dtype == np.bool_:
            if chosen.shape != (self._length,):
                raise IndexError(f"there are {self._length} indices, and a mask of shape {chosen.shape}")
            chosen = np.flatnonzero(chosen)
        wanted = chosen.astype(np.int64, copy=False)
        if wanted.size and not -self._length <= wanted.min() <= wanted.max() < self._length:
            raise IndexError(f"there are {self._length} indices")
        wanted = np.where(wanted < 0, wanted + self._length, wanted)
        return np.asarray(wanted + np.searchsorted(self._steps, wanted, side="right"))

    def __iter__(self) -> Iterator[int]:
        return (int(self[place]) for place in range(self._length))

    def __array__(self, dtype: npt.DTypeLike | None = None, copy: bool | None = None) -> npt.NDArray[Any]:
        return self[:].astype(dtype or np.int64, copy=False)


class PackedImages:
    """A packed data set, read through memory maps: opening is cheap, and its memory does not grow with it."""

    def __init__(self, path: Path, manifest: Mapping[str, Any]) -> None:
        """Take a manifest as read; use `open`, which checks it against the files."""
        self.path = path
        self.manifest = manifest
        self.name: str = manifest["name"]
        self.size: int = manifest["size"]
        self.channels: int = manifest["channels"]
        self.terms: str = manifest.get("terms", "")
        """Terms of use of the images; empty if unknown."""
        self.digest: str = manifest["digest"]
        """SHA-256 that identifies pixels, labels, landmarks and the held-out part together."""
        self.label_names: tuple[str, ...] = tuple(label["name"] for label in manifest["labels"])
        self.label_kinds: tuple[str, ...] = tuple(label["kind"] for label in manifest["labels"])
        self.landmark_names: tuple[str, ...] = tuple(manifest["landmarks"])
        self.files = tuple(PackedFile(**file) for file in manifest["files"])
        self._count: int = manifest["count"]
        self._image_files = [file for file in self.files if file.name.startswith("images")]
        # Image i lies in the last file whose first image is not after i.
        self._starts = np.cumsum([0, *(file.count for file in self._image_files)])[:-1]

    @classmethod
    def open(cls, path: Path | str) -> PackedImages:
        """Open a packed data set without reading its pixels.

        Raises `DcganError` if there is none at `path`, or it was never finished, or a file is missing or cut
        short.
        """
        path = Path(path)
        _refuse_unfinished(path)
        manifest = read_json(path / MANIFEST)
        try:
            known, intact = manifest["format"] == FORMAT, manifest["digest"] == manifest_digest(manifest)
            # Sets of early versions have no checksum.
            intact = intact and manifest.get("checksum", manifest_checksum(manifest)) == manifest_checksum(manifest)
            packed = cls(path, manifest)
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise DcganError(f"{path / MANIFEST} is damaged ({error!r}): prepare the data again") from error
        if not known:
            raise DcganError(f"{path} is in format {manifest['format']}, not {FORMAT}: prepare the data again")
        if not intact:
            raise DcganError(f"{path / MANIFEST} is damaged or was edited: prepare the data again")
        for file in packed.files:
            packed._data_offset(file)
        return packed

    def __len__(self) -> int:
        return self._count

    def read(self, indices: npt.ArrayLike) -> Images:
        """Gather images in the order asked for, repeats allowed: contiguous uint8 N x H x W x C.

        Raises `IndexError` for an index outside [0, len).
        """
        wanted = np.asarray(indices, dtype=np.int64).reshape(-1)
        if wanted.size and not 0 <= wanted.min() <= wanted.max() < len(self):
            raise IndexError(f"image indices must lie in [0, {len(self)})")
        if len(self._maps) == 1:
            return self._maps[0].take(wanted, axis=0)
        images = np.empty((len(wanted), self.size, self.size, self.channels), np.uint8)
        where = np.searchsorted(self._starts, wanted, side="right") - 1
        for number in np.unique(where):
            here = where == number
            images[here] = self._maps[number].take(wanted[here] - self._starts[number], axis=0)
        return images

    @functools.cached_property
    def labels(self) -> Floats | None:
        """Labels, float32 N x L (NaN: unknown), or None; read-only."""
        return self._optional_map("labels.npy")

    @functools.cached_property
    def landmarks(self) -> Floats | None:
        """Landmarks, float32 N x K x 2, or None: (x, y) in packed pixels, centres at whole numbers; read-only."""
        return self._optional_map("landmarks.npy")

    @functools.cached_property
    def held_out_indices(self) -> Indices:
        """Sorted indices of the images that training never sees. A `DcganError` if they are damaged."""
        indices = np.array(self._optional_map("held_out.npy"))
        stated = next(file.sha256 for file in self.files if file.name == "held_out.npy")
        if hashlib.sha256(indices.data).hexdigest() != stated:  # it is short, and what it tells must not be wrong
            raise DcganError(f"{self.path / 'held_out.npy'} is damaged (its checksum differs): prepare the data again")
        return indices

    @functools.cached_property
    def training_indices(self) -> AllBut:
        """Sorted indices of all other images, in memory that does not grow with them."""
        return AllBut(len(self), self.held_out_indices)

    def verify(self) -> None:
        """Read every file in full and compare checksums; a `DcganError` names the first that is damaged."""
        values = [(file.name, self._data_offset(file), file.sha256) for file in self.files]
        listed = self.manifest.get("entries")
        for name, offset, sha256 in values + ([(listed["name"], 0, listed["sha256"])] if listed else []):
            path = self.path / name
            try:
                with path.open("rb") as stream:
                    stream.seek(offset)
                    found = hashlib.file_digest(stream, "sha256").hexdigest()
            except OSError as error:
                raise DcganError(f"cannot read {path}: {error.strerror}: prepare the data again") from error
            if found != sha256:
                raise DcganError(f"{path} is damaged (its checksum differs): prepare the data again")

    @property
    def has_entries(self) -> bool:
        """Whether it tells of the source's files; toy, and sets made by early versions, do not."""
        return "entries" in self.manifest

    def entries(self) -> Iterator[Listed]:
        """The source's files, in order; those without a reason are the images. A damaged list is a `DcganError`."""
        return read_entries(self.path / self.manifest["entries"]["name"])

    @functools.cached_property
    def _maps(self) -> list[npt.NDArray[Any]]:
        return [self._map(file) for file in self._image_files]

    def _optional_map(self, name: str) -> npt.NDArray[Any] | None:
        return next((self._map(file) for file in self.files if file.name == name), None)

    def _map(self, file: PackedFile) -> npt.NDArray[Any]:
        """A read-only memory map of a file's values (an empty array has nothing to map)."""
        row, dtype = self._row(file)
        if not file.count:
            return np.empty((0, *row), dtype)
        shape, offset = (file.count, *row), self._data_offset(file)
        return np.asarray(np.memmap(self.path / file.name, dtype, mode="r", offset=offset, shape=shape))

    def _row(self, file: PackedFile) -> tuple[tuple[int, ...], np.dtype[Any]]:
        """Shape and type of one row, by the file's name."""
        match file.name:
            case "labels.npy":
                return (len(self.label_names),), np.dtype("<f4")
            case "landmarks.npy":
                return (len(self.landmark_names), 2), np.dtype("<f4")
            case "held_out.npy":
                return (), np.dtype("<i8")
            case _:
                return (self.size, self.size, self.channels), np.dtype("|u1")

    def _data_offset(self, file: PackedFile) -> int:
        """Where a file's values start; a `DcganError` if it is not the array that the manifest describes."""
        path = self.path / file.name
        row, dtype = self._row(file)
        try:
            with path.open("rb") as stream:
                np.lib.format.read_magic(stream)
                shape, _, found = np.lib.format.read_array_header_1_0(stream)
                offset = stream.tell()
            length = path.stat().st_size
        except Exception as error:  # of a damaged header, numpy makes whatever it likes
            raise DcganError(f"{path} is missing or damaged ({error}): prepare the data again") from error
        wanted = offset + file.count * int(np.prod(row)) * dtype.itemsize
        if length != wanted or shape != (file.count, *row) or found != dtype:
            raise DcganError(f"{path} is damaged ({length} bytes in place of {wanted}): prepare the data again")
        return offset


def flip_landmarks(landmarks: Floats, names: Sequence[str], size: int) -> Floats:
    """Landmarks (..., K, 2) of the images mirrored left to right; left_* and right_* change places.

    Pixel centres are at whole numbers, so x becomes size - 1 - x.
    """
    sources = [_other_side(name) if _other_side(name) in names else name for name in names]
    mirrored = landmarks[..., [names.index(name) for name in sources], :]
    mirrored[..., 0] = size - 1 - mirrored[..., 0]
    return mirrored


def _other_side(name: str) -> str:
    for one, other in (("left_", "right_"), ("right_", "left_")):
        if name.startswith(one):
            return other + name.removeprefix(one)
    return name


def _refuse_unfinished(path: Path) -> None:
    """Raise the `DcganError` that says best why there is no data set at `path`."""
    if path.name.endswith(PARTIAL) or (not path.exists() and path.with_name(path.name + PARTIAL).exists()):
        raise DcganError(f"{path} is not finished: `dcgan prepare` is at work on it, or was stopped; run it again")
    if not path.exists():
        raise DcganError(f"{path} does not exist")
    if not (path / MANIFEST).is_file():
        raise DcganError(f"{path} is no packed data set (it has no {MANIFEST}): make one with `dcgan prepare`")


def manifest_checksum(manifest: Mapping[str, Any]) -> str:
    """SHA-256 over all of a manifest, to tell whether it is as it was written."""
    rest = {key: value for key, value in manifest.items() if key != "checksum"}
    return json_digest(rest)


def manifest_digest(manifest: Mapping[str, Any]) -> str:
    """SHA-256 over all that a user of the data depends on: not the names of sources, paths or times."""
    matters = ("format", "size", "channels", "count", "files", "labels", "landmarks")
    return json_digest({key: manifest[key] for key in matters})
