"""Labels as the networks are told them: coded, drawn by seed, set by name."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from dcgan.conditions import ROWS, LabelCode, condition_rows, parse_condition
from dcgan.config import Label, ModelConfig
from dcgan.draws import generator_for
from dcgan.errors import DcganError
from dcgan.models import Discriminator, Generator

LABELS = (
    *(Label(f"hair={colour}", "class") for colour in ("black", "red", "grey")),
    Label("glasses", "binary"),
    Label("age", "number"),
)
TINY = {"size": 32, "generator_width": 4, "discriminator_width": 4, "latent_size": 8}
CONDITIONAL = ModelConfig(**TINY, labels=LABELS)


def training_values(count: int = 5000) -> torch.Tensor:
    """Labels of images, of which only red ones wear glasses, and some are unknown."""
    draws = torch.Generator().manual_seed(0)
    hair = torch.randint(3, (count,), generator=draws)
    glasses = ((hair == 1) & (torch.rand(count, generator=draws) < 0.5)).float()
    age = 40 + 10 * torch.randn(count, generator=draws)
    values = torch.cat([torch.eye(3)[hair], glasses[:, None], age[:, None]], 1)
    values[::10, :3] = math.nan
    values[5::10, 3] = math.nan
    return values


@pytest.fixture
def generator() -> Generator:
    network = Generator(CONDITIONAL).initialize(generator_for(0, "weights", 0)).eval()
    assert network.code is not None
    network.code.learn(training_values())
    return network


def code_of(generator: Generator) -> LabelCode:
    assert generator.code is not None
    return generator.code


def test_decoding_undoes_encoding_and_what_is_unknown_is_zero(generator: Generator) -> None:
    values = training_values()[:50]
    codes = code_of(generator).encode(values)
    torch.testing.assert_close(code_of(generator).decode(codes), values, equal_nan=True)
    assert (codes[values.isnan()] == 0).all()
    assert codes[:, 3].unique().tolist() == [-1, 0, 1]
    assert codes.isfinite().all()
    assert codes[:, 4].mean().abs() < 0.5


def test_unknown_labels_add_nothing(generator: Generator) -> None:
    latents = generator.latents(range(4), condition=torch.full((4, 5), math.nan))
    assert torch.equal(generator(latents), generator(latents[:, :8]))
    discriminator = Discriminator(CONDITIONAL).initialize(generator_for(0, "weights", 0)).eval()
    images = torch.rand(4, 3, 32, 32)
    assert torch.equal(discriminator(images), discriminator(images, torch.zeros(4, 5)))


def test_the_discriminator_projects_labels_onto_its_features() -> None:
    """Miyato and Koyama 2018, equation 5: f(x, y) = y' V phi(x) + psi(phi(x)), phi a sum over places."""
    discriminator = Discriminator(CONDITIONAL).initialize(generator_for(0, "weights", 0)).eval()
    assert discriminator.projection is not None
    images, codes = torch.rand(4, 3, 32, 32), torch.randn(4, 5)
    features = discriminator.features(images)[-1]
    expected = torch.einsum("cl,nl,nchw->n", discriminator.projection.weight, codes, features) / 12
    torch.testing.assert_close(discriminator(images, codes) - discriminator(images), expected, rtol=1e-3, atol=1e-5)


def test_a_label_starts_as_loud_as_one_number_of_z() -> None:
    many = tuple(Label(f"label {i}", "binary") for i in range(100))
    network = Generator(ModelConfig(**TINY, labels=many)).initialize(generator_for(1, "weights", 0))
    assert network.embedding is not None
    assert network.embedding.weight.norm(dim=0).mean().item() == pytest.approx(1, abs=0.05)


def test_an_image_is_a_function_of_its_seed_and_condition(generator: Generator) -> None:
    together = generator.sample(range(5), condition={"glasses": 1})
    assert np.array_equal(generator.sample([3], condition={"glasses": 1})[0], together[3])
    assert np.array_equal(generator.sample([3]), generator.render(generator.latents([3])))
    other = generator.sample(range(5), condition={"glasses": 0})
    assert not np.array_equal(together, other)
    assert torch.equal(generator.latents([3])[:, :8], generator.latents([3], condition={"glasses": 0})[:, :8])


def test_labels_that_are_not_given_are_drawn_as_in_training(generator: Generator) -> None:
    drawn, known = generator.labels_of(generator.latents(range(3000))), training_values()
    torch.testing.assert_close(drawn.nanmean(0)[:4], known.nanmean(0)[:4], atol=0.03, rtol=0)
    assert drawn[:, 0].isnan().float().mean() == pytest.approx(0.1, abs=0.03)
    # nobody but the red-haired wears glasses, and so it stays
    glasses = generator.labels_of(generator.latents(range(500), condition={"glasses": 1}))
    assert (glasses[:, 3] == 1).all()
    assert (glasses[:, 1][~glasses[:, 1].isnan()] == 1).all()
    # what no training image shows is made all the same
    both = generator.labels_of(generator.latents(range(20), condition={"glasses": 1, "hair=grey": 1, "age": 50}))
    torch.testing.assert_close(both, torch.tensor([[0.0, 0, 1, 1, 50]]).expand(20, 5))
    not_red = generator.labels_of(generator.latents(range(50), condition={"hair=red": 0}))
    assert set(not_red[:, 1].tolist()) == {0.0}
    assert torch.equal(not_red[:, :3].sum(1), torch.ones(50))


