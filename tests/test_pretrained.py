"""The model in the package: it is there, small, whole, and what commands use when no other is named."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dcgan.cli import main
from dcgan.explore.files import beside, read_directions
from dcgan.info import describe
from dcgan.model_file import PRETRAINED, model_file
from dcgan.models import Discriminator, Generator


def test_it_is_whole_small_and_says_what_it_is() -> None:
    assert model_file(PRETRAINED).stat().st_size <= 16_000_000
    told = describe(Path(PRETRAINED), verify=True)
    assert told["kind"] == "model"
    assert "non-commercial" in told["terms"]
    assert told["dataset"]["name"] == "celeba-13k"


def test_both_networks_load_and_the_one_tells_the_others_images_from_noise() -> None:
    generator, discriminator = Generator.from_pretrained(PRETRAINED), Discriminator.from_pretrained(PRETRAINED)
    faces = generator.sample(range(4))
    assert faces.shape == (4, 64, 64, 3)
    assert faces.std() > 40
    assert discriminator.config == generator.config


def test_generate_without_a_model_uses_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["generate", "--seeds", "7", "--grid", str(tmp_path / "face.png")]) == 0
    with Image.open(tmp_path / "face.png") as image:
        assert np.array_equal(np.asarray(image), Generator.from_pretrained(PRETRAINED).sample([7])[0])


def test_what_is_made_for_it_lies_where_we_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["pick", PRETRAINED, "someone", "--seeds", "1,2"]) == 0
    assert (tmp_path / "pretrained.names.json").exists()


def test_it_comes_with_directions() -> None:
    directions = read_directions(beside(PRETRAINED, "directions.safetensors"), Generator.from_pretrained(PRETRAINED))
    assert "smile" in directions
