"""Named files in a folder, a zip or a tar, read where they lie and never unpacked."""

from __future__ import annotations

import contextlib
import hashlib
import lzma
import os
import stat
import struct
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Container, Iterable, Iterator
from pathlib import Path
from typing import IO, Protocol

from dcgan.checkpoint import told_as_errors
from dcgan.data.names import Names
from dcgan.errors import DcganError

MAX_BYTES = 256 << 20
"""A larger file or archive member is no photograph: it is skipped, whatever size the archive claims."""
TAR_SUFFIXES = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz")
_JUNK = frozenset(("__macosx", "thumbs.db", "desktop.ini"))
# What the standard library raises on damaged archives.
_DAMAGE = (
    *(zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError, struct.error),
    *(EOFError, OSError, ValueError, NotImplementedError),
)


class UnusableError(Exception):
    """A file that cannot be packed; its text is the reason in a few words."""


Payload = Path | bytes | UnusableError
"""A file still in its folder, its bytes out of an archive, or why they cannot be had."""


class SortedNames(Iterable[str], Container[str], Protocol):
    """Names in the order of `sorted`."""


class Tree(Protocol):
    """Named files in a folder or an archive."""

    skipped: list[tuple[str, str]]
    """Name and reason of what is not to be read at all."""

    @property
    def names(self) -> SortedNames:
        """Regular files, with / between folders; hidden files and systems' droppings are left out."""

    def payload(self, name: str) -> Payload:
        """The file's path, its bytes, or why they cannot be had."""

    def close(self) -> None:
        """Let go of the archive."""


class FolderTree:
    """A folder with all below it; links are followed only to files that lie inside it."""

    def __init__(self, root: Path) -> None:
        self._root = root.resolve()
        self.names = Names()
        self.skipped: list[tuple[str, str]] = []
        try:
            with contextlib.closing(Names()) as folders:
                inside: str | None = ""
                while inside is not None:
                    for file in self._files(self._root / inside):
                        if _is_wanted(file.name):
                            self._take(file, f"{inside}/{file.name}" if inside else file.name, folders)
                    inside = folders.after(inside)  # folders are named after the one they lie in
        except BaseException:
            self.close()
            raise

    def _files(self, folder: Path) -> Iterator[os.DirEntry[str]]:
        try:
            with os.scandir(folder) as files:
                yield from files
        except OSError as error:
            self.skipped.append((str(error.filename), "unreadable folder"))

    def _take(self, file: os.DirEntry[str], name: str, folders: Names) -> None:
        if file.is_symlink():
            self._take_link(Path(file.path), name)
        elif file.is_file(follow_symlinks=False):
            self.names.add(name)
        elif file.is_dir(follow_symlinks=False):
            folders.add(name)
        else:
            self.skipped.append((name, "not a regular file"))

    def _take_link(self, path: Path, name: str) -> None:
        # realpath: Path.resolve raises on a link to itself.
        if path.is_dir() or not Path(os.path.realpath(path)).is_relative_to(self._root):
            self.skipped.append((name, "link to a folder" if path.is_dir() else "link out of the folder"))
        elif path.is_file():
            self.names.add(name)
        else:
            self.skipped.append((name, "not a regular file"))

    def payload(self, name: str) -> Payload:
        return self._root / name

    def close(self) -> None:
        self.names.close()


class ZipTree:
    """A zip, read member by member; its list of members is in memory, as zipfile keeps it."""

    def __init__(self, path: Path) -> None:
        self.skipped: list[tuple[str, str]] = []
        members: dict[str, zipfile.ZipInfo] = {}
        with _damage_as_errors(path, "zip"):
            self._archive = zipfile.ZipFile(path)
        for member in self._archive.infolist():
            name = _plain_name(member.filename)
            if not name or member.filename.endswith("/") or not _is_wanted(name):  # is_dir() fails on an empty name
                continue
            if stat.S_IFMT(member.external_attr >> 16) not in (0, stat.S_IFREG):
                self.skipped.append((name, "not a regular file"))
                continue
            if member.flag_bits & 1:
                self.close()
                raise DcganError(f"{path} is encrypted: unpack it with its password and give the folder")
            members[name] = member
        self._members = dict(sorted(members.items()))
        self.names = self._members.keys()

    def payload(self, name: str) -> Payload:
        try:
            with self._archive.open(self._members[name]) as stream:
                return read_capped(stream)
        except UnusableError as error:
            return error
        except NotImplementedError:
            return UnusableError("unknown compression")
        except _DAMAGE:
            return UnusableError("damaged in the archive")

    def close(self) -> None:
        self._archive.close()