def test_rows_are_spread_over_all_training_images() -> None:
    """Images often lie sorted by class: the kept rows must have each in proportion, however many there are."""
    for count in (ROWS // 3, 10 * ROWS + 7):
        code = LabelCode([Label("smile", "binary")])
        code.learn((torch.arange(count) < 0.2 * count).float()[:, None])
        assert (code.rows == 1).float().mean() == pytest.approx(0.2, abs=2e-3)


def test_a_grid_changes_one_label_a_row(generator: Generator) -> None:
    rows = condition_rows(code_of(generator))
    assert [title for title, _ in rows[:5]] == ["hair=black", "hair=red", "hair=grey", "glasses=0", "glasses=1"]
    latents = generator.grid_latents(16 * 16).reshape(16, 16, -1)
    labels = generator.labels_of(latents.flatten(0, 1)).reshape(16, 16, 5)
    assert torch.equal(latents[0, :, :8], generator.latents(range(16))[:, :8])
    assert torch.equal(latents[len(rows), :, :8], generator.latents(range(16, 32))[:, :8])
    assert (latents[: len(rows), :, :8] == latents[0, :, :8]).all()
    assert (labels[1, :, :3] == torch.tensor([0.0, 1, 0])).all()
    assert (labels[3, :, 3] == 0).all()
    torch.testing.assert_close(labels[3, :, :3], labels[4, :, :3], equal_nan=True)
    assert len(generator.grid_latents(10)) == 10


def test_random_latents_hold_random_training_labels(generator: Generator) -> None:
    latents = generator.random_latents((2, 50), generator_for(0, "test", 0))
    assert latents.shape == (2, 50, 13)
    rows = {tuple(row) for row in code_of(generator).rows.tolist()}
    assert all(tuple(row) in rows for row in latents[..., 8:].reshape(-1, 5).tolist())
    plain = Generator(ModelConfig(**TINY))
    z = plain.random_latents((2, 50), generator_for(0, "test", 0))
    assert torch.equal(z, latents[..., :8])


def test_the_model_file_alone_is_enough(generator: Generator, tmp_path: Path) -> None:
    generator.save_pretrained(tmp_path)
    loaded = Generator.from_pretrained(tmp_path)
    assert loaded.config.labels == LABELS
    assert all(isinstance(label, Label) for label in loaded.config.labels)
    assert np.array_equal(loaded.sample(range(3)), generator.sample(range(3)))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("glasses=1, age=33.5", {"glasses": 1, "age": 33.5}),
        ("hair=red", {"hair=red": 1}),
        ("hair=red=0,glasses=no", {"hair=red": 0, "glasses": 0}),
        ("glasses=YES", {"glasses": 1}),
    ],
)
def test_conditions_are_read_from_text(text: str, expected: dict[str, float]) -> None:
    assert parse_condition(text, LABELS) == expected


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("glases=1", "no label 'glases'; did you mean glasses"),
        ("hair=rde", "no label 'hair=rde'; did you mean hair=red"),
        ("xyz=1", "there are: hair=black"),
        ("glasses", "write glasses=1 or glasses=0"),
        ("glasses=maybe", "yes or no, not 'maybe'"),
        (" , ", "names no label"),
    ],
)
def test_mistakes_in_conditions_are_told(text: str, told: str) -> None:
    with pytest.raises(DcganError, match=told):
        parse_condition(text, LABELS)


@pytest.mark.parametrize(
    ("condition", "told"),
    [
        ({"glasses": 2}, "glasses must be from 0 to 1, not 2"),
        ({"age": 1000}, "age must be from"),
        ({"age": math.nan}, "age must be from"),
        ({"hair=red": 1, "hair=grey": 1}, "only one hair"),
        ({"hat": 1}, "no label 'hat'"),
    ],
)
def test_conditions_that_cannot_be_are_refused(generator: Generator, condition: dict[str, float], told: str) -> None:
    with pytest.raises(DcganError, match=told):
        generator.sample([0], condition=condition)


def test_a_model_without_labels_takes_no_condition() -> None:
    with pytest.raises(DcganError, match="trained without labels"):
        parse_condition("smile=1", ())
    with pytest.raises(DcganError, match="trained without labels"):
        Generator(ModelConfig(**TINY)).latents([0], condition={"smile": 1})


def test_labels_of_each_image_must_be_as_many_as_images(generator: Generator) -> None:
    with pytest.raises(DcganError, match="labels must be 2 x 5"):
        generator.latents([0, 1], condition=torch.zeros(3, 5))
