from __future__ import annotations

import resource
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from dcgan.data import PackedImages, PackedWriter
from dcgan.data.writer import BusyError
from dcgan.errors import DcganError

IMAGES = np.arange(5 * 48, dtype=np.uint8).reshape(5, 4, 4, 3)


def entries(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_nothing_shows_before_the_end_and_only_the_set_after(tmp_path: Path) -> None:
    with PackedWriter(tmp_path / "set", 4, 3) as writer:
        writer.append(IMAGES)
        assert entries(tmp_path) == ["set.partial"]
        with pytest.raises(DcganError, match="not finished"):
            PackedImages.open(tmp_path / "set")
    assert entries(tmp_path) == ["set"]
    assert entries(tmp_path / "set") == ["dataset.json", "held_out.npy", "images.npy"]


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_a_failure_leaves_nothing(tmp_path: Path, error: type[BaseException]) -> None:
    with pytest.raises(error), PackedWriter(tmp_path / "set", 4, 3) as writer:  # noqa: PT012
        writer.append(IMAGES)
        raise error
    assert entries(tmp_path) == []


def test_no_images_are_no_data_set(tmp_path: Path) -> None:
    with pytest.raises(DcganError, match="no image"), PackedWriter(tmp_path / "set", 4, 3):
        pass
    assert entries(tmp_path) == []


def test_memory_does_not_grow_with_the_set(tmp_path: Path) -> None:
    images = np.zeros((64, 32, 32, 3), np.uint8)
    with PackedWriter(tmp_path / "set", 32, 3, file_bytes=images.nbytes * 10) as writer:
        tracemalloc.start()
        for _ in range(100):
            writer.append(images)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert writer.count == 6400
    assert peak < 2 * images.nbytes, "of 100 times that in all"


def test_what_a_killed_process_left_is_cleared(tmp_path: Path) -> None:
    (tmp_path / "set.partial").mkdir()
    (tmp_path / "set.partial" / "images-007.npy").write_bytes(b"old")
    with PackedWriter(tmp_path / "set", 4, 3) as writer:
        writer.append(IMAGES)
    assert entries(tmp_path / "set") == ["dataset.json", "held_out.npy", "images.npy"]


def test_only_an_empty_folder_is_replaced(tmp_path: Path) -> None:
    taken = tmp_path / "taken"
    taken.mkdir()
    with PackedWriter(taken, 4, 3) as writer:
        writer.append(IMAGES)
    before = (taken / "dataset.json").read_bytes()
    with pytest.raises(DcganError, match="already exists"), PackedWriter(taken, 4, 3):
        pass
    assert (taken / "dataset.json").read_bytes() == before
    (tmp_path / "file").write_text("mine")
    with pytest.raises(DcganError, match="already exists"), PackedWriter(tmp_path / "file", 4, 3):
        pass
    assert entries(tmp_path) == ["file", "taken"]


def test_two_writers_do_not_mix(tmp_path: Path) -> None:
    with PackedWriter(tmp_path / "set", 4, 3) as writer:
        with pytest.raises(BusyError, match="another process is preparing"), PackedWriter(tmp_path / "set", 4, 3):
            pass
        writer.append(IMAGES)
    np.testing.assert_array_equal(PackedImages.open(tmp_path / "set").read(range(5)), IMAGES)


@pytest.fixture
def file_limit() -> Iterator[int]:
    """Let no file grow past 40,000 bytes: to a program this is a full disk in all but the error's number."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, hard))
    yield 40_000
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_full_disk_is_one_clear_error(tmp_path: Path, file_limit: int) -> None:
    images = np.zeros((file_limit // 48 + 1, 4, 4, 3), np.uint8)
    with pytest.raises(DcganError, match=r"cannot write .*set"), PackedWriter(tmp_path / "set", 4, 3) as writer:
        writer.append(images)
    assert entries(tmp_path) == []


def test_an_unwritable_place_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DcganError, match="cannot write"), PackedWriter(tmp_path / "file" / "set", 4, 3):
        pass


@pytest.mark.parametrize(
    ("count", "share", "held_out"), [(499, 0.05, 0), (500, 0.05, 25), (600, 0.0, 0), (600, 0.5, 300)]
)
def test_a_seeded_share_is_held_out(tmp_path: Path, count: int, share: float, held_out: int) -> None:
    indices = []
    for name, seed in (("one", 3), ("same", 3), ("other", 4)):
        with PackedWriter(tmp_path / name, 1, 1, held_out=share, seed=seed) as writer:
            writer.append(np.zeros((count, 1, 1, 1), np.uint8))
        indices.append(PackedImages.open(tmp_path / name).held_out_indices)
    assert [len(set(chosen)) for chosen in indices] == [held_out] * 3
    assert all((np.diff(chosen) > 0).all() for chosen in indices)
    np.testing.assert_array_equal(indices[0], indices[1])
    assert not held_out or set(indices[0]) != set(indices[2])


def test_the_choice_of_held_out_images_never_changes(tmp_path: Path) -> None:
    """Checkpoints of earlier versions trained on the others: these numbers are for ever."""
    with PackedWriter(tmp_path / "set", 1, 1, held_out=0.01) as writer:
        writer.append(np.zeros((500, 1, 1, 1), np.uint8))
    assert PackedImages.open(tmp_path / "set").held_out_indices.tolist() == [11, 150, 196, 269, 403]


def test_an_official_partition_takes_the_place_of_the_share(tmp_path: Path) -> None:
    marks = np.array([0, 1, 0, 0, 1], bool)
    with PackedWriter(tmp_path / "set", 4, 3) as writer:
        writer.append(IMAGES, held_out=marks)
        writer.append(IMAGES, held_out=~marks)
    packed = PackedImages.open(tmp_path / "set")
    assert packed.held_out_indices.tolist() == [1, 4, 5, 7, 8]
    assert packed.manifest["held_out"] == {"rule": "official partition", "count": 5}
