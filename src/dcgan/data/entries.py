"""The list of a source's files beside the images packed from them: what each was, and what became of it.

`entries.jsonl` has one line a file, in the order of the source: [name, SHA-256, reason], with null for the reason if
the file was packed, as the next image. Merging, reusing and going on need it; training does not.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from dcgan.errors import DcganError

ENTRIES = "entries.jsonl"


class Listed(NamedTuple):
    """One file of a source."""

    name: str
    digest: str
    """SHA-256 of all that its image depends on but the settings: its bytes, and its landmarks if it has any."""
    reason: str | None
    """Why it was not packed; None if it was."""


class EntryWriter:
    """Writes the list, and keeps what the manifest says of it."""

    def __init__(self, path: Path, earlier: Mapping[str, Any] | None = None) -> None:
        """Begin the list, or go on with it from what `state` gave `earlier`; `DcganError` if it is damaged since."""
        self.path, self.count = path, 0
        self.skipped: list[tuple[str, str]] = []
        self._source = hashlib.sha256()
        self._hash = hashlib.sha256()
        if earlier is not None:
            self._return_to(earlier)
        self._file = path.open("wb" if earlier is None else "ab")

    def append(self, entries: Iterable[Listed]) -> None:
        for entry in entries:
            line = json.dumps(list(entry)).encode() + b"\n"
            self._take(entry, line)
            self._file.write(line)

    def state(self) -> dict[str, Any]:
        """Bring all lines onto the disk, and say what they are: JSON-able."""
        self._file.flush()
        os.fsync(self._file.fileno())
        return {"count": self.count, "bytes": self._file.tell(), "sha256": self._hash.hexdigest()}

    def close(self) -> dict[str, Any]:
        """End the list; what the manifest says of it."""
        state = self.state()
        self._file.close()
        return {"name": self.path.name, "count": self.count, "sha256": state["sha256"]}

    def abandon(self) -> None:
        """Let go of the file whatever its state."""
        with contextlib.suppress(OSError):
            self._file.close()

    @property
    def source_digest(self) -> str:
        """SHA-256 over names and digests: what was packed, whatever the settings."""
        return self._source.hexdigest()

    def _take(self, entry: Listed, line: bytes) -> None:
        self._hash.update(line)
        self._source.update(f"{entry.name}\n{entry.digest}\n".encode("utf-8", "surrogateescape"))
        self.count += 1
        if entry.reason is not None:
            self.skipped.append((entry.name, entry.reason))

    def _return_to(self, earlier: Mapping[str, Any]) -> None:
        """Cut the list back to its lines at an earlier moment, which are read to take them in again."""
        if not self.path.is_file() or self.path.stat().st_size < earlier["bytes"]:
            raise DcganError(f"{self.path} is missing or cut short: remove {self.path.parent} to start anew")
        os.truncate(self.path, earlier["bytes"])
        for entry, line in _lines(self.path):
            self._take(entry, line)
        if self._hash.hexdigest() != earlier["sha256"]:
            raise DcganError(f"{self.path} is damaged: remove {self.path.parent} to start anew")


def read_entries(path: Path) -> Iterator[Listed]:
    """The files in such a list, one by one; a missing or damaged list is a `DcganError`."""
    return (entry for entry, _ in _lines(path))


def _lines(path: Path) -> Iterator[tuple[Listed, bytes]]:
    try:
        with path.open("rb") as file:
            for number, line in enumerate(file, 1):
                try:
                    yield Listed(*json.loads(line)), line
                except (ValueError, TypeError) as error:
                    raise DcganError(f"{path}, line {number}, is damaged: prepare the data again") from error
    except OSError as error:
        raise DcganError(f"cannot read {path}: {error.strerror or error}") from error
