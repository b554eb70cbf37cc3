"""Whether synthetic data help: who saw which images, what is compared, and what is said of it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dcgan.augment_report import page, verdicts
from dcgan.augment_test import METHODS, AugmentTest, Comparison, Pool, augment_test, is_right, synthesize
from dcgan.classify import train_classifier
from dcgan.cli import main
from dcgan.config import AugmentTestConfig
from dcgan.data import Label, PackedImages, PackedWriter
from dcgan.errors import DcganError
from dcgan.models import Generator
from dcgan.represent.tasks import find_tasks

N, HELD_OUT = 160, 40
SMALL = ["--seeds", "2", "--steps", "12", "--width", "4", "--synthetic", "64", "--kimg", "0.128", "--device", "cpu"]


def write(path: Path, seed: int = 0) -> PackedImages:
    """Grey noise, lighter on one side (yes or no) and with a number that says nothing."""
    random = np.random.default_rng(seed)
    lit = random.integers(0, 2, N)
    images = random.uniform(0, 100, (N, 32, 32, 1))
    images[:, :, :16] += 100 * lit[:, None, None, None]
    labels = np.column_stack([lit, random.uniform(0, 1, N)]).astype(np.float32)
    labels[::9, 0] = np.nan
    with PackedWriter(path, 32, 1, labels=[Label("lit", "binary"), Label("n", "number")]) as writer:
        writer.append(images.astype(np.uint8), labels, None, np.arange(N) >= N - HELD_OUT)
    return PackedImages.open(path)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> PackedImages:
    return write(tmp_path_factory.mktemp("data") / "halves")


@pytest.fixture(scope="module")
def out(data: PackedImages, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the command wrote for two fractions, each with a generator of its own."""
    folder = tmp_path_factory.mktemp("test") / "out"
    assert main(["augment-test", str(data.path), "--fractions", "1,0.25", *SMALL, "--out", str(folder)]) == 0
    return folder


def test_a_fractions_generator_sees_that_fraction_and_nothing_else(data: PackedImages, out: Path) -> None:
    known = data.training_indices[~np.isnan(np.asarray(data.labels)[data.training_indices, 0])]
    written = json.loads((out / "augment-test.json").read_text())
    for comparison, share in zip(written["comparisons"], ("0.25", "1"), strict=True):
        part = PackedImages.open(out / f"data-{share}")
        count = round(float(share) * len(known))
        assert len(part) == comparison["real"] == comparison["seen_by_generator"] == count
        seen = {image.tobytes() for image in part.read(range(len(part)))}
        assert seen <= {image.tobytes() for image in data.read(known)}
        assert len(seen) == count
        assert len(part.held_out_indices) == 0
        run = next((out / "runs").glob(f"*-fraction-{share}"))
        generator = Generator.from_pretrained(run)
        assert generator.about["dataset"]["digest"] == part.digest
        assert comparison["model_digest"] == generator.about["digest"]
        assert [label.name for label in generator.config.labels] == ["lit"]


def test_all_methods_are_tested_on_the_held_out_images(data: PackedImages, out: Path) -> None:
    written = json.loads((out / "augment-test.json").read_text())
    known = ~np.isnan(np.asarray(data.labels)[data.held_out_indices, 0])
    assert written["tested"] == known.sum()
    for comparison in written["comparisons"]:
        assert set(comparison["accuracies"]) == set(METHODS)
        assert all(len(runs) == 2 for runs in comparison["runs"].values())
    assert len(written["verdict"]) == 2
    assert (out / "augment-test.png").stat().st_size > 5000
    assert "synthetic only" in (out / "augment-test.md").read_text()


def test_a_generator_from_an_earlier_call_is_taken_again(
    data: PackedImages, out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["augment-test", str(data.path), "--fractions", "0.25", *SMALL, "--out", str(out)]) == 0
    assert "from an earlier call" in capsys.readouterr().err
    assert len(list((out / "runs").iterdir())) == 2


