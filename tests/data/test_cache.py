from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from dcgan.config import PrepareConfig
from dcgan.data import PackedImages, PackedWriter, cache, open_data, prepare
from dcgan.errors import DcganError

MakeImage = Callable[..., bytes]
WriteTree = Callable[[str, Mapping[str, bytes]], Path]


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DCGAN_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The sources that were prepared."""
    found: list[str] = []

    def counted(config: PrepareConfig) -> PackedImages:
        found.append(config.source)
        return prepare(config)

    monkeypatch.setattr(cache, "prepare", counted)
    return found


@pytest.mark.parametrize("name", ["photos", "photos.zip", "photos.tar"])
def test_a_source_is_packed_once_until_it_changes(
    write_tree: WriteTree,
    make_image: MakeImage,
    calls: list[str],
    home: Path,
    capsys: pytest.CaptureFixture[str],
    name: str,
) -> None:
    path = write_tree(name, {"1.png": make_image(1), "2.png": make_image(2)})
    first = open_data(str(path), size=8)
    assert f"preparing {path} into {first.path}, once" in capsys.readouterr().err
    assert first.path.parent == home
    assert open_data(str(path), size=8).path == first.path
    assert capsys.readouterr().err == ""
    assert calls == [str(path)]
    for settings in ({"size": 16}, {"size": 8, "channels": 1}, {"size": 8, "crop": "none"}):
        assert open_data(str(path), **settings).path != first.path
    assert len(calls) == 4

    write_tree(name, {"1.png": make_image(1), "2.png": make_image(3)})
    changed = path / "2.png" if path.is_dir() else path
    os.utime(changed, ns=(1, 1))
    second = open_data(str(path), size=8)
    assert second.digest != first.digest
    assert len(calls) == 5


def test_sizes_default_to_64_in_colour_or_what_is_packed(
    write_tree: WriteTree, make_image: MakeImage, tmp_path: Path
) -> None:
    path = write_tree("photos", {"1.png": make_image(1)})
    raw = open_data(str(path))
    assert (raw.size, raw.channels) == (64, 3)
    prepare(PrepareConfig(source=str(path), out=str(tmp_path / "packed"), size=8, channels=1))
    ready = open_data(str(tmp_path / "packed"))
    assert (ready.size, ready.channels, ready.path) == (8, 1, tmp_path / "packed")
    assert open_data(str(tmp_path / "packed"), size=8, channels=1).digest == ready.digest
    with pytest.raises(DcganError, match=r"packed with size 8, not 64: give --size 8, or prepare it again"):
        open_data(str(tmp_path / "packed"), size=64)
    with pytest.raises(DcganError, match=r"packed with channels 1, not 3: give --channels 1"):
        open_data(str(tmp_path / "packed"), channels=3)


def test_toy_is_drawn_once(calls: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(PrepareConfig, "__init__", small_toy(PrepareConfig.__init__))
    assert open_data("toy", size=16).digest == open_data("toy", size=16).digest
    assert calls == ["toy"]


def small_toy(initialise: Callable[..., None]) -> Callable[..., None]:
    return lambda self, **settings: initialise(self, **{**settings, "count": 3, "workers": 1})


def test_what_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DcganError, match="does not exist"):
        open_data(str(tmp_path / "nothing"))
    (tmp_path / "set.partial").mkdir()
    for name in ("set", "set.partial"):
        with pytest.raises(DcganError, match="not finished"):
            open_data(str(tmp_path / name))


def test_a_second_process_waits_for_the_first(
    write_tree: WriteTree, make_image: MakeImage, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_tree("photos", {"1.png": make_image(1)})
    expected = open_data(str(path), size=8)
    moved = expected.path.rename(home / "moved")
    writer = PackedWriter(expected.path, 8, 3)
    writer.__enter__()  # as another rank of the same training would
    writer.append(PackedImages.open(moved).read([0]))
    finished = threading.Timer(0.3, lambda: writer.__exit__(None, None, None))
    monkeypatch.setattr(cache.time, "sleep", lambda _: finished.join())
    finished.start()
    assert open_data(str(path), size=8).digest == expected.digest
