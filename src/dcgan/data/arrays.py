"""Sets that come as arrays rather than image files: CIFAR-10 and SVHN in their official files, and digits.

CIFAR-10's Python version is a pickle, which could run any program: it is read by an unpickler that knows nothing but
stand-ins for the three names such a file holds, so that the worst a forged one can do is to be refused.
"""

from __future__ import annotations

import hashlib
import io
import pickle
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import numpy.typing as npt

from dcgan.data.packed import Images
from dcgan.data.trees import UnusableError, open_tree, read_payload
from dcgan.errors import DcganError

DIGITS = "digits"
"""The word that means scikit-learn's handwritten digits."""
CIFAR_CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
_CIFAR_PARTS = {**{f"data_batch_{i}": "train" for i in range(1, 6)}, "test_batch": "test"}
_PARTS = {
    **_CIFAR_PARTS,
    **{f"{name}.bin": part for name, part in _CIFAR_PARTS.items()},
    "train_32x32.mat": "train",  # extra_32x32.mat, 531,131 easier images, is no part of the usual protocol
    "test_32x32.mat": "test",
}
_FOLDERS = ("cifar-10-batches-py", "cifar-10-batches-bin")
_ARCHIVES = ("cifar-10-python.tar.gz", "cifar-10-binary.tar.gz")
_SVHN_TERMS = "SVHN: for non-commercial use only"
_DIGITS_TERMS = "Optical Recognition of Handwritten Digits, UCI: CC BY 4.0"
_SIDE = 32


@dataclass(frozen=True, eq=False)
class ArraySet:
    """Images with one class each."""

    name: str
    digest: str
    """SHA-256 that identifies what was read."""
    terms: str
    """Terms of use, empty if unknown."""
    classes: tuple[str, ...]
    images: Images
    """N x H x W x C."""
    targets: npt.NDArray[np.int64]
    """N places in `classes`."""
    test: npt.NDArray[np.bool_] | None
    """N, whether an image is of the official test part; None if there is no such part."""

    def part(self, split: str) -> ArraySet:
        """The images of `split`: all, train or test; a `DcganError` if there is no such part."""
        if split == "all":
            return self
        if self.test is None or split not in ("train", "test"):
            raise DcganError(f"{self.name} has no official part called {split}: leave out --split, or give all")
        kept = self.test if split == "test" else ~self.test
        digest = hashlib.sha256(f"{self.digest} {split}".encode()).hexdigest()
        return ArraySet(self.name, digest, self.terms, self.classes, self.images[kept], self.targets[kept], None)


def is_array_set(source: str) -> bool:
    """Whether `source` is such a set by its name: the word digits, or a folder or archive of official files."""
    path = Path(source).expanduser()
    if source == DIGITS or path.name in _ARCHIVES:
        return True
    if path.name in _PARTS and path.is_file():
        raise DcganError(f"{path} is one part of a set: give the folder that holds it, for training and test part")
    return any((path / folder / name).is_file() for folder in ("", *_FOLDERS) for name in _PARTS)


def read_array_set(source: str) -> ArraySet:
    """Read the set that `is_array_set` found; a `DcganError` names a file that is damaged or not what it should be."""
    if source == DIGITS:
        return _read_digits()
    tree = open_tree(Path(source).expanduser())
    try:
        found = [name for name in tree.names if PurePosixPath(name).name in _PARTS]
        names = sorted(found, key=lambda name: (_PARTS[PurePosixPath(name).name] == "test", name))
        kinds = {_kind(name) for name in names}
        if len(kinds) != 1:
            raise DcganError(f"{source} holds {', '.join(sorted(kinds)) or 'none'} of CIFAR-10 and SVHN: give one set")
        files = [_read_file(name, _payload(source, tree.payload(name))) for name in names]
    finally:
        tree.close()
    kind = kinds.pop()
    images, targets = (np.concatenate([file[i] for file in files]) for i in (0, 1))
    parts = [_PARTS[PurePosixPath(name).name] for name in names]
    test = np.repeat([part == "test" for part in parts], [len(file[0]) for file in files])
    return ArraySet(
        name="svhn" if kind == "SVHN" else "cifar10",
        digest=hashlib.sha256("".join(file[2] for file in files).encode()).hexdigest(),
        terms=_SVHN_TERMS if kind == "SVHN" else "",
        classes=tuple(map(str, range(10))) if kind == "SVHN" else CIFAR_CLASSES,
        images=images,
        targets=targets,
        test=test if len(set(parts)) == 2 else None,
    )


def _payload(source: str, payload: Any) -> bytes:
    try:
        return read_payload(payload)
    except UnusableError as error:
        raise DcganError(f"cannot read {source}: a file of it is {error}") from error


def _kind(name: str) -> str:
    return {".mat": "SVHN", ".bin": "CIFAR-10 (binary)"}.get(PurePosixPath(name).suffix, "CIFAR-10")


