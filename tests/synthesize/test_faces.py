"""Labelled faces as torch data sets."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

import dcgan
from dcgan.config import Label, ModelConfig
from dcgan.data import PackedImages
from dcgan.draws import generator_for
from dcgan.errors import DcganError
from dcgan.images import to_signed
from dcgan.models import Generator
from dcgan.synthesize import GeneratedFaces, RealFaces, mix
from dcgan.synthesize.balance import filled_shares, shares_of_data

LABELS = (Label("dark", "class"), Label("light", "class"), Label("smile", "binary"), Label("age", "number"))


@pytest.fixture
def generator() -> Generator:
    config = ModelConfig(size=32, generator_width=4, latent_size=8, labels=LABELS)
    network = Generator(config).initialize(generator_for(0, "weights", 0)).eval()
    assert network.code is not None
    rows = torch.tensor([[1.0, 0, 0, 20], [1, 0, 0, 30], [1, 0, 0, 50], [0, 1, 1, 40]])
    network.code.learn(rows.repeat(50, 1))
    return network


def test_a_face_is_that_of_its_seed_and_labels(generator: Generator) -> None:
    faces = GeneratedFaces(generator, 20, first_seed=100, condition="smile=1")
    image, labels = faces[3]
    latents = generator.latents([103], condition={"smile": 1})
    assert torch.equal(image, to_signed(torch.from_numpy(generator.render(latents)))[0])
    assert torch.equal(labels, generator.labels_of(latents)[0])
    assert labels[2] == 1


@pytest.mark.filterwarnings("ignore:This DataLoader will create")  # on one core
@pytest.mark.parametrize("workers", [0, 2])
def test_a_loader_gives_the_same_faces_whatever_its_workers(generator: Generator, workers: int) -> None:
    faces = GeneratedFaces(generator, 10)
    batches = list(DataLoader(faces, batch_size=4, num_workers=workers))
    assert [len(images) for images, _ in batches] == [4, 4, 2]
    images = torch.cat([images for images, _ in batches])
    assert torch.equal(images, torch.stack([faces[i][0] for i in range(10)]))


def test_another_epoch_goes_on_with_new_faces(generator: Generator) -> None:
    faces = GeneratedFaces(generator, 10)
    first = {tuple(image.flatten().tolist()) for image, _ in faces.__getitems__(range(10))}
    faces.epoch = 1
    assert faces.seeds([0, 9]) == [10, 19]
    second = {tuple(image.flatten().tolist()) for image, _ in faces.__getitems__(range(10))}
    assert not first & second


def test_balance_makes_classes_even(generator: Generator) -> None:
    as_trained = torch.stack([labels for _, labels in GeneratedFaces(generator, 400).__getitems__(range(400))])
    even = torch.stack([labels for _, labels in GeneratedFaces(generator, 400, balance=True).__getitems__(range(400))])
    assert as_trained[:, 1].mean() == pytest.approx(0.25, abs=0.08)
    assert even[:, 1].mean() == pytest.approx(0.5, abs=0.08)
    assert even[:, 2].mean() == pytest.approx(0.5, abs=0.08)
    assert torch.equal(even[:, 0] + even[:, 1], torch.ones(400))
    torch.testing.assert_close(even[:, 3], as_trained[:, 3])


def test_rare_classes_are_filled_as_water_fills_a_vessel() -> None:
    counts = torch.tensor([100.0, 10, 40], dtype=torch.float64)
    for more in (10, 30, 60, 200, 3000):
        shares = filled_shares(counts, more)
        after = counts + shares * more
        assert shares.sum() == pytest.approx(1)
        touched = shares > 0
        assert after[touched].max() - after[touched].min() < 1e-6
        assert (after[~touched] >= after[touched].max()).all()
    torch.testing.assert_close(filled_shares(counts, 30), torch.tensor([0.0, 1, 0], dtype=torch.float64))


def test_unknown_labels_count_for_no_class() -> None:
    values = torch.tensor([[1.0, 0, 1, 3], [1, 0, 0, 3], [torch.nan, torch.nan, torch.nan, 3]])
    classes, smile, age = shares_of_data(LABELS, values, 4)
    torch.testing.assert_close(classes, torch.tensor([0.25, 0.75], dtype=torch.float64))
    torch.testing.assert_close(smile, torch.tensor([0.5, 0.5], dtype=torch.float64))
    assert age is None


def test_mix_adds_so_many_synthetic_faces(generator: Generator, faces32: PackedImages) -> None:
    real = RealFaces(faces32, [Label("smiling", "binary")])
    made = GeneratedFaces(generator, 100, transform=torch.neg)
    both = mix(real, made, 0.5)
    assert len(both) == 90
    assert torch.equal(both[60][0], -GeneratedFaces(generator, 100)[0][0])
    items = both.__getitems__([61, 2, 60, 1])
    assert torch.equal(items[1][0], to_signed(torch.from_numpy(faces32.read([2])))[0])
    assert torch.equal(items[0][0], made[1][0])
    assert faces32.labels is not None
    assert items[3][1] == faces32.labels[1, faces32.label_names.index("smiling")]
    with pytest.raises(IndexError):
        both[90]
    with pytest.raises(DcganError, match="takes 120 synthetic faces, and there are 100"):
        mix(real, made, 2.0)


def test_an_unconditional_model_gives_faces_without_labels(tmp_path: Path) -> None:
    plain = Generator(ModelConfig(size=32, generator_width=4)).initialize(generator_for(0, "weights", 0))
    plain.save_pretrained(tmp_path)
    faces = dcgan.GeneratedFaces(tmp_path, 3)
    assert faces[0][1].shape == (0,)
    assert np.array_equal(plain.sample([2])[0], ((faces[2][0] + 1) * 127.5).round().permute(1, 2, 0).numpy())
    with pytest.raises(DcganError, match="trained with --condition"):
        GeneratedFaces(plain, 3, balance=True)
    with pytest.raises(DcganError, match="trained without labels"):
        GeneratedFaces(plain, 3, condition="smile=1")
