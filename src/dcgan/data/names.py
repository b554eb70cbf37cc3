"""Sorted names of files, however many there are, in memory that does not grow with them."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from typing import Any

from dcgan.errors import DcganError

CACHE_KIB = 4096
"""Memory for what was looked up last; all else lies in a temporary file."""


class Names:
    """A set of names in the order of `sorted`, each with a place: offset and length in an archive.

    They lie in a temporary database, which is gone with the process however that ends (TMPDIR says in which folder).
    Any method raises `DcganError` if there is no room for it.
    """

    def __init__(self) -> None:
        self._database = sqlite3.connect("", isolation_level=None)  # no name: a temporary file
        for setting in (f"cache_size = -{CACHE_KIB}", "journal_mode = OFF", "synchronous = OFF"):
            self._run(f"PRAGMA {setting}")
        self._run("CREATE TABLE names (name BLOB PRIMARY KEY, offset INTEGER, length INTEGER) WITHOUT ROWID")
        self._run("BEGIN")  # never ended: nothing of it is to last

    def add(self, name: str, offset: int = 0, length: int = 0) -> None:
        """Add a name; of two places of one name, the last counts."""
        self._run("INSERT OR REPLACE INTO names VALUES (?, ?, ?)", _key(name), offset, length)

    def place(self, name: str) -> tuple[int, int]:
        """Offset and length of a name that is there."""
        place: tuple[int, int] | None = self._run("SELECT offset, length FROM names WHERE name = ?", _key(name))
        assert place is not None, "it is there"
        return place

    def after(self, name: str) -> str | None:
        """The next name in order, or None if there is none; `name` need not be there."""
        found: tuple[bytes] | None = self._run(
            "SELECT name FROM names WHERE name > ? ORDER BY name LIMIT 1", _key(name)
        )
        return _name(found[0]) if found else None

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and self._run("SELECT 1 FROM names WHERE name = ?", _key(name)) is not None

    def __iter__(self) -> Iterator[str]:
        """All names in order; none may be added meanwhile."""
        try:
            for (key,) in self._database.execute("SELECT name FROM names ORDER BY name"):
                yield _name(key)
        except sqlite3.OperationalError as error:
            raise _told(error) from error

    def close(self) -> None:
        """Remove the temporary file."""
        self._database.close()

    def _run(self, statement: str, *values: bytes | int) -> Any:
        """The first row of a statement's result, or None."""
        try:
            return self._database.execute(statement, values).fetchone()
        except sqlite3.OperationalError as error:
            raise _told(error) from error


def _key(name: str) -> bytes:
    """A name as bytes, whose order is that of code points; surrogates stand for what is not UTF-8 in a file's name."""
    return name.encode("utf-8", "surrogatepass")


def _name(key: bytes) -> str:
    return key.decode("utf-8", "surrogatepass")


def _told(error: sqlite3.OperationalError) -> DcganError:
    return DcganError(
        f"cannot keep the list of files in a temporary file: {error}; TMPDIR says in which folder it lies"
    )
