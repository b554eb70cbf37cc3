"""Nearest images: the image itself comes first, and the picture holds what was found."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from dcgan.cli import main
from dcgan.config import ModelConfig, NearestConfig
from dcgan.data import PackedImages
from dcgan.draws import generator_for
from dcgan.errors import DcganError
from dcgan.images import save_image
from dcgan.model_file import save_model
from dcgan.models import Discriminator, Generator
from dcgan.represent.activations import features
from dcgan.represent.nearest import nearest, search


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    config = ModelConfig(size=32, discriminator_width=4, generator_width=4, latent_size=4)
    draws = generator_for(0, "weights", 0)
    networks = [Generator(config).initialize(draws), Discriminator(config).initialize(draws)]
    path = tmp_path_factory.mktemp("model") / "model.safetensors"
    save_model(path, config, {network.role: network.state_dict() for network in networks}, {})
    return path


def test_search_finds_what_a_plain_sort_finds(
    model: Path, faces32: PackedImages, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(search.__globals__, "_CHUNK", 7)
    network = Discriminator.from_pretrained(model)
    best, places = search(network, faces32.read([5, 17]), faces32, 4)
    assert places[:, 0].tolist() == [5, 17]
    torch.testing.assert_close(best[:, 0], torch.ones(2))
    vectors = features(network, faces32.read(range(len(faces32))))
    vectors = vectors - vectors.mean(0)
    expected = torch.nn.functional.cosine_similarity(vectors[5], vectors).sort(descending=True)
    assert torch.equal(places[0], expected.indices[:4])
    torch.testing.assert_close(best[0], expected.values[:4])


def test_the_command_draws_queries_beside_their_neighbours(
    model: Path, faces32: PackedImages, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save_image(tmp_path / "face.png", faces32.read([9])[0])
    out = tmp_path / "nearest.png"
    arguments = ["nearest", str(model), str(tmp_path / "face.png"), str(faces32.path), "--seeds", "0-1", "--count", "3"]
    assert main([*arguments, "--out", str(out)]) == 0
    told = capsys.readouterr().out.splitlines()
    assert told[0].startswith("face.png: 9 (1.00), ")
    assert [line.split(":")[0] for line in told[1:3]] == ["seed 0", "seed 1"]
    picture = np.asarray(Image.open(out))
    face = faces32.read([9])[0].repeat(4, 0).repeat(4, 1)
    first_row = picture[12:140]  # below the titles
    shown = [x for x in range(picture.shape[1] - 127) if np.array_equal(first_row[:, x : x + 128], face)]
    assert len(shown) == 2  # the query, and itself as the first neighbour


def test_more_neighbours_than_images_are_all_of_them(model: Path, faces32: PackedImages, tmp_path: Path) -> None:
    out = str(tmp_path / "n.png")
    found = nearest(
        NearestConfig(model=str(model), images=(str(faces32.path),), seeds="3", count=100, out=out, device="cpu")
    )
    assert sorted(found.indices[0]) == list(range(60))
    assert (np.diff(found.similarities) <= 0).all()


def test_mistakes_are_named(model: Path) -> None:
    with pytest.raises(DcganError, match="give an image and then the data"):
        NearestConfig(model=str(model), images=("toy",))
