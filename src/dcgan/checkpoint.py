"""Files that are either whole or absent: atomic writes of bytes, JSON, tensors and folders.

Nothing here knows of networks. Every file is written beside its place under a temporary name, flushed to the
disk and then renamed, so that a reader (or a run that is killed) never sees half of one.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dcgan.errors import DcganError

if TYPE_CHECKING:
    import torch

_TEMPORARY = re.compile(r"\.(?P<name>.+)\.[a-z0-9_]{8}(?P<suffix>\.\w+)?")  # eight letters are tempfile's


@contextlib.contextmanager
def told_as_errors(path: Path) -> Iterator[None]:
    """Turn what the operating system refuses while writing `path` into one clear `DcganError`."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        raise DcganError(f"cannot write {path}: {reason}; nothing that was there before is lost") from error


def write_with(path: Path, write: Callable[[Path], object]) -> None:
    """Create or replace the file `path` with what `write` puts into the temporary path it is given."""
    with told_as_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=path.suffix)
        os.close(handle)
        temporary = Path(name)
        try:
            write(temporary)
            with temporary.open("rb+") as file:
                os.fsync(file.fileno())
            temporary.chmod(0o666 & ~_umask())  # mkstemp's 0600 would hide the result from colleagues
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)


def write_bytes(path: Path, data: bytes) -> None:
    """Create or replace the file `path` with `data`."""
    write_with(path, lambda temporary: temporary.write_bytes(data))


def write_json(path: Path, value: object) -> None:
    """Create or replace the file `path` with `value` as indented JSON (NaN and infinity are refused)."""
    write_bytes(path, (json.dumps(value, indent=2, allow_nan=False) + "\n").encode())


def read_json(path: Path) -> Any:
    """Read a JSON file; a missing, unreadable or damaged one is a `DcganError` that names it."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise DcganError(f"cannot read {path}: {error.strerror or error}") from error
    except ValueError as error:
        raise DcganError(f"{path} is damaged: it is not valid JSON ({error})") from error


@contextlib.contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """Yield a temporary folder that becomes `path` (replacing one there) if the block succeeds, else vanishes."""
    with told_as_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}."))
        temporary.chmod(0o777 & ~_umask())
    try:
        yield temporary
        with told_as_errors(path):
            if path.exists():
                shutil.rmtree(path)
            temporary.replace(path)
            _sync_folder(path.parent)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def remove_left_overs(folder: Path) -> None:
    """Remove what writers that were killed left in `folder` under temporary names; nobody may be writing there now."""
    for path in folder.glob(".*"):
        match = _TEMPORARY.fullmatch(path.name)
        if match and path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        elif match and Path(match["name"]).suffix == (match["suffix"] or ""):
            with told_as_errors(path):
                path.unlink(missing_ok=True)


def save_tensors(path: Path, tensors: Mapping[str, torch.Tensor], metadata: Mapping[str, str] | None = None) -> None:
    """Write named tensors as safetensors, on the CPU and contiguous (it refuses channels_last), with metadata."""
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    contiguous = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}

    def write(temporary: Path) -> None:
        try:
            save_file(contiguous, temporary, metadata=dict(metadata or {}))
        except SafetensorError as error:  # what it makes of a full disk
            raise OSError(str(error)) from error

    write_with(path, write)


def load_tensors(path: Path) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    """Read a safetensors file: its tensors by name, on the CPU, and its metadata.

    Raises `DcganError` if it is missing, cut short, or no safetensors file at all.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}, file.metadata() or {}  # noqa: SIM118
    except FileNotFoundError as error:
        raise DcganError(f"{path} does not exist") from error
    except OSError as error:
        raise DcganError(f"cannot read {path}: {error.strerror or error}") from error
    except SafetensorError as error:
        raise DcganError(f"{path} is damaged or not a safetensors file ({error})") from error


def file_digest(path: Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def json_digest(value: object) -> str:
    """SHA-256 of a JSON-able value, in hexadecimal; the order of keys does not matter."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def tensors_digest(tensors: Mapping[str, torch.Tensor], configuration: object) -> str:
    """SHA-256 over the tensors (names, types, shapes, values) and a JSON-able configuration."""
    import torch

    digest = hashlib.sha256(json.dumps(configuration, sort_keys=True).encode())
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _sync_folder(path: Path) -> None:
    """Flush the folder's own entries, so that a rename survives a power cut (not possible on Windows)."""
    if os.name != "posix":
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _umask() -> int:
    """The process's umask, which can only be read by setting it."""
    current = os.umask(0)
    os.umask(current)
    return current
