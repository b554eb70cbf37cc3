"""Images: no level is lost between bytes and [-1, 1], and grids keep every pixel."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from dcgan.errors import DcganError
from dcgan.images import make_grid, save_image, to_pixels, to_signed


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_every_level_survives_the_round_trip(channels: int) -> None:
    pixels = np.broadcast_to(np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1), (1, 16, 16, channels)).copy()
    signed = to_signed(torch.from_numpy(pixels))
    assert (signed.min().item(), signed.max().item()) == (-1.0, 1.0)
    assert np.array_equal(to_pixels(signed), pixels)


def test_values_outside_are_clipped_and_others_rounded() -> None:
    assert to_pixels(torch.tensor([-3.0, 0.0, 3.0]).reshape(1, 1, 1, 3)).flatten().tolist() == [0, 128, 255]


@pytest.mark.parametrize(("count", "columns"), [(1, None), (5, None), (6, 3), (7, 2), (64, None)])
def test_a_grid_holds_each_image_in_reading_order(count: int, columns: int | None) -> None:
    pixels = noise(count, 5, 4, 3)
    grid = make_grid(pixels, columns, gap=2)
    across = (grid.shape[1] + 2) // 6
    for i, image in enumerate(pixels):
        row, column = divmod(i, across)
        assert np.array_equal(grid[row * 7 : row * 7 + 5, column * 6 : column * 6 + 4], image)


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("ending", ["png", "webp"])
def test_lossless_files_give_the_pixels_back(tmp_path: Path, ending: str, channels: int) -> None:
    pixels = noise(8, 8, channels)
    pixels[..., channels - 1] |= 1 if channels in (2, 4) else 0  # webp may drop colour under alpha 0
    save_image(tmp_path / f"a.{ending}", pixels)
    with Image.open(tmp_path / f"a.{ending}") as image:
        back = np.asarray(image.convert({1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}[channels])).reshape(8, 8, channels)
    assert np.array_equal(back, pixels)


def test_a_png_says_where_it_comes_from(tmp_path: Path) -> None:
    save_image(tmp_path / "a.png", noise(4, 4, 3), about="synthetic")
    with Image.open(tmp_path / "a.png") as image:
        assert image.info["Description"] == "synthetic"


def test_an_unknown_ending_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DcganError, match="must end in"):
        save_image(tmp_path / "a.tiff", noise(4, 4, 3))
