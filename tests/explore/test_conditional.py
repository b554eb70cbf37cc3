"""The latent tools on a conditional model, whose latents hold codes of labels after z."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from dcgan.cli import main
from dcgan.conditions import LabelCode
from dcgan.config import Label, ModelConfig
from dcgan.draws import generator_for
from dcgan.explore import find_latents, from_features, from_weights, learn_directions
from dcgan.explore.principal import first_layer
from dcgan.images import Pixels, save_image
from dcgan.model_file import save_model
from dcgan.models import Discriminator, Generator

LABELS = (Label("dark", "class"), Label("light", "class"), Label("smile", "binary"))


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    config = ModelConfig(size=32, generator_width=4, discriminator_width=4, latent_size=8, labels=LABELS)
    generator = Generator(config).initialize(generator_for(0, "weights", 0))
    discriminator = Discriminator(config).initialize(generator_for(0, "weights", 1))
    assert isinstance(generator.code, LabelCode)
    generator.code.learn(torch.tensor([[1.0, 0, 1], [0, 1, 0], [0, 1, 1]]).repeat(10, 1))
    path = tmp_path_factory.mktemp("model") / "model.safetensors"
    states = {"generator": generator.state_dict(), "discriminator": discriminator.state_dict()}
    save_model(path, config, states, {})
    return path


def test_every_command_takes_it(model: Path, tmp_path: Path) -> None:
    def run(*arguments: str) -> None:
        assert main([*arguments[:1], str(model), *arguments[1:]]) == 0, arguments

    save_image(tmp_path / "face.png", Generator.from_pretrained(model).sample([0])[0])
    run("interpolate", "--out", str(tmp_path / "walk.png"))
    run("pick", "a", "--seeds", "0,1")
    run("pick", "b", "--seeds", "2")
    run("arithmetic", "a - b", "--out", str(tmp_path / "sum.png"))
    run("principal", "--out", str(tmp_path / "principal.png"))
    run("principal", "--method", "features", "--samples", "40", "--out", str(tmp_path / "principal.png"))
    run("edit", "--direction", "weights-1=2", "--out", str(tmp_path / "edit.png"))
    run("smoothness", "--walks", "3", "--frames", "3", "--out", str(tmp_path / "smooth"))
    run("project", str(tmp_path / "face.png"), "--steps", "8", "--candidates", "8", "--own-samples", "1",
        "--out", str(tmp_path / "found.safetensors"))  # fmt: skip


def test_the_first_layer_includes_the_embedding(model: Path) -> None:
    generator = Generator.from_pretrained(model)
    a, b = generator.latents([0], condition={"smile": 1}), generator.latents([1], condition={"smile": 0})
    outputs = generator.first[:2](generator.embed(torch.cat([a, b])))
    difference = (outputs[0] - outputs[1]).permute(1, 2, 0).flatten().double()
    torch.testing.assert_close(first_layer(generator) @ (a - b)[0].double(), difference, rtol=1e-4, atol=1e-5)


def test_principal_directions_leave_labels_alone(model: Path) -> None:
    generator = Generator.from_pretrained(model)
    for directions in (from_weights(generator, 3)[0], from_features(generator, 3, samples=40)[0]):
        assert directions.shape == (3, 11)
        assert (directions[:, 8:] == 0).all()
        torch.testing.assert_close(directions.norm(dim=1), torch.ones(3))


def test_a_labels_direction_is_its_own_coordinate(model: Path) -> None:
    generator = Generator.from_pretrained(model)
    seen: list[torch.Tensor] = []
    render = generator.render

    def recording(latents: torch.Tensor) -> Pixels:
        seen.append(latents)
        return render(latents)

    generator.render = recording  # type: ignore[method-assign]

    def score(pixels: Pixels) -> torch.Tensor:
        assert len(pixels) == len(seen[-1])
        return seen[-1][:, 10:] * 3 + 1

    direction = learn_directions(generator, score, ["smile"], count=200)["smile"].vector
    assert direction[10] == pytest.approx(1, abs=1e-3)


def test_projection_stays_within_the_labels_range(model: Path) -> None:
    generator, discriminator = Generator.from_pretrained(model), Discriminator.from_pretrained(model)
    images = np.zeros((2, 32, 32, 3), np.uint8)
    latents = find_latents(generator, discriminator, images, steps=8, starts=2, candidates=8).latents
    assert latents.shape == (2, 11)
    assert (latents[:, 8:10] >= 0).all()
    assert (latents[:, 8:].abs() <= 1).all()
