from __future__ import annotations

import io
import multiprocessing
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from dcgan.config import PrepareConfig
from dcgan.data import PackedImages, PackedWriter, pack, prepare, toy
from dcgan.errors import DcganError

MakeImage = Callable[..., bytes]
WriteTree = Callable[[str, Mapping[str, bytes]], Path]


def packed(source: Path | str, out: Path, **settings: Any) -> PackedImages:
    return prepare(PrepareConfig(source=str(source), out=str(out), **{"size": 8, "workers": 1, **settings}))


@pytest.fixture
def photos(make_image: MakeImage) -> dict[str, bytes]:
    """Files of many kinds, good and bad, in two folders."""
    kinds = ("png", "jpeg", "webp", "gif")
    good = {f"{'ab'[i % 2]}/{i:02}.{kinds[i % 4]}": make_image(i, 20 + i, 30, kinds[i % 4]) for i in range(12)}
    return good | {
        "a/empty.jpg": b"",
        "a/text.jpg": b"hello",
        "b/half.jpg": make_image(99, 64, 64, "jpeg")[:700],
        "b/notes.txt": b"hello",
    }


def test_bad_files_are_skipped_with_their_reason_and_good_ones_kept(
    write_tree: WriteTree, photos: dict[str, bytes], tmp_path: Path
) -> None:
    result = packed(write_tree("photos", photos), tmp_path / "out", crop="24x24")
    assert result.manifest["skipped"] == {
        "count": 8,
        "reasons": {
            "empty file": 1,
            "not an image": 2,
            "smaller than the crop": 4,
            "truncated": 1,
        },
        "files": [
            ["b/notes.txt", "not an image"],
            ["a/00.png", "smaller than the crop"],
            ["a/02.webp", "smaller than the crop"],
            ["a/empty.jpg", "empty file"],
            ["a/text.jpg", "not an image"],
            ["b/01.jpeg", "smaller than the crop"],
            ["b/03.gif", "smaller than the crop"],
            ["b/half.jpg", "truncated"],
        ],
    }
    whole = packed(tmp_path / "photos", tmp_path / "whole", crop="20x20")
    assert len(whole) == 12
    names = sorted(name for name in photos if name[2:4].isdigit())
    large = [number for number, name in enumerate(names) if int(name[2:4]) >= 4]
    assert len(result) == len(large)
    np.testing.assert_array_equal(result.labels, np.asarray(whole.labels)[large])
    assert result.label_names == ("a", "b")
    reference = [Image.open(io.BytesIO(photos[names[number]])).convert("RGB") for number in large]
    boxes = [((image.width - 24) // 2, 3, (image.width - 24) // 2 + 24, 27) for image in reference]
    plain = [
        np.asarray(image.resize((8, 8), Image.Resampling.BICUBIC, box=box))
        for image, box in zip(reference, boxes, strict=True)
    ]
    np.testing.assert_array_equal(result.read(range(len(large))), plain)


def test_the_same_files_give_the_same_digest(
    write_tree: WriteTree, photos: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    backwards = dict(reversed(photos.items()))
    monkeypatch.setattr(pack, "CHUNK", 5)
    results = [
        packed(write_tree("photos", photos), tmp_path / "1"),
        packed(write_tree("photos.zip", backwards), tmp_path / "2"),
        packed(write_tree("photos.tar", backwards), tmp_path / "3", workers=2),
        packed(write_tree("photos.tgz", photos), tmp_path / "4"),
    ]
    monkeypatch.setattr(pack, "CHUNK_BYTES", 1)
    monkeypatch.setattr(pack, "FLIGHT_BYTES", 1)
    results.append(packed(tmp_path / "photos.zip", tmp_path / "5", workers=3))
    assert len({result.digest for result in results}) == 1
    assert len({str(result.manifest["source"]) for result in results}) == 1
    assert len({str(result.manifest["skipped"]) for result in results}) == 1
    assert packed(tmp_path / "photos", tmp_path / "other", crop="none").digest != results[0].digest


def test_nothing_usable_is_an_error_that_counts_the_reasons(write_tree: WriteTree, tmp_path: Path) -> None:
    path = write_tree("photos", {"1.jpg": b"", "2.jpg": b"", "3.txt": b"x"})
    with pytest.raises(DcganError, match="no usable image: 2 empty file, 1 not an image"):
        packed(path, tmp_path / "out")
    with pytest.raises(DcganError, match=r"no usable image$"):
        packed(write_tree("none.zip", {}), tmp_path / "out")
    assert not list(tmp_path.glob("out*"))


def test_a_taken_place_is_refused_before_any_work(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine").write_text("")
    with pytest.raises(DcganError, match="already exists"):
        packed(tmp_path / "not even there", tmp_path / "out")


def test_celeba_keeps_attributes_landmarks_and_partition(
    write_tree: WriteTree, make_image: MakeImage, tmp_path: Path
) -> None:
    names = [f"{number:06}.png" for number in range(1, 7)]
    files = {f"img_align_celeba/{name}": make_image(number, 89, 109) for number, name in enumerate(names)}
    files["img_align_celeba/000003.png"] = b"broken"
    marks = "69 109 106 113 77 142 73 152 108 154"
    points = ("lefteye", "righteye", "nose", "leftmouth", "rightmouth")
    header = " ".join(f"{point}_{axis}" for point in points for axis in "xy")
    tables = {
        "list_attr_celeba.txt": ["6", "Smiling", *(f"{name} {(-1) ** i}" for i, name in enumerate(names))],
        "list_eval_partition.txt": [f"{name} {i // 2}" for i, name in enumerate(names)],
        "list_landmarks_align_celeba.txt": ["5", header, *(f"{name} {marks}" for name in names[1:])],
    }
    path = write_tree("CelebA", files | {name: "\n".join(rows).encode() for name, rows in tables.items()})
    result = packed(path, tmp_path / "all", size=64)
    assert result.labels is not None
    assert result.labels[:, 0].tolist() == [1, 0, 0, 1, 0]
    assert result.held_out_indices.tolist() == [2, 3, 4]
    assert result.manifest["held_out"]["rule"] == "official partition"
    assert result.landmarks is not None
    assert np.isnan(result.landmarks[0]).all(), "the first is not in the file of landmarks"
    # Half size, 89 x 109, of which the middle 89 x 89 became 64 x 64.
    left_eye = (np.array([69.5, 109.5]) / 2 - (0, 10)) * 64 / 89 - 0.5
    np.testing.assert_allclose(result.landmarks[1, 0], left_eye, rtol=1e-6)
    for split, count in (("train", 2), ("valid", 1), ("test", 2)):
        part = packed(path, tmp_path / split, split=split)
        assert (len(part), len(part.training_indices)) == (count, count), "the partition has been made use of"
    assert packed(path, tmp_path / "none", held_out=0).held_out_indices.size == 0, "--held-out has the last word"


@pytest.mark.parametrize("channels", [1, 3])
def test_toy_faces_are_packed_as_drawn(tmp_path: Path, channels: int) -> None:
    result = packed("toy", tmp_path / "toy", size=16, count=70, seed=5, channels=channels)
    drawn = toy.draw_faces(range(70), 16, 5)
    images = drawn.images
    if channels == 1:
        images = np.stack([np.asarray(Image.fromarray(image).convert("L"))[..., None] for image in images])
    np.testing.assert_array_equal(result.read(range(70)), images)
    np.testing.assert_array_equal(result.labels, drawn.labels)
    np.testing.assert_array_equal(result.landmarks, drawn.landmarks)
    assert list(zip(result.label_names, result.label_kinds, strict=True)) == list(toy.LABELS)
    assert result.landmark_names == toy.LANDMARKS


KILLED = """
import os, signal, sys
from dcgan.config import PrepareConfig
from dcgan.data import PackedWriter, prepare
def append(self, *_):
    os.kill(os.getpid(), signal.{signal})
PackedWriter.append = append
if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)  # whatever started the tests may ignore it
    prepare(PrepareConfig(source="toy", out=sys.argv[1], size=16, count=640, workers=2))
"""


def prepare_until(what: str, tmp_path: Path) -> subprocess.CompletedProcess[str]:
    """Run a prepare with two processes that gets a signal half-way; return when all of them have ended."""
    script = tmp_path / "script.py"
    script.write_text(KILLED.format(signal=what))
    command = [sys.executable, str(script), str(tmp_path / "out")]
    # The workers hold these pipes too, so this waits for them as well.
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_killed_half_way_nothing_looks_finished_and_no_process_stays(tmp_path: Path) -> None:
    assert prepare_until("SIGKILL", tmp_path).returncode == -signal.SIGKILL
    assert [path.name for path in tmp_path.iterdir() if path.is_dir()] == ["out.partial"]
    for name in ("out", "out.partial"):
        with pytest.raises(DcganError, match="not finished"):
            PackedImages.open(tmp_path / name)
    assert len(packed("toy", tmp_path / "out", size=16, count=3)) == 3
    assert not (tmp_path / "out.partial").exists()


def test_interrupted_half_way_nothing_is_left(tmp_path: Path) -> None:
    result = prepare_until("SIGINT", tmp_path)
    assert result.stderr.strip().endswith("KeyboardInterrupt")
    assert [path.name for path in tmp_path.iterdir()] == ["script.py"]


def test_workers_answer_in_order_leave_ctrl_c_to_the_parent_and_end_with_the_job() -> None:
    assert list(pack._in_order(abs, range(-20, 0), 3)) == [(number, -number) for number in range(-20, 0)]
    handlers = pack._in_order(signal.getsignal, [signal.SIGINT] * 20, 2)
    assert next(handlers) == (signal.SIGINT, signal.SIG_IGN)
    handlers.close()
    assert multiprocessing.active_children() == []


def test_heavy_jobs_wait_outside() -> None:
    taken: list[int] = []
    results = pack._in_order(abs, (taken.append(n) or n for n in range(9)), 4, weigh=lambda _: pack.FLIGHT_BYTES)
    assert next(results) == (0, 0)
    assert taken == [0, 1], "one in hand, and the one that was too much"
    assert [job for job, _ in results] == list(range(1, 9))


def die(*_: object) -> None:
    os._exit(1)


def test_a_dying_worker_is_one_clear_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pack, "_draw_chunk", die)
    with pytest.raises(DcganError, match="a process that prepares images died"):
        packed("toy", tmp_path / "out", count=200, workers=2)
    assert not list(tmp_path.iterdir())


def test_a_full_disk_ends_the_job(
    write_tree: WriteTree, photos: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise DcganError("cannot write out: No space left on device")

    monkeypatch.setattr(PackedWriter, "append", refuse)
    path = write_tree("photos.zip", photos)
    with pytest.raises(DcganError, match="No space left"):
        packed(path, tmp_path / "out")
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["photos.zip"]
