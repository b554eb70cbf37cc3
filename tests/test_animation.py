"""Frames to moving pictures."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dcgan.animation import animate, write_animation
from dcgan.errors import DcganError
from dcgan.images import save_image

# Smooth pictures, each of another brightness, that differ by more than any of the formats loses.
FRAMES = (np.arange(5)[:, None, None, None] * 40 + np.arange(20)[:, None] * 2 + np.zeros((20, 1, 3))).astype(np.uint8)


@pytest.mark.parametrize("kind", ["gif", "webp"])
def test_frames_and_durations_are_kept(tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"a.{kind}"
    write_animation(path, FRAMES, fps=20, hold=1.0)
    with Image.open(path) as image:
        assert image.n_frames == len(FRAMES)  # type: ignore[attr-defined]
        assert image.info["loop"] == 0
        durations = []
        for number, frame in enumerate(FRAMES):
            image.seek(number)
            assert np.abs(np.asarray(image.convert("RGB")).astype(int) - frame).mean() < 5
            durations.append(image.info["duration"])
    assert durations == [50] * 4 + [1000]


def test_mp4_holds_every_frame_at_its_rate(tmp_path: Path) -> None:
    av = pytest.importorskip("av", reason="MP4 is optional: pip install av")
    write_animation(tmp_path / "a.mp4", FRAMES[:, :19, :15], fps=20, hold=0.5)
    with av.open(str(tmp_path / "a.mp4")) as file:
        assert file.streams.video[0].average_rate == 20
        frames = [frame.to_ndarray(format="rgb24") for frame in file.decode(video=0)]
    assert len(frames) == len(FRAMES) + 10
    assert frames[0].shape == (20, 16, 3)  # H.264 knows only even sizes
    for frame, expected in zip(frames, FRAMES, strict=False):
        assert np.abs(frame[:19, :15].astype(int) - expected[:19, :15]).mean() < 4


def test_mp4_without_its_library_says_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(DcganError, match="pip install av"):
        write_animation(tmp_path / "a.mp4", FRAMES)
    assert not list(tmp_path.iterdir())


def test_another_ending_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DcganError, match=r"must end in \.gif, \.webp, \.mp4"):
        write_animation(tmp_path / "a.avi", FRAMES)


def test_many_picture_files_are_thinned_and_the_last_one_kept(tmp_path: Path) -> None:
    files = [tmp_path / f"{number:03d}.png" for number in range(250)]
    for number, file in enumerate(files):
        save_image(file, np.full((2, 2, 3), number, np.uint8))
    animate(tmp_path / "a.gif", files)
    with Image.open(tmp_path / "a.gif") as image:
        assert image.n_frames == 84  # type: ignore[attr-defined]  # every third, and the last
        image.seek(image.n_frames - 1)
        assert abs(int(np.asarray(image.convert("RGB"))[0, 0, 0]) - 249) < 5
        assert image.info["duration"] == 2000
