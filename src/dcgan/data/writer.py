"""Writing a packed data set: streamed, checksummed on the way, visible only once it is whole."""

from __future__ import annotations

import collections
import contextlib
import json
import os
import shutil
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import numpy.typing as npt

from dcgan.checkpoint import json_digest, read_json, told_as_errors, write_json
from dcgan.config import Label
from dcgan.data.entries import ENTRIES, EntryWriter, Listed
from dcgan.data.growing import GrowingArray
from dcgan.data.packed import (
    FORMAT,
    MANIFEST,
    PARTIAL,
    Floats,
    Images,
    Indices,
    PackedFile,
    manifest_checksum,
    manifest_digest,
)
from dcgan.data.share import seeded_share
from dcgan.errors import DcganError

FILE_BYTES = 4 << 30
HELD_OUT_FROM = 500
"""Sets with fewer images than this hold none back."""
OFFICIAL = "official partition"
"""The rule of held-out images that come from a partition of the source's own."""
PROGRESS = "progress.json"
"""What a stopped writer had brought onto the disk for good."""
MARKS = "marks.npy"
"""One byte an image while the set is written: whether an official partition holds it out."""
SECONDS_BETWEEN_COMMITS = 5.0


class BusyError(DcganError):
    """Another process is writing the same data set at this moment."""


