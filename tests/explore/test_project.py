"""Projection: the model's own images come back, and whatever is a picture goes in."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors import safe_open

from dcgan.cli import main
from dcgan.config import PrepareConfig
from dcgan.data import prepare
from dcgan.errors import DcganError
from dcgan.explore.files import read_latents
from dcgan.explore.project import STAGES, Distance, error, find_latents, read_images
from dcgan.models import Discriminator, Generator

QUICK = {"steps": 120, "starts": 2, "candidates": 64}


def test_own_samples_come_back_nearly_exactly(drawn_world: Any) -> None:
    own = drawn_world.generator.sample(range(500, 506))
    found = find_latents(drawn_world.generator, drawn_world.discriminator, own, prior=0.0, **QUICK)
    assert found.errors.max() < 1.5  # of 255 levels; rounding alone is 0.3
    again = drawn_world.generator.render(found.latents)
    assert np.array_equal(error(again, own), found.errors)


def test_each_stage_is_nearer_and_the_end_far_nearer_than_any_sample(drawn_world: Any) -> None:
    images = drawn_world.images[:4]
    found = find_latents(drawn_world.generator, drawn_world.discriminator, images, **QUICK)
    errors = [error(drawn_world.generator.render(stage), images).mean() for stage in found.stages]
    assert len(errors) == len(STAGES)
    assert errors[0] > errors[1] > errors[3]
    assert errors[0] > errors[2] >= errors[3] - 0.5
    samples = drawn_world.generator.sample(range(200))
    nearest = [min(error(samples, np.broadcast_to(image, samples.shape))) for image in images]
    assert (found.errors < 0.8 * np.array(nearest)).all()


def test_an_image_is_found_at_the_same_place_in_any_company(drawn_world: Any) -> None:
    images = drawn_world.generator.sample(range(500, 503))
    together, alone = (
        find_latents(drawn_world.generator, drawn_world.discriminator, part, **QUICK) for part in (images, images[1:2])
    )
    torch.testing.assert_close(together.latents[1:2], alone.latents, atol=0.05, rtol=0)


def test_the_search_can_be_watched_and_ended(drawn_world: Any) -> None:
    own = drawn_world.generator.sample([500])
    seen: list[tuple[int, int]] = []

    def watch(done: int, total: int, latents: torch.Tensor) -> None:
        assert latents.shape[1] == drawn_world.generator.config.latent_size
        seen.append((done, total))
        if len(seen) == 30:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        find_latents(drawn_world.generator, drawn_world.discriminator, own, watch=watch, **QUICK)
    assert seen == [(done, 120 // 8 + 120) for done in range(1, 31)]
    unwatched = find_latents(drawn_world.generator, drawn_world.discriminator, own, **QUICK)
    watched = find_latents(drawn_world.generator, drawn_world.discriminator, own, watch=lambda *_: None, **QUICK)
    assert torch.equal(watched.latents, unwatched.latents)


def test_images_of_another_size_are_refused(drawn_world: Any) -> None:
    for images in (np.zeros((0, 32, 32, 3), np.uint8), np.zeros((1, 64, 64, 3), np.uint8)):
        with pytest.raises(DcganError, match="must be N x 32 x 32 x 3, not"):
            find_latents(drawn_world.generator, drawn_world.discriminator, images)


def test_uniform_latents_stay_within_their_cube(make_model: Callable[..., Path]) -> None:
    model = make_model(latent="uniform")
    generator, discriminator = Generator.from_pretrained(model), Discriminator.from_pretrained(model)
    white = np.full((1, 32, 32, 3), 255, np.uint8)  # beyond what any latent gives
    found = find_latents(generator, discriminator, white, steps=40, starts=1, candidates=32)
    assert found.latents.abs().max() == 1


def test_the_prior_keeps_the_usual_norm(make_model: Callable[..., Path]) -> None:
    model = make_model()
    generator, discriminator = Generator.from_pretrained(model), Discriminator.from_pretrained(model)
    white = np.full((1, 32, 32, 3), 255, np.uint8)
    norms = []
    for prior in (0.0, 1e4):
        found = find_latents(generator, discriminator, white, steps=60, starts=1, candidates=32, prior=prior)
        norms.append(found.latents.norm().item())
    assert norms[1] == pytest.approx(8**0.5, rel=0.02)
    assert norms[0] > 2 * norms[1]


def test_distances_between_all_pairs_agree_with_those_of_pairs(drawn_world: Any) -> None:
    images = torch.rand(5, 3, 32, 32) * 2 - 1
    with torch.no_grad():
        distance = Distance(drawn_world.discriminator, images, 0.7)
        described = distance.describe(images)
        pairs = distance.between(described, described)
        torch.testing.assert_close(pairs.diagonal(), torch.zeros(5), atol=1e-4, rtol=0)
        swapped = distance(described, [layer.flip(0) for layer in described])
    torch.testing.assert_close(pairs.flip(1).diagonal(), swapped, atol=1e-4, rtol=1e-4)
    # Random samples lie a distance of 1 apart in pixels, and in features.
    apart = pairs[~torch.eye(5, dtype=torch.bool)].mean()
    torch.testing.assert_close(apart, torch.tensor(1.7), atol=0.01, rtol=0)


def test_images_go_through_the_same_preparation_as_training_data(model: Path, tmp_path: Path) -> None:
    folder = tmp_path / "faces"
    folder.mkdir()
    noise = np.random.default_rng(0).integers(0, 256, (6, 5, 4), dtype=np.uint8)
    picture = Image.fromarray(noise).resize((90, 61), Image.Resampling.BICUBIC)
    picture.save(folder / "a.png")  # with alpha
    picture.convert("CMYK").save(folder / "b.jpg")
    picture.convert("L").resize((33, 200)).save(folder / "c.webp", lossless=True)
    turned = picture.convert("RGB")
    turned.getexif()[0x0112] = 6
    turned.save(folder / "d.jpg", exif=turned.getexif())
    with zipfile.ZipFile(tmp_path / "faces.zip", "w") as archive:
        for file in folder.iterdir():
            archive.write(file, file.name)
    packed = prepare(PrepareConfig(source=str(folder), out=str(tmp_path / "packed"), size=32, workers=1))
    generator = Generator.from_pretrained(model)
    for source in ([str(file) for file in sorted(folder.iterdir())], [str(folder)], [str(tmp_path / "faces.zip")]):
        names, images = read_images(source, generator)
        assert names == ["a.png", "b.jpg", "c.webp", "d.jpg"]
        assert np.array_equal(images, packed.read(range(4)))


def test_what_is_no_image_is_named(
    model: Path, make_model: Callable[..., Path], tmp_path: Path, told: Callable[..., str]
) -> None:
    (tmp_path / "text.png").write_text("no image")
    assert "text.png cannot be used: not an image" in told("project", model, tmp_path / "text.png")
    assert "none.png cannot be used: unreadable" in told("project", model, tmp_path / "none.png")
    (tmp_path / "empty").mkdir()
    assert "there is no image in" in told("project", model, tmp_path / "empty")
    with pytest.raises(DcganError, match="have 4 channels"):
        read_images([str(tmp_path / "text.png")], Generator.from_pretrained(make_model(channels=4)))


def test_projected_faces_are_saved_shown_and_can_be_walked_between(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    generator = Generator.from_pretrained(model)
    for seed, pixels in zip((7, 8), generator.sample([7, 8]), strict=True):
        Image.fromarray(pixels).save(tmp_path / f"{seed}.png")
    out = tmp_path / "found.safetensors"
    command = ["project", str(model), str(tmp_path / "7.png"), str(tmp_path / "8.png"), "--out", str(out)]
    assert main([*command, "--steps", "100", "--candidates", "64", "--own-samples", "2", "--prior", "0"]) == 0
    said = capsys.readouterr().out
    assert "7.png: " in said
    assert "the model's own samples: median" in said
    latents, names = read_latents(out, generator)
    assert names == ["7.png", "8.png"]
    assert latents.shape == (2, 8)
    with safe_open(out, framework="np") as file:
        about = json.loads(file.metadata()["dcgan"])
    assert len(about["errors"]) == len(about["own_errors"]) == 2
    with Image.open(tmp_path / "found.png") as image:
        rows = np.asarray(image)[-4 * 34 + 2 :]
    assert np.array_equal(rows[:32, -32 * 5 - 8 : -32 * 4 - 8], generator.sample([7])[0])
    assert np.array_equal(rows[34:66, -32:], generator.render(latents)[1])
    walk = ["interpolate", str(model), "--latents", str(out), "--out", str(tmp_path / "walk.png")]
    assert main(walk) == 0
