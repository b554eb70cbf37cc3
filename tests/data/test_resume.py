"""Going on after a kill, packing in parts, and reusing an earlier set: all give the very files of one job."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dcgan.config import MergeConfig, PrepareConfig
from dcgan.data import PackedImages, PackedWriter, merge, pack, prepare, writer
from dcgan.errors import DcganError

MakeImage = Callable[..., bytes]
WriteTree = Callable[[str, Mapping[str, bytes]], Path]


def packed(source: Path | str, out: Path, **settings: Any) -> PackedImages:
    return prepare(PrepareConfig(source=str(source), out=str(out), **{"size": 8, "workers": 1, **settings}))


def joined(out: Path, *parts: PackedImages) -> PackedImages:
    return merge(MergeConfig(out=str(out), parts=tuple(str(part.path) for part in parts)))


def contents(packed: PackedImages) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in packed.path.iterdir()}


@pytest.fixture(autouse=True)
def small_files(monkeypatch: pytest.MonkeyPatch) -> None:
    """Several files of 20 small images each, chunks of five, and a commit after each."""
    monkeypatch.setattr(writer, "FILE_BYTES", 20 * 8 * 8 * 3)
    monkeypatch.setattr(pack, "CHUNK", 5)
    monkeypatch.setattr(writer, "SECONDS_BETWEEN_COMMITS", 0)


@pytest.fixture
def celeba(write_tree: WriteTree, make_image: MakeImage) -> Path:
    """CelebA's files with all annotations, some images broken, one missing from the landmarks."""
    names = [f"{number:06}.png" for number in range(1, 41)]
    files = {f"img_align_celeba/{name}": make_image(number, 20, 24) for number, name in enumerate(names)}
    files |= {f"img_align_celeba/{names[i]}": b"broken" for i in (3, 17, 39)}
    files["img_align_celeba/readme.md"] = b"hello"
    points = ("lefteye", "righteye", "nose", "leftmouth", "rightmouth")
    header = " ".join(f"{point}_{axis}" for point in points for axis in "xy")
    tables = {
        "list_attr_celeba.txt": ["40", "Smiling", *(f"{name} {(-1) ** i}" for i, name in enumerate(names))],
        "list_eval_partition.txt": [f"{name} {i % 3}" for i, name in enumerate(names)],
        "list_landmarks_align_celeba.txt": [
            "39", header, *(f"{name} {i} 109 106 113 77 142 73 152 108 154" for i, name in enumerate(names[1:]))
        ],
    }  # fmt: skip
    return write_tree("CelebA.tar", files | {name: "\n".join(rows).encode() for name, rows in tables.items()})


@pytest.fixture
def classes(write_tree: WriteTree, make_image: MakeImage) -> Path:
    """A folder with two classes."""
    return write_tree("photos", {f"{'ab'[i > 20]}/{i:02}.png": make_image(i, 9, 9) for i in range(33)})


class StoppedError(Exception):
    """Stands for whatever ends a job before its end."""


def stop_after(monkeypatch: pytest.MonkeyPatch, appends: int) -> None:
    """End the writer's work in the append after the first `appends`."""
    append, done = PackedWriter.append, [0]

    def counting(self: PackedWriter, *arguments: Any) -> None:
        if done[0] == appends:
            raise StoppedError
        done[0] += 1
        append(self, *arguments)

    monkeypatch.setattr(PackedWriter, "append", counting)