class PackedWriter:
    """Write a packed data set bit by bit, in memory that does not grow with it.

    A context manager: the data set appears at `path` when the block ends without an exception, or not at all.
    Until then it lies in `path` + ".partial", which `PackedImages.open` refuses. A writer with a `job` commits what
    it has every few seconds; if it fails or is killed, a writer with the same job goes on from there: it starts with
    `count` and `entries.count` where they were. Without a job, or before the first commit, failure leaves nothing,
    and what a kill leaves is cleared by the next writer. Raises `DcganError` when `path` exists and is not empty,
    when it cannot be written, when no image was, or when the stopped job was another.
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
        part: Mapping[str, Any] | None = None,
        job: Mapping[str, Any] | None = None,
        file_bytes: int | None = None,
    ) -> None:
        """Describe the set: its columns of labels, its landmarks' names, the share to hold out and its seed.

        `name` (default: that of `path`), `settings` and `part` (of what source this is a part; a part may be empty)
        are for the manifest only, and no part of the digest. `job` is JSON-able: all that decides what is appended.
        """
        self.path = path
        self.size, self.channels = size, channels
        self.labels, self.landmarks = tuple(labels), tuple(landmarks)
        self.held_out, self.seed = held_out, seed
        self.name, self.settings = name or path.name, dict(settings or {})
        self.part = part
        self.count = 0
        """Images so far."""
        self.skipped: list[tuple[str, str]] = []
        """Name and reason of whatever else the source holds, besides the entries that were appended."""
        self.source: Mapping[str, str] = {}
        """Where the images come from (name, digest), for the manifest only."""
        self.terms = ""
        """Terms of use of the images, for the manifest and for every model that is trained on them."""
        self._images_per_file = max(1, (file_bytes or FILE_BYTES) // (size * size * channels))
        self.job = None if job is None else json.loads(json.dumps({**job, "images_per_file": self._images_per_file}))
        self._partial = path.with_name(path.name + PARTIAL)
        self._files: list[PackedFile] = []
        """Files of images that are full."""
        self._opened: list[GrowingArray | EntryWriter] = []
        self._committed = False

    def __enter__(self) -> PackedWriter:
        with told_as_errors(self.path):
            self._partial.mkdir(parents=True, exist_ok=True)
            self._lock = _lock_folder(self._partial)
            try:
                refuse_existing(self.path)
                self._open_files(self._left_over())
            except BaseException:
                self._leave()
                raise
        return self

    def _left_over(self) -> Mapping[str, Any]:
        """What a stopped writer with the same job had committed; anything else in the folder is removed."""
        earlier: dict[str, Any] = {}
        if (self._partial / PROGRESS).exists():
            self._committed = True
            earlier = read_json(self._partial / PROGRESS)
            if not isinstance(earlier, dict) or earlier.pop("digest", None) != json_digest(earlier):
                raise DcganError(f"{self._partial / PROGRESS} is damaged: remove {self._partial} to start anew")
            if self.job is None or earlier.get("job") != self.job:
                raise DcganError(_another_job(self._partial, earlier.get("job"), self.job))
        kept = {PROGRESS, *earlier.get("arrays", ()), *(file["name"] for file in earlier.get("files", ()))}
        for left_over in self._partial.iterdir():
            if left_over.name not in kept and not (earlier and left_over.name == ENTRIES):
                left_over.unlink()
        return earlier

    def _open_files(self, earlier: Mapping[str, Any]) -> None:
        """Begin all files, or go on with them."""
        self.count = earlier.get("count", 0)
        self._files = [PackedFile(**file) for file in earlier.get("files", ())]
        self._arrays = earlier.get("arrays", {})
        rows = {"labels": (len(self.labels),), "landmarks": (len(self.landmarks), 2)}
        self._images = self._new_image_file()
        self._columns = {name: self._open(f"{name}.npy", row, "<f4") for name, row in rows.items() if row[0]}
        self._marks = self._open(MARKS, (), "|u1")
        self.entries = EntryWriter(self._partial / ENTRIES, earlier.get("entries"))
        self._opened.append(self.entries)
        self._last_commit = time.monotonic()

    def append(
        self,
        images: Images,
        labels: Floats | None = None,
        landmarks: Floats | None = None,
        held_out: npt.NDArray[np.bool_] | None = None,
        entries: Iterable[Listed] = (),
    ) -> None:
        """Add N images, uint8 N x H x W x C, with labels N x L and landmarks N x K x 2 (None: all unknown).

        `held_out`, N, marks the images that an official partition holds out; it takes the place of the seeded
        share, so it is given always or never. `entries` are the files that these images come from, with those that
        gave none.
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
            for name, rows in (("labels", labels), ("landmarks", landmarks)):
                if name in self._columns:
                    self._columns[name].append(rows)
            if held_out is not None:
                self._marks.append(held_out.astype(np.uint8))
            self.entries.append(entries)
            self.count += n
            if self.job is not None and time.monotonic() - self._last_commit > SECONDS_BETWEEN_COMMITS:
                self.commit()

    def append_entries(self, entries: Iterable[Listed]) -> None:
        """Add files of the source whose images are appended on their own."""
        with told_as_errors(self.path):
            self.entries.append(entries)

    def commit(self) -> None:
        """Bring all so far onto the disk, so that a writer with the same job can go on from here."""
        arrays = (self._images, *self._columns.values(), self._marks)
        with told_as_errors(self.path):
            progress = {
                "job": self.job,
                "count": self.count,
                "files": [asdict(file) for file in self._files],
                "arrays": {array.path.name: array.state() for array in arrays},
                "entries": self.entries.state(),
            }
            write_json(self._partial / PROGRESS, progress | {"digest": json_digest(progress)})
        self._committed = True
        self._last_commit = time.monotonic()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                with told_as_errors(self.path):
                    self._finish()
        finally:
            self._leave()

    def _leave(self) -> None:
        """Close everything; what was not committed vanishes (the folder has another name if all went well)."""
        for file in self._opened:
            file.abandon()
        if not self._committed:
            shutil.rmtree(self._partial, ignore_errors=True)
        if self._lock is not None:
            os.close(self._lock)

    def _open(self, name: str, row: tuple[int, ...], dtype: str) -> GrowingArray:
        """Begin a file, or go on with it."""
        array = GrowingArray(self._partial / name, row, dtype, self._arrays.pop(name, None))
        self._opened.append(array)
        return array

    def _new_image_file(self) -> GrowingArray:
        name = f"images-{len(self._files):03d}.npy" if self._files else "images.npy"
        return self._open(name, (self.size, self.size, self.channels), "|u1")

    def _finish(self) -> None:
        if not self.count and self.part is None:
            raise DcganError(f"{self.path} would hold no image at all")
        rule, indices = self._choose_held_out()
        files = [*self._files, self._images.close(), *(array.close() for array in self._columns.values())]
        held_out = self._open("held_out.npy", (), "<i8")
        held_out.append(indices)
        files.append(held_out.close())
        manifest = self._manifest(files) | {"held_out": {"rule": rule, "count": len(indices)}}
        if self.entries.count:
            manifest["entries"] = self.entries.close()
        else:
            self.entries.path.unlink()
        manifest["digest"] = manifest_digest(manifest)
        write_json(self._partial / MANIFEST, manifest | {"checksum": manifest_checksum(manifest)})
        with contextlib.suppress(FileNotFoundError):
            self.path.rmdir()  # an empty folder may stand in the way
        self._partial.rename(self.path)
        # Not before: were it killed between, the next writer would find nothing to go on from.
        for name in (PROGRESS, MARKS):
            (self.path / name).unlink(missing_ok=True)

    def _choose_held_out(self) -> tuple[str, Indices]:
        """The rule in words, and the sorted indices that training never sees by it."""
        if self._marks.count:
            self._marks.close()
            return OFFICIAL, np.flatnonzero(np.load(self._marks.path, mmap_mode="r"))
        if self.count < HELD_OUT_FROM:
            return f"none below {HELD_OUT_FROM} images", np.empty(0, np.int64)
        share = seeded_share(self.seed, self.count, round(self.held_out * self.count))
        return f"share {self.held_out:g}, seed {self.seed}", share

    def _manifest(self, files: Sequence[PackedFile]) -> dict[str, Any]:
        skipped = self.skipped + self.entries.skipped
        reasons = [reason for _, reason in skipped]
        return {
            "format": FORMAT,
            "name": self.name,
            "size": self.size,
            "channels": self.channels,
            "count": self.count,
            "files": [asdict(file) for file in files],
            "labels": [label._asdict() for label in self.labels],
            "landmarks": list(self.landmarks),
            "source": dict(self.source),
            "settings": self.settings,
            **({} if self.part is None else {"part": dict(self.part)}),
            "terms": self.terms,
            "skipped": {
                "count": len(reasons),
                "reasons": dict(sorted(collections.Counter(reasons).items())),
                "files": [list(pair) for pair in skipped],
            },
        }


def refuse_existing(path: Path) -> None:
    """Raise `DcganError` if `path` is taken: by a file, or by a folder that is not empty."""
    if path.is_dir() and not any(path.iterdir()):
        return
    if path.exists() or path.is_symlink():
        raise DcganError(f"{path} already exists: remove it, or choose another name")


def _another_job(partial: Path, earlier: object, job: Mapping[str, Any] | None) -> str:
    """The message that a folder holds what another job left."""
    before = earlier if isinstance(earlier, dict) else {}
    if job is None:
        differing = ["what is being written"]
    else:
        old, new = ({**told, **told.get("settings", {}), "settings": None} for told in (before, job))
        differing = [key for key in new if old.get(key) != new[key] and key != "images_per_file"]
    text = ", ".join(differing) or "its file of progress"
    return f"{partial} is the unfinished work of another job ({text} differs): remove it, or choose another name"


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
