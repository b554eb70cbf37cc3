"""Files are whole or absent, whatever goes wrong while they are written."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path

import pytest
import torch

from dcgan.checkpoint import (
    json_digest,
    load_tensors,
    new_folder,
    read_json,
    remove_left_overs,
    save_tensors,
    tensors_digest,
    write_bytes,
    write_json,
    write_with,
)
from dcgan.errors import DcganError


def left_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    write_bytes(path, b"old")

    def fill_the_disk(temporary: Path) -> None:
        temporary.write_bytes(b"ne")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.raises(DcganError, match=r"a\.txt: No space left on device"):
        write_with(path, fill_the_disk)
    assert path.read_bytes() == b"old"
    assert left_in(tmp_path) == ["a.txt"]


def test_a_failed_folder_leaves_the_old_one_and_nothing_else(tmp_path: Path) -> None:
    with new_folder(tmp_path / "f") as folder:
        (folder / "a").write_text("old")

    def fail() -> None:
        with new_folder(tmp_path / "f") as folder:
            (folder / "a").write_text("new")
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        fail()
    assert (tmp_path / "f" / "a").read_text() == "old"
    assert left_in(tmp_path) == ["f"]


def test_a_new_folder_replaces_the_old_one(tmp_path: Path) -> None:
    for text in ("old", "new"):
        with new_folder(tmp_path / "f") as folder:
            (folder / text).touch()
    assert left_in(tmp_path / "f") == ["new"]


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DcganError, match=r"cannot write .*file"):
        write_json(tmp_path / "file" / "a.json", {})


def test_json_that_is_cut_short_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('{"a": ')
    with pytest.raises(DcganError, match=r"a\.json is damaged"):
        read_json(tmp_path / "a.json")
    with pytest.raises(DcganError, match="cannot read"):
        read_json(tmp_path / "b.json")


def test_tensors_come_back_to_the_bit_in_any_layout(tmp_path: Path) -> None:
    tensors = {
        "channels_last": torch.randn(2, 3, 4, 4).to(memory_format=torch.channels_last),
        "half": torch.randn(5).to(torch.bfloat16),
        "count": torch.tensor(7),
    }
    save_tensors(tmp_path / "t.safetensors", tensors, {"who": "me"})
    back, metadata = load_tensors(tmp_path / "t.safetensors")
    assert metadata == {"who": "me"}
    assert all(torch.equal(back[name], tensor) for name, tensor in tensors.items())
    assert tensors_digest(back, {}) == tensors_digest(tensors, {})


def test_the_digest_sees_names_types_shapes_values_and_settings() -> None:
    value = torch.arange(4, dtype=torch.float32)
    variants = [
        ({"a": value}, {}),
        ({"b": value}, {}),
        ({"a": value.view(torch.int32)}, {}),
        ({"a": value.reshape(2, 2)}, {}),
        ({"a": value + 1}, {}),
        ({"a": value}, {"size": 1}),
    ]
    assert len({tensors_digest(tensors, settings) for tensors, settings in variants}) == len(variants)


def test_the_digest_of_json_is_that_of_its_values() -> None:
    assert json_digest({"a": [1, None], "b": 2.5}) == json_digest({"b": 2.5, "a": [1, None]})
    assert json_digest({"a": 1}) != json_digest({"a": 1.0})
    # Data sets and checkpoints are known by it: it must stay what it is.
    assert json_digest({}) == "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"


def test_what_a_killed_writer_left_is_removed_and_nothing_else(tmp_path: Path) -> None:
    class Killed(BaseException):
        """After which nothing is tidied up."""

    def fail(_: object) -> None:
        raise Killed

    def fail_in_folder() -> None:
        with new_folder(tmp_path / "00000005") as folder:
            (folder / "state.json").touch()
            raise Killed

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Path, "unlink", lambda self, missing_ok=False: None)
        patch.setattr(shutil, "rmtree", lambda path, ignore_errors=False: None)
        for name in ("kimg-000000.040.png", "model.safetensors", "bare"):
            with pytest.raises(Killed):
                write_with(tmp_path / name, fail)
        with pytest.raises(Killed):
            fail_in_folder()
    assert len(left_in(tmp_path)) == 4
    others = [".DS_Store", ".lock", ".nfs000000000001", ".notes.txt", "model.safetensors", ".kimg.png.abcdefgh.txt"]
    for name in others:
        (tmp_path / name).touch()
    remove_left_overs(tmp_path)
    assert left_in(tmp_path) == sorted(others)