@pytest.mark.parametrize("appends", [1, 2, 5])
@pytest.mark.parametrize("source", ["celeba", "classes", "toy"])
def test_a_stopped_job_goes_on_and_ends_with_the_very_files(
    source: str, appends: int, request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = "toy" if source == "toy" else request.getfixturevalue(source)
    settings = {"count": 40, "size": 16} if source == "toy" else {}
    whole = packed(path, tmp_path / "whole" / "set", **settings)
    with monkeypatch.context() as patch:
        stop_after(patch, appends)
        with pytest.raises(StoppedError):
            packed(path, tmp_path / "set", **settings)
    decoded: list[int] = []
    name = "_draw_chunk" if source == "toy" else "_decode_chunk"
    work = getattr(pack, name)
    monkeypatch.setattr(pack, name, lambda config, jobs: decoded.append(len(jobs)) or work(config, jobs))
    again = packed(path, tmp_path / "set", **settings)
    files = 33 if source == "classes" else 40
    assert sum(decoded) == files - 5 * appends, "nothing is decoded twice"
    assert contents(again) == contents(whole)
    assert not (tmp_path / "set.partial").exists()


KILLED = """
import os, signal, sys
from dcgan.config import PrepareConfig
from dcgan.data import PackedWriter, pack, prepare, writer
pack.CHUNK, writer.FILE_BYTES, writer.SECONDS_BETWEEN_COMMITS = 5, 20 * 8 * 8 * 3, 0
append, done = PackedWriter.append, []
def counting(self, *arguments):
    append(self, *arguments)
    done.append(0)
    if len(done) == 3:
        self._images.append(arguments[0])  # half of the next: written, and never committed
        self._images._file.flush()
        os.kill(os.getpid(), signal.SIGKILL)
PackedWriter.append = counting
if __name__ == "__main__":
    prepare(PrepareConfig(source="toy", out=sys.argv[1], size=16, count=40, workers=1))
"""


def test_kill_9_in_the_middle_of_a_write_loses_nothing_but_that_write(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(KILLED)
    result = subprocess.run([sys.executable, str(script), str(tmp_path / "set")], timeout=60, check=False)
    assert result.returncode == -signal.SIGKILL
    assert (tmp_path / "set.partial" / "labels.npy").stat().st_size > 0
    again = packed("toy", tmp_path / "set", size=16, count=40)
    assert contents(again) == contents(packed("toy", tmp_path / "whole", size=16, count=40, workers=1))


def interrupted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: Path, **settings: Any) -> Path:
    with monkeypatch.context() as patch:
        stop_after(patch, 3)
        with pytest.raises(StoppedError):
            packed(source, tmp_path / "set", **settings)
    return tmp_path / "set.partial"


@pytest.mark.parametrize(
    ("change", "differs"),
    [({"size": 16}, "size"), ({"crop": "none"}, "crop"), ({"part": "1/2"}, "part"), ({"terms": "mine"}, "terms")],
)
def test_other_settings_do_not_go_on_with_it_nor_destroy_it(
    classes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: dict[str, Any], differs: str
) -> None:
    partial = interrupted(tmp_path, monkeypatch, classes)
    before = {path.name: path.read_bytes() for path in partial.iterdir()}
    with pytest.raises(DcganError, match=rf"set.partial is the unfinished work .*\({differs} differs\): remove it"):
        packed(classes, tmp_path / "set", **change)
    assert {path.name: path.read_bytes() for path in partial.iterdir()} == before


def test_a_source_that_changed_since_is_told(
    classes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make_image: MakeImage
) -> None:
    interrupted(tmp_path, monkeypatch, classes)
    (classes / "a" / "000.png").write_bytes(make_image(99, 9, 9))
    with pytest.raises(DcganError, match=r"\(source differs\)"):
        packed(classes, tmp_path / "set")


@pytest.mark.parametrize("name", ["images.npy", "labels.npy", "entries.jsonl", "progress.json"])
@pytest.mark.parametrize("damage", ["flip", "cut", "remove"])
def test_damage_to_unfinished_work_is_told(
    classes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, damage: str
) -> None:
    partial = interrupted(tmp_path, monkeypatch, classes)
    data = bytearray((partial / name).read_bytes())
    if damage == "flip":
        data[-3 if name == "progress.json" else 150] ^= 1
    (partial / name).write_bytes(data[:-40] if damage == "cut" else data)
    if damage == "remove":
        (partial / name).unlink()
        if name == "progress.json":  # then there is nothing to go on from, and it starts anew
            assert len(packed(classes, tmp_path / "set")) == 33
            return
    with pytest.raises(DcganError, match=rf"{name}.* (damaged|missing)"):
        packed(classes, tmp_path / "set")


@pytest.mark.parametrize(
    ("source", "parts"),
    [("celeba", 2), ("celeba", 7), ("classes", 1), ("classes", 3), ("classes", 40), ("toy", 2), ("toy", 7)],
)
def test_parts_join_to_the_very_files_of_one_job(
    source: str, parts: int, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    path = "toy" if source == "toy" else request.getfixturevalue(source)
    settings = {"count": 40, "size": 16} if source == "toy" else {}
    whole = packed(path, tmp_path / "whole" / "set", **settings)
    made = [packed(path, tmp_path / str(i), part=f"{i}/{parts}", **settings) for i in range(1, parts + 1)]
    result = joined(tmp_path / "set", *reversed(made)) if parts > 1 else made[0]
    assert contents(result) == contents(whole)
    assert result.digest == whole.digest
    result.verify()


def test_what_does_not_belong_together_is_told(celeba: Path, classes: Path, tmp_path: Path) -> None:
    def part(name: str, source: Path, number: str, **settings: Any) -> PackedImages:
        return packed(source, tmp_path / name, part=number, **settings)

    one, two, three = (part(str(number), classes, f"{number}/3") for number in (1, 2, 3))
    whole = packed(classes, tmp_path / "whole")
    for error, sets in (
        ("parts are missing: 2/3;", (one, three)),
        ("are both part 2: give one", (one, two, three, two)),
        ("part 2 of 3 of another source", (one, part("foreign", celeba, "2/3"), three)),
        ("part 2 of 2 of another source", (one, part("halves", classes, "2/2"), three)),
        (r"their crop differ \('square' and 'none'\)", (one, part("c", classes, "2/3", crop="none"), three)),
        (r"cannot be joined: their seed differ \(0 and 1\)", (one, part("s", classes, "2/3", seed=1), three)),
        ("is a whole set, and .* a part of one", (one, two, whole)),
        ("their labels differ", (whole, packed(celeba, tmp_path / "other"))),
        ("their size differ", (whole, packed(classes, tmp_path / "16", size=16))),
        ("name the sets to join", ()),
    ):  # fmt: skip
        with pytest.raises(DcganError, match=error):
            joined(tmp_path / "set", *sets)
        assert not (tmp_path / "set").exists()
        assert not (tmp_path / "set.partial").exists()
    images = bytearray((two.path / "images.npy").read_bytes())
    images[-1] ^= 1
    (two.path / "images.npy").write_bytes(images)
    with pytest.raises(DcganError, match=r"2/images.npy is damaged"):
        joined(tmp_path / "set", one, two, three)
    with pytest.raises(DcganError, match="already exists"):
        joined(tmp_path / "whole", one, three)


def test_whole_sets_are_laid_one_after_the_other(
    write_tree: WriteTree, make_image: MakeImage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pack, "CHUNK", 100)
    sources = [write_tree(name, {f"{i:03}.png": make_image(i + at, 9, 9) for i in range(count)})
               for name, at, count in (("new", 0, 300), ("old.zip", 300, 200))]  # fmt: skip
    new, old = (packed(source, tmp_path / f"{source.name}-packed") for source in sources)
    result = joined(tmp_path / "both", new, old)
    np.testing.assert_array_equal(result.read(range(500)), np.concatenate([new.read(range(300)), old.read(range(200))]))
    assert [entry.digest for entry in result.entries()] == [e.digest for s in (new, old) for e in s.entries()]
    assert len(result.held_out_indices) == 25, "both together are enough to hold some out"
    assert result.digest != joined(tmp_path / "swapped", old, new).digest, "their order counts"
    again = packed(sources[0], tmp_path / "again", reuse=str(result.path))
    assert contents(again) == contents(new)


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("source", ["celeba", "classes"])
def test_what_an_earlier_set_holds_is_copied_not_decoded(
    source: str,
    workers: int,
    request: pytest.FixtureRequest,
    tmp_path: Path,
    make_image: MakeImage,
    write_tree: WriteTree,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path: Path = request.getfixturevalue(source)
    old = packed(path, tmp_path / "old")
    if source == "classes":  # before, between and after the old ones; one is changed, one gone, one class new
        write_tree("photos", {name: make_image(77, 9, 9) for name in ("a/0.png", "a/100.png", "b/99.png", "c/1.png")})
        (path / "a" / "03.png").write_bytes(make_image(78, 9, 9))
        (path / "b" / "30.png").unlink()
    fresh = packed(path, tmp_path / "fresh")
    decoded: list[bytes] = []
    decode = pack.decode
    monkeypatch.setattr(pack, "decode", lambda data, *rest: decoded.append(data) or decode(data, *rest))
    reused = packed(path, tmp_path / "reused", reuse=str(old.path), workers=workers)
    assert contents(reused) == contents(fresh)
    if workers == 1:
        assert len(decoded) == (5 if source == "classes" else 0)


def test_what_cannot_be_reused_is_told(classes: Path, tmp_path: Path) -> None:
    old = packed(classes, tmp_path / "old")
    with pytest.raises(DcganError, match=r"old cannot be reused: its crop is square, not none"):
        packed(classes, tmp_path / "new", reuse=str(old.path), crop="none")
    drawn = packed("toy", tmp_path / "drawn", size=16, count=5)
    with pytest.raises(DcganError, match="drawn cannot be reused: it does not tell of its files"):
        packed(classes, tmp_path / "new", reuse=str(drawn.path), size=16)
    with pytest.raises(DcganError, match="drawn anew"):
        packed("toy", tmp_path / "new", reuse=str(drawn.path), size=16)


@pytest.mark.parametrize("part", ["0/2", "3/2", "1", "1/0", "a/b", "-1/2", "1/2/3", ""])
def test_a_part_is_i_of_n(part: str) -> None:
    with pytest.raises(DcganError, match="part must be i/N"):
        PrepareConfig(source="x", out="y", part=part)
