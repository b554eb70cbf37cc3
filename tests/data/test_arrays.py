"""CIFAR-10, SVHN and digits: small files in the official formats give their pixels, classes and parts."""

from __future__ import annotations

import os
import pickle
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from dcgan.config import PrepareConfig
from dcgan.data import PackedImages, open_data, prepare
from dcgan.data.arrays import CIFAR_CLASSES, is_array_set, read_array_set
from dcgan.errors import DcganError

RANDOM = np.random.default_rng(0)
PIXELS = RANDOM.integers(0, 256, (6, 32, 32, 3)).astype(np.uint8)
TARGETS = np.array([3, 0, 9, 1, 1, 8])
FILES = {"data_batch_1": slice(0, 2), "data_batch_2": slice(2, 4), "test_batch": slice(4, 6)}
Write = Callable[[Path], None]


def planes(pixels: np.ndarray) -> np.ndarray:
    """N x 3072 as CIFAR has it: all red, then all green, then all blue."""
    return np.concatenate([pixels[..., c].reshape(len(pixels), -1) for c in range(3)], axis=1)


def python2_pickle(rows: np.ndarray, labels: list[int]) -> bytes:
    """What Python 2's cPickle.dump(batch, file, 2) wrote, op by op: its strings are bytes without an encoding."""

    def string(value: bytes) -> bytes:
        return b"T" + len(value).to_bytes(4, "little") + value

    def number(value: int) -> bytes:
        return b"J" + value.to_bytes(4, "little", signed=True)

    kind = (
        b"cnumpy\ndtype\n(" + string(b"u1") + b"K\x00K\x01tR("
        b"K\x03" + string(b"|") + b"NNN" + number(-1) + number(-1) + b"K\x00tb"
    )
    shape = b"(" + number(rows.shape[0]) + number(rows.shape[1]) + b"t"
    data = (
        b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(K\x00t" + string(b"b") + b"tR"
        b"(K\x01" + shape + kind + b"I00\n" + string(rows.tobytes()) + b"tb"
    )
    listed = b"](" + b"".join(number(label) for label in labels) + b"e"
    name = string(b"batch_label") + string(b"training batch 1 of 5")
    return b"\x80\x02}(" + name + string(b"labels") + listed + string(b"data") + data + b"u."


def write_python(folder: Path) -> None:
    for name, part in FILES.items():
        (folder / name).write_bytes(python2_pickle(planes(PIXELS[part]), TARGETS[part].tolist()))
    (folder / "batches.meta").write_bytes(b"not read")


def write_binary(folder: Path) -> None:
    for name, part in FILES.items():
        rows = np.concatenate([TARGETS[part, None].astype(np.uint8), planes(PIXELS[part])], axis=1)
        (folder / f"{name}.bin").write_bytes(rows.tobytes())


def write_svhn(folder: Path) -> None:
    io_module = pytest.importorskip("scipy.io")
    for name, part in {"train": slice(0, 4), "test": slice(4, 6)}.items():
        labels = np.where(TARGETS[part] == 0, 10, TARGETS[part]).astype(np.uint8)
        content = {"X": PIXELS[part].transpose(1, 2, 3, 0), "y": labels[:, None]}
        io_module.savemat(folder / f"{name}_32x32.mat", content, do_compression=True)


@pytest.mark.parametrize("write", [write_python, write_binary, write_svhn])
def test_official_files_give_their_images_classes_and_test_part(write: Write, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    write(source)
    packed = prepare(PrepareConfig(source=str(source), out=str(tmp_path / "out"), size=32))
    assert np.array_equal(packed.read(range(6)), PIXELS)
    assert packed.labels is not None
    assert np.array_equal(packed.labels, np.eye(10)[TARGETS])
    assert packed.label_names == (tuple("0123456789") if write is write_svhn else CIFAR_CLASSES)
    assert packed.held_out_indices.tolist() == [4, 5]
    assert packed.terms == ("SVHN: for non-commercial use only" if write is write_svhn else "")


def test_the_two_versions_of_cifar_are_one_set(tmp_path: Path) -> None:
    digests = []
    for name, write in (("cifar-10-batches-py", write_python), ("cifar-10-batches-bin", write_binary)):
        (tmp_path / name).mkdir()
        write(tmp_path / name)
        digests.append(prepare(PrepareConfig(source=str(tmp_path / name), out=str(tmp_path / name[-3:]))).digest)
    assert digests[0] == digests[1]


def test_the_official_archive_is_read_where_it_lies(tmp_path: Path) -> None:
    (tmp_path / "cifar-10-batches-py").mkdir()
    write_python(tmp_path / "cifar-10-batches-py")
    with tarfile.open(tmp_path / "cifar-10-python.tar.gz", "w:gz") as archive:
        archive.add(tmp_path / "cifar-10-batches-py", "cifar-10-batches-py")
    for source in (tmp_path, tmp_path / "cifar-10-python.tar.gz"):
        assert is_array_set(str(source))
        assert np.array_equal(read_array_set(str(source)).images, PIXELS)


@pytest.mark.parametrize(("split", "wanted"), [("train", slice(0, 4)), ("test", slice(4, 6))])
def test_a_split_takes_one_part_of_it(split: str, wanted: slice, tmp_path: Path) -> None:
    write_binary(tmp_path)
    arrays = read_array_set(str(tmp_path))
    assert np.array_equal(arrays.part(split).images, PIXELS[wanted])
    with pytest.raises(DcganError, match="no official part called valid"):
        arrays.part("valid")


def test_images_are_resized_and_turned_grey(tmp_path: Path) -> None:
    write_binary(tmp_path)
    flat = np.full((1, 3073), 90, np.uint8)
    flat[0, 0] = 5
    (tmp_path / "test_batch.bin").write_bytes(flat.tobytes())
    packed = prepare(PrepareConfig(source=str(tmp_path), out=str(tmp_path / "out"), size=64, channels=1))
    assert (packed.read([4]) == 90).all()
    with pytest.raises(DcganError, match="smaller than the crop"):
        prepare(PrepareConfig(source=str(tmp_path), out=str(tmp_path / "cropped"), crop="108x108"))


class Forged:
    """What an attacker would pickle."""

    def __reduce__(self) -> tuple[object, ...]:
        return os.system, ("touch forged",)


@pytest.mark.parametrize(
    "batch",
    [
        pickle.dumps({"data": Forged(), "labels": [1]}),
        pickle.dumps({"data": np.zeros((1, 3072)), "labels": [1]}),
        pickle.dumps({"data": np.array([print], object), "labels": [1]}),
        pickle.dumps({"data": np.zeros((2, 3072), np.uint8), "labels": [1]}),
        pickle.dumps({"data": np.zeros((1, 3072), np.uint8), "labels": [10]}),
        python2_pickle(planes(PIXELS), TARGETS.tolist())[:-200],
        b"cos\nsystem\n(S'touch forged'\ntR.",
        b"\x80\x02]",
        b"",
    ],
)
def test_a_forged_or_damaged_batch_is_refused_and_runs_nothing(
    batch: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("data_batch_1").write_bytes(batch)
    with pytest.raises(DcganError, match="data_batch_1 is damaged, or no file of CIFAR-10"):
        read_array_set(str(tmp_path))
    assert not Path("forged").exists()


def test_batches_that_a_newer_python_pickled_are_read_too(tmp_path: Path) -> None:
    (tmp_path / "data_batch_1").write_bytes(pickle.dumps({"data": planes(PIXELS), "labels": TARGETS.tolist()}, 4))
    assert np.array_equal(read_array_set(str(tmp_path)).images, PIXELS)


@pytest.mark.parametrize("name", ["data_batch_1.bin", "train_32x32.mat"])
def test_other_damage_is_told(name: str, tmp_path: Path) -> None:
    if name.endswith("mat"):
        pytest.importorskip("scipy")
    (tmp_path / name).write_bytes(b"x" * 1000)
    with pytest.raises(DcganError, match=f"{name} is damaged"):
        read_array_set(str(tmp_path))
    with pytest.raises(DcganError, match="give the folder"):
        is_array_set(str(tmp_path / name))
    write_python(tmp_path)
    with pytest.raises(DcganError, match="give one set"):
        read_array_set(str(tmp_path))


def test_digits_are_a_word_for_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    datasets = pytest.importorskip("sklearn.datasets")
    monkeypatch.setenv("DCGAN_CACHE", str(tmp_path))
    packed = open_data("digits", size=8, channels=1)
    assert isinstance(packed, PackedImages)
    found = datasets.load_digits()
    assert np.array_equal(packed.read([7, 9])[..., 0], np.round(found.images[[7, 9]] * 255 / 16))
    assert packed.labels is not None
    assert np.array_equal(packed.labels.argmax(1), found.target)
    assert packed.terms.endswith("CC BY 4.0")


def test_packages_that_are_missing_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    monkeypatch.setitem(sys.modules, "scipy.io", None)
    with pytest.raises(DcganError, match="pip install scikit-learn"):
        read_array_set("digits")
    (tmp_path / "test_32x32.mat").write_bytes(b"")
    with pytest.raises(DcganError, match="pip install scipy"):
        read_array_set(str(tmp_path))