def _read_file(name: str, data: bytes) -> tuple[Images, npt.NDArray[np.int64], str]:
    """Images N x 32 x 32 x 3, their classes N, and the file's SHA-256."""
    read = {"SVHN": _read_mat, "CIFAR-10": _read_pickle, "CIFAR-10 (binary)": _read_binary}[_kind(name)]
    try:
        images, targets = read(data)
        if images.shape != (len(targets), _SIDE, _SIDE, 3) or images.dtype != np.uint8 or not len(targets):
            raise ValueError(f"{images.dtype} images {images.shape} and {len(targets)} labels")
        if targets.min() < 0 or targets.max() > 9:
            raise ValueError(f"labels from {targets.min()} to {targets.max()}")
    except DcganError:
        raise
    except Exception as error:  # forged or cut off, such a file can raise whatever it likes
        raise DcganError(f"{name} is damaged, or no file of {_kind(name)}: {error}") from error
    return images, targets.astype(np.int64), hashlib.sha256(data).hexdigest()


def _planes(rows: npt.NDArray[np.uint8]) -> Images:
    """CIFAR's rows N x 3072, red, green and blue plane one after another, as N x 32 x 32 x 3."""
    return rows.reshape(-1, 3, _SIDE, _SIDE).transpose(0, 2, 3, 1)


def _read_binary(data: bytes) -> tuple[Images, npt.NDArray[np.int64]]:
    """A file of cifar-10-batches-bin: for each image one byte for its class, then 3072 for its pixels."""
    rows = np.frombuffer(data, np.uint8).reshape(-1, 1 + 3 * _SIDE * _SIDE)
    return _planes(rows[:, 1:]), rows[:, 0].astype(np.int64)


def _read_pickle(data: bytes) -> tuple[Images, npt.NDArray[np.int64]]:
    """A file of cifar-10-batches-py: a pickled dict of data, an array N x 3072, and labels, a list of numbers."""
    batch = _OnlyArrays(io.BytesIO(data), encoding="bytes").load()
    batch = {_text(key): value for key, value in batch.items()}
    return _planes(batch["data"].uint8()), np.array([int(label) for label in batch["labels"]])


def _text(key: str | bytes) -> str:
    """Strings as Python 3 has them: those that Python 2 pickled come as bytes."""
    return key.decode() if isinstance(key, bytes) else key


class _PickledArray:
    """What a pickle says of an array; numpy itself is never given what is in it."""

    def __init__(self, *_: object) -> None:
        self._state: Any = None

    def __setstate__(self, state: object) -> None:
        self._state = state

    def uint8(self) -> npt.NDArray[np.uint8]:
        """The array, if it is a plain one of bytes in C order."""
        _, shape, kind, fortran, values = self._state
        if not (isinstance(kind, _PickledType) and kind.name == "u1" and not fortran and isinstance(values, bytes)):
            raise ValueError("data is no array of uint8")
        return np.frombuffer(values, np.uint8).reshape([int(length) for length in shape])


class _PickledType:
    """What a pickle says of a number type."""

    def __init__(self, name: str | bytes, *_: object) -> None:
        self.name = _text(name)

    def __setstate__(self, state: object) -> None:
        """Byte order and the like, which one byte has not."""


class _OnlyArrays(pickle.Unpickler):
    """Reads dicts, lists, numbers, strings and arrays; whatever names anything else is refused."""

    _known: Mapping[tuple[str, str], type] = {
        ("numpy.core.multiarray", "_reconstruct"): _PickledArray,
        ("numpy._core.multiarray", "_reconstruct"): _PickledArray,
        ("numpy", "ndarray"): _PickledArray,
        ("numpy", "dtype"): _PickledType,
    }

    def find_class(self, module: str, name: str) -> type:
        if (module, name) not in self._known:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}, which no data file needs")
        return self._known[module, name]


def _read_mat(data: bytes) -> tuple[Images, npt.NDArray[np.int64]]:
    """A file of SVHN's cropped digits: X, 32 x 32 x 3 x N, and y, N x 1, in which 10 stands for the digit 0."""
    try:
        from scipy.io import loadmat
    except ImportError as error:
        raise DcganError("SVHN's .mat files need scipy: pip install scipy") from error
    content = loadmat(io.BytesIO(data), variable_names=("X", "y"))
    return content["X"].transpose(3, 0, 1, 2), content["y"].reshape(-1).astype(np.int64) % 10


def _read_digits() -> ArraySet:
    """1,797 handwritten digits of 8 x 8 pixels in 17 levels of grey, from the scikit-learn package."""
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise DcganError("digits come with scikit-learn: pip install scikit-learn") from error
    found = load_digits()
    images = np.round(found.images * (255 / 16)).astype(np.uint8)[..., None]
    digest = hashlib.sha256(images.tobytes()).hexdigest()
    classes = tuple(map(str, range(10)))
    return ArraySet(DIGITS, digest, _DIGITS_TERMS, classes, images, found.target.astype(np.int64), None)
