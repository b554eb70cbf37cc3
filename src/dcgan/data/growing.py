"""Arrays on disk that gain rows, and can be gone on with after a kill."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from dcgan.data.packed import PackedFile
from dcgan.errors import DcganError

BLOCK_BYTES = 16 << 20


class GrowingArray:
    """A .npy file that gains rows; its values are checksummed on the way, its header is put right at the end."""

    def __init__(self, path: Path, row: tuple[int, ...], dtype: str, earlier: Mapping[str, Any] | None = None) -> None:
        """Begin the file, or go on with it from what `state` gave `earlier`; `DcganError` if it is damaged since."""
        self.path, self.count = path, 0
        self._row, self._dtype = row, np.dtype(dtype)
        self._hash = hashlib.sha256()
        if earlier is None:
            self._file = path.open("wb")
            self._write_header()
            self._start = self._file.tell()
        else:
            self._file = _open_existing(path)
            self._write_header()
            self._start = self._file.tell()
            try:
                self._return_to(earlier)
            except BaseException:
                self.abandon()
                raise

    def append(self, rows: npt.NDArray[Any]) -> None:
        assert rows.shape[1:] == self._row, f"{rows.shape} does not fit {self._row} in {self.path.name}"
        values = np.ascontiguousarray(rows, self._dtype).reshape(-1).view(np.uint8).data
        self._hash.update(values)
        self._file.write(values)
        self.count += len(rows)

    def state(self) -> dict[str, Any]:
        """Bring all rows onto the disk, and say what they are: JSON-able."""
        self._sync()
        return {"count": self.count, "sha256": self._hash.hexdigest()}

    def close(self) -> PackedFile:
        self._file.seek(0)
        self._write_header()
        assert self._file.tell() == self._start, "numpy leaves room in the header for the count to grow"
        self._sync()
        self._file.close()
        return PackedFile(self.path.name, self.count, self._hash.hexdigest())

    def abandon(self) -> None:
        """Let go of the file whatever its state: on a full disk, closing it tries to write once more."""
        with contextlib.suppress(OSError):
            self._file.close()

    def _return_to(self, earlier: Mapping[str, Any]) -> None:
        """Cut the file back to its rows at an earlier moment, which are read once to checksum them anew."""
        left = earlier["count"] * int(np.prod(self._row)) * self._dtype.itemsize
        self.count = earlier["count"]
        while left:
            block = self._file.read(min(left, BLOCK_BYTES))
            if not block:
                break
            self._hash.update(block)
            left -= len(block)
        if left or self._hash.hexdigest() != earlier["sha256"]:
            raise DcganError(f"{self.path} is damaged: remove {self.path.parent} to start anew")
        self._file.seek(self._file.tell())  # from reading to writing
        self._file.truncate()

    def _sync(self) -> None:
        self._file.flush()
        os.fsync(self._file.fileno())

    def _write_header(self) -> None:
        header = {"descr": self._dtype.str, "fortran_order": False, "shape": (self.count, *self._row)}
        np.lib.format.write_array_header_1_0(self._file, header)


def _open_existing(path: Path) -> Any:
    try:
        return path.open("rb+")
    except FileNotFoundError as error:
        raise DcganError(f"{path} is missing: remove {path.parent} to start anew") from error
