from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dcgan.data import Label, PackedImages, PackedWriter, flip_landmarks
from dcgan.data.packed import AllBut
from dcgan.errors import DcganError

LABELS = (Label("smile", "class"), Label("age", "number"))
MARKS = ("left_eye", "right_eye", "nose")


def contents(count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    images = random.integers(0, 256, (count, 4, 4, 3), dtype=np.uint8)
    return images, random.random((count, 2), np.float32), random.random((count, 3, 2), np.float32)


def pack(path: Path, count: int = 10, **changes: Any) -> PackedImages:
    """Pack `contents` unless `changes` says otherwise."""
    images, labels, landmarks = contents(count)
    given = {"labels": LABELS, "landmarks": MARKS} | changes
    images, labels, landmarks = given.pop("contents", (images, labels, landmarks))
    with PackedWriter(path, 4, 3, **given) as writer:
        writer.append(images, labels, landmarks)
    return PackedImages.open(path)


@settings(max_examples=25)
@given(
    chunks=st.lists(st.integers(0, 9), min_size=1, max_size=6).filter(sum),
    per_file=st.integers(1, 12),
    seed=st.integers(0, 99),
)
def test_what_is_read_is_what_was_written(
    tmp_path_factory: pytest.TempPathFactory, chunks: list[int], per_file: int, seed: int
) -> None:
    images, labels, landmarks = contents(sum(chunks), seed)
    path = tmp_path_factory.mktemp("packed") / "set"
    with PackedWriter(path, 4, 3, labels=LABELS, landmarks=MARKS, file_bytes=per_file * 48 + 7) as writer:
        for end, count in zip(np.cumsum(chunks), chunks, strict=True):
            part = slice(end - count, end)
            writer.append(images[part], labels[part], landmarks[part])
    packed = PackedImages.open(path)
    packed.verify()
    assert len(packed) == sum(chunks)
    assert len(list(path.glob("images*.npy"))) == math.ceil(sum(chunks) / per_file)
    indices = np.random.default_rng(seed).integers(0, len(packed), 30)
    read = packed.read(indices)
    assert read.flags.c_contiguous
    np.testing.assert_array_equal(read, images[indices])
    np.testing.assert_array_equal(packed.labels, labels)
    np.testing.assert_array_equal(packed.landmarks, landmarks)
    assert packed.read([]).shape == (0, 4, 4, 3)


def test_files_are_plain_npy(tmp_path: Path) -> None:
    pack(tmp_path / "set", 10, file_bytes=6 * 48)
    parts = [np.load(tmp_path / "set" / name) for name in ("images.npy", "images-001.npy")]
    np.testing.assert_array_equal(np.concatenate(parts), contents(10)[0])
    np.testing.assert_array_equal(np.load(tmp_path / "set" / "labels.npy"), contents(10)[1])


def test_unknown_is_nan_and_absent_is_none(tmp_path: Path) -> None:
    unknown = pack(tmp_path / "unknown", contents=(contents(3)[0], None, None))
    assert unknown.labels is not None
    assert np.isnan(unknown.labels).all()
    assert unknown.label_names == ("smile", "age")
    assert unknown.label_kinds == ("class", "number")
    absent = pack(tmp_path / "absent", labels=(), landmarks=(), contents=(contents(3)[0], None, None))
    assert absent.labels is None
    assert absent.landmarks is None


def test_training_and_held_out_share_the_set_between_them(tmp_path: Path) -> None:
    packed = pack(tmp_path / "set", 600, held_out=0.1)
    assert len(packed.held_out_indices) == 60
    both = np.concatenate([packed.training_indices, packed.held_out_indices])
    np.testing.assert_array_equal(np.sort(both), np.arange(600))
    assert packed.held_out_indices.dtype == packed.training_indices.dtype == np.int64


@pytest.mark.parametrize("index", [-1, 10])
def test_an_index_outside_is_refused(tmp_path: Path, index: int) -> None:
    with pytest.raises(IndexError):
        pack(tmp_path / "set", 10).read([0, index])


def change_of_pixel(kind: int) -> dict[str, Any]:
    arrays = [array.copy() for array in contents(600)]
    arrays[kind].reshape(-1)[77] += 1
    return {"contents": tuple(arrays)}


@pytest.mark.parametrize(
    "change",
    [
        change_of_pixel(0),
        change_of_pixel(1),
        change_of_pixel(2),
        {"labels": (Label("smile", "binary"), Label("age", "number"))},
        {"labels": (Label("frown", "class"), Label("age", "number"))},
        {"landmarks": ("left_eye", "right_eye", "chin")},
        {"seed": 1},
        {"held_out": 0.1},
    ],
)
def test_the_digest_changes_with_all_that_matters(tmp_path: Path, change: dict[str, Any]) -> None:
    assert pack(tmp_path / "one", 600).digest != pack(tmp_path / "other", 600, **change).digest


def test_the_digest_does_not_change_with_names_and_settings(tmp_path: Path) -> None:
    other = {"name": "x", "settings": {"crop": "none"}}
    assert pack(tmp_path / "one").digest == pack(tmp_path / "other", **other).digest


@pytest.mark.parametrize("name", ["images.npy", "labels.npy", "landmarks.npy", "held_out.npy"])
def test_damage_is_found_and_named(tmp_path: Path, name: str) -> None:
    path = tmp_path / "set"
    packed = pack(path, 600)
    whole = (path / name).read_bytes()

    (path / name).write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(DcganError, match=f"{name} is damaged"):
        packed.verify()
    for damaged in (whole[:-1], whole[:20], whole + b"x", b""):
        (path / name).write_bytes(damaged)
        with pytest.raises(DcganError, match=name):
            PackedImages.open(path)
    (path / name).unlink()
    with pytest.raises(DcganError, match=name):
        PackedImages.open(path)


def edited(**changes: object) -> Callable[[str], str]:
    return lambda text: json.dumps(json.loads(text) | changes)


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda text: text[:-9], "not valid JSON"),
        (lambda text: "[]", "damaged"),
        (lambda text: "{}", "damaged"),
        (edited(files=3), "damaged"),
        (edited(count=9), "edited"),
        (edited(labels=[{"name": "x", "kind": "number"}]), "edited"),
        (edited(digest="0" * 64), "edited"),
        (edited(format=99), "format 99"),
    ],
)
def test_a_damaged_manifest_is_refused(tmp_path: Path, edit: Callable[[str], str], message: str) -> None:
    pack(tmp_path / "set")
    manifest = tmp_path / "set" / "dataset.json"
    manifest.write_text(edit(manifest.read_text()))
    with pytest.raises(DcganError, match=message):
        PackedImages.open(tmp_path / "set")