def test_a_generator_trained_otherwise_is_not_taken(
    data: PackedImages, out: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    earlier = shutil.copytree(out, tmp_path / "out")
    settings = next((earlier / "runs").glob("*-fraction-0.25")) / "config.json"
    settings.write_text(settings.read_text().replace('"generator_lr": 0.001', '"generator_lr": 0.0005'))
    assert main(["augment-test", str(data.path), "--fractions", "0.25", *SMALL, "--out", str(earlier)]) == 0
    assert "from an earlier call" not in capsys.readouterr().err
    assert len(list((earlier / "runs").iterdir())) == 3


def test_a_given_model_is_said_to_have_seen_more(data: PackedImages, tmp_path: Path) -> None:
    runs = str(tmp_path / "runs")
    small = ["--kimg", "0.064", "--batch", "16", "--generator-width", "4", "--discriminator-width", "4"]
    small += ["--sample-count", "4", "--no-tensorboard", "--device", "cpu", "--run-dir", runs]
    assert main(["train", str(data.path), *small, "--condition", "lit", "--name", "told"]) == 0
    assert main(["train", str(data.path), *small, "--name", "untold"]) == 0
    settings: dict[str, Any] = {"data": str(data.path), "fractions": "0.25", "out": str(tmp_path), "device": "cpu"}
    quick: dict[str, Any] = {"seeds": 2, "steps": 4, "width": 4, "synthetic": 32}
    model = str(tmp_path / "runs" / "00000-told")
    found = augment_test(AugmentTestConfig(**settings, **quick, model=model))
    assert found.comparisons[0].seen == N - HELD_OUT
    assert "the generator was trained on 120 real images" in verdicts(found)[0]
    with pytest.raises(DcganError, match="makes no labelled images, as it was not told lit"):
        augment_test(AugmentTestConfig(**settings, model=str(tmp_path / "runs" / "00001-untold")))
    other = write(tmp_path / "other", seed=1)
    with pytest.raises(DcganError, match="was trained on other data"):
        augment_test(AugmentTestConfig(**{**settings, "data": str(other.path)}, model=model))


def test_synthetic_images_come_with_the_labels_they_were_made_for(data: PackedImages, out: Path) -> None:
    generator = Generator.from_pretrained(next((out / "runs").glob("*-fraction-1")))
    task = find_tasks(data, "lit")[0]
    images, labels = synthesize(generator, task, 40, 0)
    assert images.shape == (40, 32, 32, 1)
    assert set(labels[:, 0].tolist()) == {0.0, 1.0}
    again, _ = synthesize(generator, task, 40, 0)
    other, _ = synthesize(generator, task, 40, 1)
    assert np.array_equal(images, again)
    assert not np.array_equal(images, other)
    latents = generator.latents(range(1_000_000, 1_000_004))
    assert np.array_equal(generator.labels_of(latents)[:, 0].numpy(), labels[:4, 0])


def test_the_pool_holds_real_images_and_then_synthetic_ones(data: PackedImages) -> None:
    task = find_tasks(data, "lit")[0]
    synthetic = np.full((3, 32, 32, 1), 7, np.uint8)
    pool = Pool(data, task, synthetic, np.array([[1], [0], [1]], np.float32))
    mixed = pool.read([N + 1, 5, N, 5])
    assert (mixed[[0, 2]] == 7).all()
    assert np.array_equal(mixed[[1, 3]], data.read([5, 5]))
    assert pool.labels is not None
    np.testing.assert_array_equal(pool.labels[:N, 0], np.asarray(data.labels)[:, 0])
    assert pool.labels[N:, 0].tolist() == [1, 0, 1]


def test_right_and_wrong_are_told_apart(data: PackedImages) -> None:
    task = find_tasks(data, "lit")[0]
    pool = Pool(data, task, np.zeros((0, 32, 32, 1), np.uint8), np.zeros((0, 1), np.float32))
    known, tested = task.known(data.training_indices), task.known(data.held_out_indices)
    classifier = train_classifier(pool, known, epochs=30, width=4)
    right = is_right(classifier, data, task, tested)
    assert right.mean() > 0.9
    task.targets[tested[right][0]] ^= 1
    assert is_right(classifier, data, task, tested).sum() == right.sum() - 1


def comparison(**shares: float) -> Comparison:
    """A comparison of 5 runs on 1,000 images with these accuracies of the methods, all others 0.8."""
    order = np.random.default_rng(0).permutation(1000)
    right = {name: np.tile(order < 1000 * shares.get(name, 0.8), (5, 1)) for name in METHODS}
    return Comparison(0.1, 100, 100, "digest", right)


@pytest.mark.parametrize(
    ("shares", "said"),
    [
        ({"synthetic": 0.85}, "synthetic ones added accuracy (+5.0, +3.6 to +6.4 points)"),
        ({"synthetic": 0.75}, "synthetic ones cost accuracy (-5.0, -6.4 to -3.6 points)"),
        ({"synthetic": 0.801}, "synthetic ones made no difference that can be told"),
        ({"classic": 0.9, "both": 0.9}, "on top of classic augmentation they made no difference"),
        ({"classic": 0.9, "both": 0.8}, "on top of classic augmentation they cost accuracy (-10.0"),
    ],
)
def test_the_verdict_says_what_the_interval_says(data: PackedImages, shares: dict[str, float], said: str) -> None:
    config = AugmentTestConfig(data="x")
    found = AugmentTest(config, data, find_tasks(data, "lit")[0], 1000, (comparison(**shares),))
    assert said in verdicts(found)[0]
    assert said in page(found)


def test_mistakes_are_named(faces32: PackedImages) -> None:
    with pytest.raises(DcganError, match="fractions must be numbers above 0 and up to 1"):
        AugmentTestConfig(data="x", fractions="0.1,2")
    with pytest.raises(DcganError, match="has several labels: choose one with --label: hair"):
        augment_test(AugmentTestConfig(data=str(faces32.path)))
    with pytest.raises(DcganError, match="holds no images with labels back"):
        augment_test(AugmentTestConfig(data=str(faces32.path), label="glasses"))
