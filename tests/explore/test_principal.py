"""Directions found without labels."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from PIL import Image

from dcgan.cli import main
from dcgan.draws import draw_latents, generator_for
from dcgan.explore.files import read_directions
from dcgan.explore.principal import first_layer, from_features, from_weights
from dcgan.models import Generator


@pytest.mark.parametrize("ends", ["convolution", "linear"])
def test_the_matrix_is_what_the_first_layer_does(make_model: Callable[..., Path], ends: str) -> None:
    generator = Generator.from_pretrained(make_model(ends=ends))
    norm = generator.first[1]
    norm.running_var.uniform_(0.5, 2.0, generator=generator_for(0, "variance", 0))
    norm.bias.data.uniform_(-1, 1, generator=generator_for(0, "bias", 0))
    before_activation = generator.first[:2]
    z = draw_latents((2, 8), "normal", generator_for(0, "z", 0))
    with torch.no_grad():
        change = before_activation(z[:1]) - before_activation(z[1:])
    expected = first_layer(generator) @ (z[0] - z[1]).double()
    torch.testing.assert_close(change.permute(0, 2, 3, 1).flatten(), expected.float(), atol=1e-5, rtol=1e-4)


def test_directions_from_weights_change_the_first_layer_most_in_their_order(model: Path) -> None:
    generator = Generator.from_pretrained(model)
    vectors, shares = from_weights(generator, 8)
    torch.testing.assert_close(vectors @ vectors.T, torch.eye(8), atol=1e-5, rtol=0)
    gains = (first_layer(generator).float() @ vectors.T).square().sum(0)
    torch.testing.assert_close(gains / gains.sum(), shares)
    assert (shares.diff() <= 0).all()
    anything = torch.nn.functional.normalize(torch.randn(50, 8, generator=generator_for(0, "any", 0)))
    assert ((first_layer(generator).float() @ anything.T).square().sum(0) <= gains[0] * 1.0001).all()


@pytest.mark.parametrize("layer", [0, 1])
def test_directions_from_features_find_what_matters_most(make_model: Callable[..., Path], layer: int) -> None:
    generator = Generator.from_pretrained(make_model())
    planted = torch.nn.functional.normalize(torch.randn(8, generator=generator_for(0, "planted", 0)), dim=0)
    weight = generator.first[0].weight
    weight.data += 5 * (weight @ planted)[:, None] * planted  # six times the gain along one direction
    vectors, shares = from_features(generator, 3, layer=layer, samples=400)
    assert abs(vectors[0] @ planted) > 0.95
    assert shares[0] > shares[1] >= shares[2]
    torch.testing.assert_close(vectors.norm(dim=1), torch.ones(3))


def test_principal_directions_are_saved_drawn_and_can_be_edited_with(
    model: Path, tmp_path: Path, told: Callable[..., str]
) -> None:
    file, out = tmp_path / "d.safetensors", tmp_path / "p.png"
    for method in ("weights", "features"):
        command = ["principal", str(model), "--method", method, "--file", str(file), "--out", str(out)]
        assert main([*command, "--count", "2", "--samples", "50", "--seeds", "1,2", "--steps", "3"]) == 0
        with Image.open(out) as image:
            assert image.height == 12 + 4 * 34 - 2
    found = read_directions(file, Generator.from_pretrained(model))
    assert list(found) == ["weights-1", "weights-2", "features-1", "features-2"]
    edit = ["edit", str(model), "--file", str(file), "--direction", "features-2=3", "--out", str(out)]
    assert main(edit) == 0
    assert "at most 8" in told("principal", model, "--count", "9", "--file", file)
    assert "layer must be at most 2" in told("principal", model, "--method", "features", "--layer", "3", "--file", file)