def test_what_is_no_data_set_is_told_apart(tmp_path: Path) -> None:
    with pytest.raises(DcganError, match="does not exist"):
        PackedImages.open(tmp_path / "nowhere")
    with pytest.raises(DcganError, match=r"no packed data set.*dcgan prepare"):
        PackedImages.open(tmp_path)
    (tmp_path / "set.partial").mkdir()
    for name in ("set", "set.partial"):
        with pytest.raises(DcganError, match="not finished"):
            PackedImages.open(tmp_path / name)


def test_flipped_landmarks_follow_the_pixels() -> None:
    size = 8
    landmarks = np.array([[[1, 2], [6, 3], [4, 5]]], np.float32)
    image = np.zeros((size, size), int)
    for number, (x, y) in enumerate(landmarks[0].astype(int), 1):
        image[y, x] = number
    flipped = flip_landmarks(landmarks, MARKS, size)
    found = {int(image[:, ::-1][y, x]) for x, y in flipped[0].astype(int)}
    assert found == {1, 2, 3}
    left, right, _ = flipped[0]
    assert left[0] < right[0], "what is named left is on the left of the mirrored image too"
    np.testing.assert_array_equal(flip_landmarks(flipped, MARKS, size), landmarks)


@given(st.sets(st.integers(0, 39)), st.integers(40, 60), st.data())
def test_all_but_some_is_what_numpy_deletes(without: set[int], count: int, data: st.DataObject) -> None:
    left_out = np.array(sorted(without), np.int64)
    kept = np.delete(np.arange(count), left_out)
    lazy = AllBut(count, left_out)
    assert len(lazy) == len(kept)
    np.testing.assert_array_equal(np.asarray(lazy), kept)
    assert list(lazy) == kept.tolist()
    places = data.draw(st.lists(st.integers(-len(kept), len(kept) - 1)))
    np.testing.assert_array_equal(lazy[places], kept[np.array(places, int)])
    np.testing.assert_array_equal(lazy[3:-2:2], kept[3:-2:2])
    np.testing.assert_array_equal(lazy[kept % 3 == 0], kept[kept % 3 == 0])
    for place in (len(kept), -len(kept) - 1):
        with pytest.raises(IndexError):
            lazy[[0, place]]


@pytest.mark.parametrize(("at", "bit"), [(56, 1), (127, 1), (0, 1), (80, 16)])
def test_a_damaged_header_is_told(tmp_path: Path, at: int, bit: int) -> None:
    path = pack(tmp_path / "set", 600).path / "held_out.npy"
    data = bytearray(path.read_bytes())
    data[at] = data[at] ^ bit if at != 56 else ord("(")
    path.write_bytes(data)
    with pytest.raises(DcganError, match=r"held_out\.npy is (missing or )?damaged"):
        np.asarray(PackedImages.open(tmp_path / "set").held_out_indices)


def test_damaged_held_out_indices_are_not_trained_by(tmp_path: Path) -> None:
    path = pack(tmp_path / "set", 600).path / "held_out.npy"
    data = bytearray(path.read_bytes())
    data[-3] ^= 1
    path.write_bytes(data)
    with pytest.raises(DcganError, match=r"held_out.npy is damaged"):
        len(PackedImages.open(tmp_path / "set").training_indices)


@pytest.mark.parametrize("key", ["terms", "name", "settings", "skipped", "held_out"])
def test_a_changed_manifest_is_told(tmp_path: Path, key: str) -> None:
    path = pack(tmp_path / "set").path / "dataset.json"
    manifest = json.loads(path.read_text())
    path.write_text(json.dumps(manifest | {key: "x"}))
    with pytest.raises(DcganError, match=r"dataset.json is damaged or was edited"):
        PackedImages.open(tmp_path / "set")
    del manifest["checksum"]  # as early versions wrote it
    path.write_text(json.dumps(manifest))
    assert len(PackedImages.open(tmp_path / "set")) == 10
