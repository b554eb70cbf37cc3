"""Writing a packed data set: streamed, checksummed on the way, and visible only once it is whole."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import numpy.typing as npt

from dcgan.checkpoint import told_as_errors, write_json
from dcgan.config import Label
from dcgan.data.packed import (
    FORMAT,
    MANIFEST,
    PARTIAL,
    Floats,
    Images,
    Indices,
    PackedFile,
    manifest_digest,
)
from dcgan.errors import DcganError

FILE_BYTES = 4 << 30
HELD_OUT_FROM = 500
"""Sets with fewer images than this hold none back."""


class BusyError(DcganError):
    """Another process is writing the same data set at this moment."""


class PackedWriter:
    """Write a packed data set bit by bit, in memory that does not grow with it.

    A context manager: the data set appears at `path` when the block ends without an exception, or not at all.
    Until then it lies in `path` + ".partial", which is removed on failure; what a killed process leaves there
    is refused by `PackedImages.open` and cleared by the next writer. Raises `DcganError` when `path` exists and
    is not empty, when it cannot be written, or when no image was.
    """

    def __init__(
        self,
        path: Path,
        size: int,
        channels: int,
        *,
        labels: Sequence[Label] = (),
        landmarks: Sequence[str] = (),
        held_out: float = 0.05,
        seed: int = 0,
        name: str | None = None,
        settings: Mapping[str, Any] | None = None,
        file_bytes: int = FILE_BYTES,
    ) -> None:
        """Describe the set: its columns of labels, its landmarks' names, the share to hold out and its seed.

        `name` (default: that of `path`) and `settings` are for the manifest only, and no part of the digest.
        """
        self.path = path
        self.size, self.channels = size, channels
        self.labels, self.landmarks = tuple(labels), tuple(landmarks)
        self.held_out, self.seed = held_out, seed
        self.name, self.settings = name or path.name, dict(settings or {})
        self.count = 0
        self.skipped: list[tuple[str, str]] = []
        """Name and reason of whatever the source holds that could not be packed."""
        self.source: Mapping[str, str] = {}
        """Where the images come from (name, digest), for the manifest only."""
        self.terms = ""
        """Terms of use of the images, for the manifest and for every model that is trained on them."""
        self._images_per_file = max(1, file_bytes // (size * size * channels))
        self._partial = path.with_name(path.name + PARTIAL)
        self._files: list[PackedFile] = []
        self._official: list[npt.NDArray[np.bool_]] = []

    def __enter__(self) -> PackedWriter:
        with told_as_errors(self.path):
            self._partial.mkdir(parents=True, exist_ok=True)
            self._lock = _lock_folder(self._partial)
            try:
                refuse_existing(self.path)
                for left_over in self._partial.iterdir():
                    left_over.unlink()
                self._images = self._new_image_file()
                self._labels = _GrowingArray(self._partial / "labels.npy", (len(self.labels),), "<f4")
                self._landmarks = _GrowingArray(self._partial / "landmarks.npy", (len(self.landmarks), 2), "<f4")
            except BaseException:
                self._clear()
                raise
        return self

    def append(
        self,
        images: Images,
        labels: Floats | None = None,
        landmarks: Floats | None = None,
        held_out: npt.NDArray[np.bool_] | None = None,
    ) -> None:
        """Add N images, uint8 N x H x W x C, with labels N x L and landmarks N x K x 2 (None: all unknown).

        `held_out`, N, marks the images that an official partition holds out; it takes the place of the seeded
        share, so it is given always or never.
        """
        n = len(images)
        if labels is None:
            labels = np.full((n, len(self.labels)), np.nan, np.float32)
        if landmarks is None:
            landmarks = np.full((n, len(self.landmarks), 2), np.nan, np.float32)
        assert n == len(labels) == len(landmarks)
        with told_as_errors(self.path):
            while len(images):
                if self._images.count == self._images_per_file:
                    self._files.append(self._images.close())
                    self._images = self._new_image_file()
                room = self._images_per_file - self._images.count
                self._images.append(images[:room])
                images = images[room:]
            self._labels.append(labels)
            self._landmarks.append(landmarks)
        if held_out is not None:
            self._official.append(held_out)
        self.count += n

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                with told_as_errors(self.path):
                    self._finish()
        finally:
            for array in (self._images, self._labels, self._landmarks):
                array.abandon()
            self._clear()

    def _clear(self) -> None:
        shutil.rmtree(self._partial, ignore_errors=True)  # it has another name by now if all went well
        if self._lock is not None:
            os.close(self._lock)

    def _new_image_file(self) -> _GrowingArray:
        name = f"images-{len(self._files):03d}.npy" if self._files else "images.npy"
        return _GrowingArray(self._partial / name, (self.size, self.size, self.channels), "|u1")

    def _finish(self) -> None:
        if not self.count:
            raise DcganError(f"{self.path} would hold no image at all")
        self._files.append(self._images.close())
        for array, wanted in ((self._labels, self.labels), (self._landmarks, self.landmarks)):
            if wanted:
                self._files.append(array.close())
            else:
                array.abandon()
                array.path.unlink()
        rule, indices = self._choose_held_out()
        held_out = _GrowingArray(self._partial / "held_out.npy", (), "<i8")
        held_out.append(indices)
        self._files.append(held_out.close())
        manifest = self._manifest() | {"held_out": {"rule": rule, "count": len(indices)}}
        write_json(self._partial / MANIFEST, manifest | {"digest": manifest_digest(manifest)})
        with contextlib.suppress(FileNotFoundError):
            self.path.rmdir()  # an empty folder may stand in the way
        self._partial.rename(self.path)

    def _choose_held_out(self) -> tuple[str, Indices]:
        """The rule in words, and the sorted indices that training never sees by it."""
        if self._official:
            return "official partition", np.flatnonzero(np.concatenate(self._official))
        if self.count < HELD_OUT_FROM:
            return f"none below {HELD_OUT_FROM} images", np.empty(0, np.int64)
        # The bit generator's own output: numpy promises to keep that stream, but not that of `permutation`.
        order = np.argsort(np.random.PCG64(self.seed).random_raw(self.count), kind="stable")
        return (
            f"share {self.held_out:g}, seed {self.seed}",
            np.sort(order[: round(self.held_out * self.count)]),
        )

    def _manifest(self) -> dict[str, Any]:
        reasons = [reason for _, reason in self.skipped]
        return {
            "format": FORMAT,
            "name": self.name,
            "size": self.size,
            "channels": self.channels,
            "count": self.count,
            "files": [asdict(file) for file in self._files],
            "labels": [label._asdict() for label in self.labels],
            "landmarks": list(self.landmarks),
            "source": dict(self.source),
            "settings": self.settings,
            "terms": self.terms,
            "skipped": {
                "count": len(reasons),
                "reasons": {reason: reasons.count(reason) for reason in sorted(set(reasons))},
                "files": [list(pair) for pair in self.skipped],
            },
        }


class _GrowingArray:
    """A .npy file that gains rows; its values are checksummed on the way, its header is put right at the end."""

    def __init__(self, path: Path, row: tuple[int, ...], dtype: str) -> None:
        self.path, self.count = path, 0
        self._row, self._dtype = row, np.dtype(dtype)
        self._hash = hashlib.sha256()
        self._file = path.open("wb")
        self._write_header()
        self._start = self._file.tell()

    def append(self, rows: npt.NDArray[Any]) -> None:
        assert rows.shape[1:] == self._row, f"{rows.shape} does not fit {self._row} in {self.path.name}"
        values = np.ascontiguousarray(rows, self._dtype).reshape(-1).view(np.uint8).data
        self._hash.update(values)
        self._file.write(values)
        self.count += len(rows)

    def close(self) -> PackedFile:
        self._file.seek(0)
        self._write_header()
        assert self._file.tell() == self._start, "numpy leaves room in the header for the count to grow"
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        return PackedFile(self.path.name, self.count, self._hash.hexdigest())

    def abandon(self) -> None:
        """Let go of the file whatever its state: on a full disk, closing it tries to write once more."""
        with contextlib.suppress(OSError):
            self._file.close()

    def _write_header(self) -> None:
        header = {"descr": self._dtype.str, "fortran_order": False, "shape": (self.count, *self._row)}
        np.lib.format.write_array_header_1_0(self._file, header)


def refuse_existing(path: Path) -> None:
    """Raise `DcganError` if `path` is taken: by a file, or by a folder that is not empty."""
    if path.is_dir() and not any(path.iterdir()):
        return
    if path.exists() or path.is_symlink():
        raise DcganError(f"{path} already exists: remove it, or choose another name")


def _lock_folder(folder: Path) -> int | None:
    """Lock a folder against other processes until the descriptor is closed, where the system can."""
    if os.name != "posix":
        return None
    import fcntl

    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # Its last owner may have renamed or removed it since it was opened.
        ours = folder.exists() and os.fstat(descriptor).st_ino == folder.stat().st_ino
    except BlockingIOError:
        ours = False
    except OSError:  # some network file systems have no locks
        return descriptor
    if not ours:
        os.close(descriptor)
        raise BusyError(f"another process is preparing {folder.with_suffix('')}: wait until it is done")
    return descriptor