class TarTree:
    """A tar, read where it lies; a compressed one by way of an unnamed temporary file.

    Its members lie in any order, and a compressed file can only be read forwards.
    """

    def __init__(self, path: Path) -> None:
        self.skipped: list[tuple[str, str]] = []
        with _damage_as_errors(path, "tar"):
            plain = _is_plain_tar(path)
            self._store: IO[bytes] = path.open("rb") if plain else tempfile.TemporaryFile()  # noqa: SIM115
        self.names = Names()
        try:
            with _damage_as_errors(path, "tar"), tarfile.open(path) as archive:
                for member in _members(archive):
                    self._take(archive, member, plain)
            with _told_of_temporary():
                self._store.flush()
        except BaseException:
            self.close()
            raise

    def _take(self, archive: tarfile.TarFile, member: tarfile.TarInfo, plain: bool) -> None:
        name = _plain_name(member.name)
        if not name or member.isdir() or not _is_wanted(name):
            return
        if not member.isreg() or member.issparse():
            self.skipped.append((name, "not a regular file"))
        elif member.size > MAX_BYTES:
            self.skipped.append((name, "too large"))
        elif plain:
            self.names.add(name, member.offset_data, member.size)
        else:
            stream = archive.extractfile(member)
            assert stream is not None, "a regular member has data"
            self.names.add(name, self._store.tell(), member.size)
            data = stream.read()
            with _told_of_temporary():
                self._store.write(data)

    def payload(self, name: str) -> Payload:
        offset, length = self.names.place(name)
        self._store.seek(offset)
        return self._store.read(length)

    def close(self) -> None:
        self._store.close()
        self.names.close()


def open_tree(path: Path) -> Tree:
    """The files of a folder, a .zip or a .tar; anything else is a `DcganError`."""
    if path.is_dir():
        return FolderTree(path)
    if not path.exists():
        raise DcganError(f"{path} does not exist")
    name = path.name.lower()
    if name.endswith(".zip"):
        return ZipTree(path)
    if name.endswith(TAR_SUFFIXES):
        return TarTree(path)
    raise DcganError(f"{path} is no folder, .zip or .tar (.tar.gz, .tar.bz2, .tar.xz): nothing else can be read")


def read_payload(payload: Payload) -> bytes:
    """The bytes of an image file; `UnusableError` if they cannot be had or are too many."""
    if isinstance(payload, UnusableError):
        raise payload
    if isinstance(payload, bytes):
        return payload
    try:
        with payload.open("rb") as stream:
            return read_capped(stream)
    except OSError as error:
        raise UnusableError("unreadable") from error


def read_capped(stream: IO[bytes]) -> bytes:
    """All bytes of a stream, but no more than `MAX_BYTES`: what an archive says of sizes is not believed."""
    data = stream.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        raise UnusableError("too large")
    return data


def fingerprint(path: Path) -> str:
    """SHA-256 that changes with the name, size or time of change of an archive, or of any file in a folder."""
    digest = hashlib.sha256(str(path.resolve()).encode("utf-8", "surrogateescape"))
    with contextlib.closing(FolderTree(path)) if path.is_dir() else contextlib.nullcontext() as folder:
        for name in [""] if folder is None else folder.names:
            status = (path / name).stat()
            digest.update(f"\n{name} {status.st_size} {status.st_mtime_ns}".encode("utf-8", "surrogateescape"))
    return digest.hexdigest()


def _is_wanted(name: str) -> bool:
    """False for hidden files and folders, and for what macOS and Windows leave behind."""
    return not any(part.startswith(".") or part.lower() in _JUNK for part in name.split("/"))


def _plain_name(name: str) -> str:
    """A member's name without what could lead anywhere: no leading /, no . and no .., never a backslash."""
    return "/".join(part for part in name.replace("\\", "/").split("/") if part not in ("", ".", ".."))


@contextlib.contextmanager
def _damage_as_errors(path: Path, kind: str) -> Iterator[None]:
    """Turn whatever a damaged archive raises into one `DcganError`."""
    try:
        yield
    except DcganError:
        raise
    except PermissionError as error:
        raise DcganError(f"cannot read {path}: {error.strerror}") from error
    except _DAMAGE as error:
        reason = str(error).partition("\n")[0].rstrip(":")  # tarfile tells of every compression it tried
        raise DcganError(f"cannot read {path}: it is damaged, or no {kind} file ({reason})") from error


def _told_of_temporary() -> contextlib.AbstractContextManager[None]:
    return told_as_errors(Path(tempfile.gettempdir()))


def _is_plain_tar(path: Path) -> bool:
    try:
        with tarfile.open(path, "r:"):
            return True
    except tarfile.ReadError:
        return False


def _members(archive: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
    """Members one by one; where tarfile takes damage for the end, this raises."""
    while (member := archive.next()) is not None:
        yield member
        archive.members.clear()  # type: ignore[attr-defined]  # else it keeps a kilobyte for every image
    assert archive.fileobj is not None
    archive.fileobj.seek(archive.offset)
    if archive.fileobj.read(tarfile.BLOCKSIZE) != tarfile.NUL * tarfile.BLOCKSIZE:
        raise tarfile.ReadError("it does not end as a tar does")
