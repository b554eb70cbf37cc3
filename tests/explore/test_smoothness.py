"""Smoothness: generators of known evenness."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch
from PIL import Image
from torch import Tensor

from dcgan.cli import main
from dcgan.config import ModelConfig
from dcgan.draws import generator_for
from dcgan.explore.smoothness import coordinates_sheet, feature_distance, path_lengths, step_lengths
from dcgan.images import to_pixels
from dcgan.models import Discriminator, Generator

CONFIG = ModelConfig(size=32, latent_size=8, latent="uniform", generator_width=1)


class Linear(Generator):
    """Images that are linear in z: every walk is perfectly even."""

    def forward(self, latents: Tensor) -> Tensor:
        return latents.mean(1).reshape(-1, 1, 1, 1).expand(-1, 3, 32, 32)


class Memoriser(Generator):
    """One of eight learned images, whichever is nearest: the opposite of a smooth generator."""

    def forward(self, latents: Tensor) -> Tensor:
        learned = torch.rand(8, 3, 32, 32, generator=generator_for(0, "learned", 0)) * 2 - 1
        return learned[latents.abs().argmax(1)]


def longest(generator: Generator) -> npt.NDArray[np.float32]:
    steps = step_lengths(generator, walks=20, frames=16)
    return (steps.max(1).values / steps.mean(1).clamp_min(1e-6)).numpy()


def test_even_walks_have_no_longest_step_and_jumps_are_seen(drawn_world: object) -> None:
    even, smooth, jumping = longest(Linear(CONFIG)), longest(drawn_world.generator), longest(Memoriser(CONFIG))  # type: ignore[attr-defined]
    assert np.median(even) < 1.6  # 8-bit levels are all that is uneven
    assert np.median(smooth) < 4
    assert (jumping[jumping > 0] >= 16 / 7).all()  # at most eight images, so at most seven jumps
    assert np.median(jumping) > np.quantile(smooth, 0.9)


def test_the_path_length_of_a_linear_generator_is_its_slope() -> None:
    from dcgan.explore.smoothness import _ends

    generator, discriminator = Linear(CONFIG), Discriminator(CONFIG).eval()
    starts, ends = _ends(generator, 50, 0)
    _, pixels = path_lengths(generator, discriminator, count=50, seed=0)
    assert pixels == pytest.approx((ends - starts).mean(1).square().mean().item(), rel=0.01)


def test_feature_distance_is_zero_for_equal_images_and_blind_to_nothing(drawn_world: object) -> None:
    discriminator = drawn_world.discriminator  # type: ignore[attr-defined]
    images = torch.rand(4, 3, 32, 32, generator=generator_for(0, "images", 0)) * 2 - 1
    assert feature_distance(discriminator, images, images).abs().max() == 0
    assert (feature_distance(discriminator, images, images.flip(0)) > 0.01).all()


def test_a_coordinates_row_changes_that_coordinate_alone(model: Path) -> None:
    generator = Generator.from_pretrained(model)
    latents = generator.latents([0])
    latents[0, 5] = -3.0
    expected = to_pixels(generator(torch.cat([latents] * 2)))[0]
    picture = coordinates_sheet(generator, [5], steps=3)
    left = picture.shape[1] - 3 * 34 + 2
    assert np.abs(picture[-32:, left : left + 32].astype(int) - expected).max() <= 1


def test_figures_and_sheets_are_written_and_repeat(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], told: Callable[..., str]
) -> None:
    for name in "ab":
        command = ["smoothness", str(model), "--walks", "5", "--frames", "4", "--coordinates", "0,7"]
        assert main([*command, "--out", str(tmp_path / name)]) == 0
    for file in ("figures.json", "walks.png", "coordinates.png"):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()
    figures = json.loads((tmp_path / "a" / "figures.json").read_text())
    assert figures["model"] == Generator.from_pretrained(model).about["digest"]
    assert figures["longest_step_median"] <= figures["longest_step_p95"] <= figures["longest_step_max"] <= 4
    assert "path length" in capsys.readouterr().out
    with Image.open(tmp_path / "a" / "walks.png") as image:
        assert image.height == 4 * 34 - 2
    assert "coordinate 8 is not in z" in told("smoothness", model, "--coordinates", "0-8", "--out", tmp_path / "c")
