"""Walks as animations and film strips."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dcgan.cli import main
from dcgan.config import InterpolateConfig
from dcgan.errors import DcganError
from dcgan.explore.interpolate import film_strip, interpolate
from dcgan.explore.latents import walk
from dcgan.models import Generator


def test_a_film_strip_shows_each_step_from_face_to_face(model: Path, tmp_path: Path) -> None:
    out = tmp_path / "strip.png"
    written = interpolate(InterpolateConfig(model=str(model), seeds="3,1,2", frames=4, out=str(out)))
    assert (written.frames, written.spherical) == (9, True)
    generator = Generator.from_pretrained(model)
    path = generator.render(walk(generator.latents([3, 1, 2]), 4))
    with Image.open(out) as image:
        assert np.array_equal(np.asarray(image), film_strip(path, ["seed 3", "seed 1", "seed 2"], 4))
        right = np.asarray(image)[:, -32:]
    assert np.array_equal(right[:32], generator.sample([1])[0])
    assert np.array_equal(right[34:], generator.sample([2])[0])


def test_pictures_at_the_keys_are_the_seeds_own(model: Path) -> None:
    generator = Generator.from_pretrained(model)
    path = generator.render(walk(generator.latents([5, 6, 7]), 10, loop=True))
    assert np.array_equal(path[::10], generator.sample([5, 6, 7]))


@pytest.mark.parametrize("kind", ["webp", "gif"])
def test_an_animation_lasts_as_long_as_its_frames(model: Path, tmp_path: Path, kind: str) -> None:
    out = tmp_path / f"walk.{kind}"
    assert main(["interpolate", str(model), "--seeds", "0-2", "--frames", "5", "--loop", "--out", str(out)]) == 0
    with Image.open(out) as image:
        assert (image.size, image.info["loop"]) == ((32, 32), 0)
        durations = []
        for number in range(image.n_frames):  # type: ignore[attr-defined]
            image.seek(number)
            image.load()
            durations.append(image.info["duration"])
    # WebP shows frames that it cannot tell apart as one, for as long; GIF counts in hundredths of a second.
    assert sum(durations) == 15 * {"webp": 33, "gif": 30}[kind]


def test_uniform_latents_are_joined_by_lines_within_their_cube(
    make_model: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model, out = make_model(latent="uniform"), tmp_path / "strip.png"
    assert main(["interpolate", str(model), "--seeds", "0-2", "--loop", "--out", str(out)]) == 0
    assert "in straight lines" in capsys.readouterr().out
    generator = Generator.from_pretrained(model)
    path = walk(generator.latents(range(3)), 8, loop=True, spherical=False).clamp(-1, 1)
    with Image.open(out) as image:
        expected = film_strip(generator.render(path), [f"seed {i}" for i in range(3)], 8)
        assert np.array_equal(np.asarray(image), expected)
    assert main(["interpolate", str(model), "--spherical", "--out", str(out)]) == 0
    assert "on the sphere" in capsys.readouterr().out


def test_mistakes_are_told_in_one_line(model: Path, told: Callable[..., str], tmp_path: Path) -> None:
    assert "at least two" in told("interpolate", model, "--seeds", "1", "--out", tmp_path / "a.png")
    assert "must end in .gif, .webp, .mp4" in told("interpolate", model, "--out", tmp_path / "a.avi")
    assert "pass 2**63 - 1" in told("interpolate", model, "--seeds", f"1,{2**63}")
    assert "does not exist" in told("interpolate", model, "--latents", tmp_path / "none.safetensors")
    assert not list(tmp_path.iterdir())
    with pytest.raises(DcganError, match="spherical or linear, not both"):
        InterpolateConfig(model=str(model), spherical=True, linear=True)
