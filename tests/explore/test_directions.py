"""Directions: on known mappings from latents to attributes, and from drawn pictures to the end."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from dcgan.classify import Classifier, measure, train_classifier
from dcgan.cli import main
from dcgan.config import PrepareConfig, parse_amounts
from dcgan.data import PackedImages, prepare
from dcgan.draws import draw_latents, generator_for
from dcgan.errors import DcganError
from dcgan.explore.directions import cut_out, effects, fit_directions, learn_directions, orthogonalize
from dcgan.models import Generator


@pytest.mark.parametrize("latent", ["normal", "uniform"])
def test_known_directions_are_found_through_any_rising_curve(latent: str) -> None:
    truth = torch.nn.functional.normalize(torch.randn(4, 50, generator=generator_for(0, "truth", 0)))
    z = draw_latents((4000, 50), latent, generator_for(0, "z", 0))
    along = z @ truth.T
    noise = torch.randn(4000, generator=generator_for(0, "noise", 0))
    scores = torch.stack([along[:, 0], along[:, 1].tanh(), along[:, 2].exp() * 1e6, along[:, 3] + noise], 1)
    found, linearity = fit_directions(z, scores)
    assert ((found * truth).sum(1) > 0.97).all()
    torch.testing.assert_close(found.norm(dim=1), torch.ones(4))
    assert linearity[0] > 0.999
    assert linearity[3] < linearity[1] < linearity[0]


def test_noise_has_no_linearity() -> None:
    z = draw_latents((4000, 50), "normal", generator_for(0, "z", 0))
    _, linearity = fit_directions(z, torch.randn(4000, 1, generator=generator_for(0, "noise", 0)))
    assert linearity.abs().item() < 0.1


def test_orthogonal_directions_leave_the_others_alone() -> None:
    a, b, c = torch.nn.functional.normalize(torch.randn(3, 30, generator=generator_for(0, "abc", 0)))
    left = orthogonalize(a, [b, c, b])
    torch.testing.assert_close(torch.stack([b, c]) @ left, torch.zeros(2), atol=1e-6, rtol=0)
    torch.testing.assert_close(left.norm(), torch.tensor(1.0))
    assert left @ a > 0
    assert torch.equal(orthogonalize(a, []), a)
    with pytest.raises(DcganError, match="nothing is left"):
        orthogonalize(a, [a])


@pytest.fixture(scope="module")
def scorer(drawn_world: Any) -> Classifier:
    """A classifier taught on drawings."""
    return train_classifier(drawn_world, np.arange(1000), epochs=8)


def test_directions_move_their_attribute_and_leave_the_others(drawn_world: Any, scorer: Classifier) -> None:
    assert min(measure(scorer, drawn_world, np.arange(1000, 1200)).values()) > 0.95
    generator, names = drawn_world.generator, list(drawn_world.label_names)
    found = learn_directions(generator, scorer.scores, names, count=2000)
    vectors = torch.stack([found[name].vector for name in names])

    towards_truth = vectors @ drawn_world.truth.T  # what each does to each attribute's own place in latent space
    assert (towards_truth.diagonal() > 0.9).all()
    others = ~torch.eye(len(names), dtype=torch.bool)
    assert towards_truth[others].abs().max() < 0.4
    assert towards_truth[others].square().mean().sqrt() < 0.12
    assert all(direction.about["linearity"] > 0.75 for direction in found.values())

    changes = effects(generator, scorer.scores, vectors, count=200)  # what the scorer sees of it
    assert (changes.diagonal() > 2.5).all()
    assert changes[others].square().mean().sqrt() < 0.5


def test_an_orthogonal_direction_leaves_what_it_was_tangled_with(drawn_world: Any, scorer: Classifier) -> None:
    generator, names = drawn_world.generator, list(drawn_world.label_names)

    def on_skin(**settings: Any) -> tuple[float, float]:
        (beard,) = learn_directions(
            generator, scorer.scores, names, attributes=["beard"], count=2000, **settings
        ).values()
        row = effects(generator, scorer.scores, beard.vector[None], count=200)[0]
        return row[names.index("beard")].item(), row[names.index("skin")].item()

    # A beard shows best on light skin, or the scorer thinks so; freed of that, it is still a beard.
    (_, tangled), (own, freed) = on_skin(), on_skin(orthogonal_to=["skin"])
    assert abs(freed) < min(0.15, abs(tangled))
    assert own > 2.5
    known = {"true skin": drawn_world.truth[names.index("skin")]}
    assert abs(on_skin(orthogonal_to=["true skin"], known=known)[1]) < 0.15


def test_unknown_names_are_told_with_the_known_ones(drawn_world: Any, scorer: Classifier) -> None:
    def learn(**settings: Any) -> object:
        return learn_directions(drawn_world.generator, scorer.scores, drawn_world.label_names, **settings)

    with pytest.raises(DcganError, match="no attribute 'smile'; the scorer knows long_hair, glasses"):
        learn(attributes=["smile"])
    with pytest.raises(DcganError, match=r"no attribute or direction 'x'; known are: long_hair, .*, sefa"):
        learn(orthogonal_to=["x"], known={"sefa": torch.ones(8)})


def test_a_box_is_cut_out_in_shares() -> None:
    pixels = np.arange(10 * 20, dtype=np.uint8).reshape(1, 10, 20, 1)
    assert np.array_equal(cut_out(pixels, (0.25, 0.5, 0.75, 0.9)), pixels[:, 5:9, 5:15])
    assert np.array_equal(cut_out(pixels, (0.0, 0.0, 1.0, 1.0)), pixels)


def test_amounts_are_parsed_with_names_that_hold_an_equals_sign() -> None:
    assert parse_amounts("smile=+2, hair=black=-1.5,x=.5") == {"smile": 2.0, "hair=black": -1.5, "x": 0.5}
    for text in ("smile", "smile=", "=2", ""):
        with pytest.raises(DcganError, match="must look like"):
            parse_amounts(text)


def test_learned_directions_edit_faces(
    model: Path, faces32: PackedImages, tmp_path: Path, capsys: pytest.CaptureFixture[str], told: Callable[..., str]
) -> None:
    file, scorer, out = tmp_path / "d.safetensors", tmp_path / "s.safetensors", tmp_path / "d.png"
    learn = ["directions", str(model), "--file", str(file), "--out", str(out), "--count", "100"]
    kept = ["--scorer", str(scorer), "--epochs", "1", "--orthogonal-to", "glasses"]
    assert main([*learn, "--labels", str(faces32.path), *kept]) == 0
    assert main([*learn, "--labels", str(scorer), "--attributes", "glasses,hair=red"]) == 0
    said = capsys.readouterr().out
    assert "glasses" in said.split("wrote")[-2]
    assert out.exists()

    edited = tmp_path / "edit.png"
    edit = ["edit", str(model), "--file", str(file), "--out", str(edited), "--seeds", "4,9"]
    assert main([*edit, "--direction", "smile=+2,hair=red=-1", "--steps", "3"]) == 0
    generator = Generator.from_pretrained(model)
    with Image.open(edited) as image:
        below = np.asarray(image)[-32:]
    assert np.array_equal(below[:, -100:-68], generator.sample([9])[0])
    assert main([*edit, "--direction", "smile=2", "--both", "--steps", "2"]) == 0
    with Image.open(edited) as image:
        assert np.array_equal(np.asarray(image)[-32:, -66:-34], generator.sample([9])[0])

    assert "no direction 'beauty'; known are: hair=black" in told(*edit, "--direction", "beauty=1")
    nothing = told("edit", model, "--direction", "smile=1", "--file", tmp_path / "none")
    assert "holds no directions: find some with `dcgan directions`" in nothing


def test_mistakes_are_told_before_the_work(
    model: Path, make_model: Callable[..., Path], faces32: PackedImages, tmp_path: Path, told: Callable[..., str]
) -> None:
    other = make_model(seed=1)
    assert main(["principal", str(other), "--file", str(tmp_path / "d"), "--out", str(tmp_path / "p.png")]) == 0
    for command in (["edit", model, "--direction", "a=1"], ["directions", model, "--labels", "nowhere"]):
        assert "made for another model" in told(*command, "--file", tmp_path / "d")
    assert "nowhere does not exist" in told("directions", model, "--labels", tmp_path / "nowhere")
    assert "no classifier" in told("directions", model, "--labels", model)
    for name in ("faces/smile/a.png", "faces/neutral/b.png"):
        (tmp_path / name).parent.mkdir(parents=True)
        Image.linear_gradient("L").save(tmp_path / name)
    prepare(PrepareConfig(source=str(tmp_path / "faces"), out=str(tmp_path / "grey"), size=32, workers=1))
    assert "pack it with `dcgan prepare ... --channels 1`" in told("directions", model, "--labels", tmp_path / "grey")
