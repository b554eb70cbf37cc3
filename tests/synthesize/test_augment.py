"""Synthetic data sets on disk: whole, labelled, marked, resumable, and never among real images."""

from __future__ import annotations

import csv
import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from dcgan.cli import main
from dcgan.config import AugmentConfig, Label, ModelConfig, PrepareConfig
from dcgan.data import PackedImages, PackedWriter, prepare
from dcgan.draws import generator_for
from dcgan.errors import DcganError
from dcgan.model_file import save_model
from dcgan.models import Discriminator, Generator
from dcgan.synthesize import augment, disk
from dcgan.synthesize.disk import Writer, refuse_place
from dcgan.synthesize.landmarks import Marker, train_marker
from dcgan.synthesize.screen import make_screen, scores

LABELS = (Label("hair=red", "class"), Label("hair=grey", "class"), Label("smile", "binary"), Label("age", "number"))


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    config = ModelConfig(size=32, generator_width=4, discriminator_width=4, latent_size=8, labels=LABELS)
    generator = Generator(config).initialize(generator_for(0, "weights", 0))
    discriminator = Discriminator(config).initialize(generator_for(0, "weights", 1))
    assert generator.code is not None
    generator.code.learn(torch.tensor([[1.0, 0, 1, 20], [0, 1, 0, 60], [0, 1, torch.nan, 45]]).repeat(100, 1))
    path = tmp_path_factory.mktemp("model") / "model.safetensors"
    states = {"generator": generator.state_dict(), "discriminator": discriminator.state_dict()}
    save_model(path, config, states, {"terms": "for research only"})
    return path


def config(model: Path, out: Path, **settings: object) -> AugmentConfig:
    return AugmentConfig(**{"model": str(model), "out": str(out), "count": 20, "device": "cpu", **settings})  # type: ignore[arg-type]


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_images_labels_and_manifest_belong_together(model: Path, tmp_path: Path) -> None:
    augment(config(model, tmp_path / "out", first_seed=50))
    generator = Generator.from_pretrained(model)
    listed = rows(tmp_path / "out" / "labels.csv")
    assert len(listed) == 20
    for i, row in enumerate(listed):
        image = Image.open(tmp_path / "out" / row["file"])
        assert np.array_equal(np.asarray(image), generator.sample([50 + i])[0])
        about = json.loads(image.info["Description"])
        assert "synthetic" in about
        assert about["model"] == generator.about["digest"]
        assert about["seed"] == 50 + i
        red, _, smile, age = generator.labels_of(generator.latents([50 + i]))[0].tolist()
        assert row["hair"] == ("red" if red else "grey")
        assert row["smile"] == ("" if np.isnan(smile) else f"{smile:.0f}")
        assert float(row["age"]) == pytest.approx(age, abs=0.01)
    manifest = json.loads((tmp_path / "out" / "synthetic.json").read_text())
    assert manifest["model"] == generator.about["digest"]
    assert manifest["seeds"] == {"first": 50, "last": 69}
    assert manifest["terms"] == "for research only"
    assert manifest["complete"] is True


@pytest.mark.parametrize("chunk", [1, 7])
def test_a_stopped_command_goes_on_to_the_same_files(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, chunk: int
) -> None:
    settings = {"filter": True, "balance": True}
    augment(config(model, tmp_path / "whole", **settings))
    monkeypatch.setattr("dcgan.synthesize.disk.CHUNK", chunk)
    write_chunk, calls = Writer.write_chunk, []

    def stop(self: Writer, *arguments: object) -> None:
        calls.append(arguments)
        write_chunk(self, *arguments)  # type: ignore[arg-type]
        if len(calls) == 2:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Writer, "write_chunk", stop)
        with pytest.raises(KeyboardInterrupt):
            augment(config(model, tmp_path / "parts", **settings))
    with (tmp_path / "parts" / "labels.csv").open("a") as file:
        file.write("images/seed00010")  # a line cut short by the kill
    assert json.loads((tmp_path / "parts" / "synthetic.json").read_text())["complete"] is False
    augment(config(model, tmp_path / "parts", **settings))
    assert files(tmp_path / "parts") == files(tmp_path / "whole")


def test_a_larger_count_goes_on_and_other_settings_are_refused(model: Path, tmp_path: Path) -> None:
    augment(config(model, tmp_path / "out"))
    assert augment(config(model, tmp_path / "out", count=25)).images == 25
    assert len(rows(tmp_path / "out" / "labels.csv")) == 25
    with pytest.raises(DcganError, match="begun with another settings"):
        augment(config(model, tmp_path / "out", count=25, condition="smile=1"))
    with pytest.raises(DcganError, match="more than --count 20"):
        augment(config(model, tmp_path / "out"))


def test_a_zip_holds_the_same_files(model: Path, tmp_path: Path) -> None:
    augment(config(model, tmp_path / "out"))
    assert augment(config(model, tmp_path / "out.zip")).path == tmp_path / "out.zip"
    with zipfile.ZipFile(tmp_path / "out.zip") as archive:
        assert {name: archive.read(name) for name in archive.namelist()} == files(tmp_path / "out")
    assert not (tmp_path / "out.zip.partial").exists()
    with pytest.raises(DcganError, match="already exists"):
        augment(config(model, tmp_path / "out.zip"))


def test_what_was_written_can_be_prepared_with_its_labels(model: Path, tmp_path: Path) -> None:
    augment(config(model, tmp_path / "out.zip"))
    data = prepare(PrepareConfig(source=str(tmp_path / "out.zip"), out=str(tmp_path / "packed"), size=32, workers=1))
    assert data.labels is not None
    generator = Generator.from_pretrained(model)
    seeds = range(1_000_000, 1_000_020)
    expected = generator.labels_of(generator.latents(seeds)).numpy()
    columns = [data.label_names.index(label.name) for label in LABELS]
    np.testing.assert_allclose(data.labels[:, columns], expected, rtol=1e-3)
    assert np.array_equal(data.read(range(20)), generator.sample(seeds))


def test_synthetic_images_never_go_among_real_ones(model: Path, tmp_path: Path, faces32: PackedImages) -> None:
    with pytest.raises(DcganError, match="lies in the packed data set"):
        augment(config(model, faces32.path / "more"))
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.jpg").write_bytes(b"")
    with pytest.raises(DcganError, match="holds other files"):
        augment(config(model, tmp_path / "photos"))
    with pytest.raises(DcganError, match="never go among real ones"):
        refuse_place(tmp_path / "photos" / "new", tmp_path / "photos" / "new", [str(tmp_path / "photos")])
    assert [path.name for path in (tmp_path / "photos").iterdir()] == ["a.jpg"]


def test_rare_classes_of_data_are_filled(model: Path, tmp_path: Path) -> None:
    values = np.array([[1, 0, 1, 30]] * 90 + [[0, 1, 0, 50]] * 10, np.float32)
    with PackedWriter(tmp_path / "data", 32, 3, labels=LABELS) as writer:
        writer.append(np.zeros((100, 32, 32, 3), np.uint8), values)
    augment(config(model, tmp_path / "out", count=80, balance=True, like=str(tmp_path / "data")))
    listed = rows(tmp_path / "out" / "labels.csv")
    assert {row["hair"] for row in listed} == {"grey"}
    assert {row["smile"] for row in listed} == {"0"}


def test_low_scores_and_copies_are_left_out(model: Path, tmp_path: Path) -> None:
    generator, discriminator = Generator.from_pretrained(model), Discriminator.from_pretrained(model)
    latents = generator.latents(range(200))
    images, codes = generator.render(latents), latents[:, 8:]
    screen = make_screen(discriminator, images, codes, 0.25, None)
    assert screen.low(images, codes).float().mean() == pytest.approx(0.25, abs=0.01)
    kept = scores(discriminator, images, codes)[~screen.low(images, codes)]
    assert kept.min() >= scores(discriminator, images, codes).quantile(0.25)

    draws = np.random.default_rng(0)
    real = draws.integers(0, 256, (600, 32, 32, 3)).astype(np.uint8)
    with PackedWriter(tmp_path / "data", 32, 3, held_out=0.2) as writer:
        writer.append(real)
    data = PackedImages.open(tmp_path / "data")
    screen = make_screen(discriminator, images, codes, 0.25, data)
    copied = data.read(data.training_indices[:10])
    noisy = (copied.astype(int) + draws.integers(-8, 9, copied.shape)).clip(0, 255).astype(np.uint8)
    assert screen.copies(noisy).all()
    assert screen.copies(draws.integers(0, 256, (50, 32, 32, 3)).astype(np.uint8)).float().mean() < 0.1
    with PackedWriter(tmp_path / "small", 32, 3) as writer:
        writer.append(real[:100])
    small = PackedImages.open(tmp_path / "small")
    with pytest.raises(DcganError, match="too few to tell what a copy is"):
        make_screen(discriminator, images, codes, 0.25, small)


def test_landmarks_are_marked_with_a_known_error(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    toy = prepare(PrepareConfig(source="toy", out=str(tmp_path / "toy"), size=32, count=1500, workers=1))
    marker = train_marker(toy)
    assert toy.landmarks is not None
    held_out = toy.held_out_indices
    off = np.linalg.norm(marker.mark(toy.read(held_out)) - toy.landmarks[held_out], axis=2).mean(0)
    np.testing.assert_allclose(off, [marker.error[name] * 32 for name in toy.landmark_names], rtol=0.01)
    assert off.mean() < 1.0  # always marking the mean face is off by 2 pixels
    learned_from = []

    def train_once(data: PackedImages) -> Marker:
        learned_from.append(data.digest)
        return marker

    monkeypatch.setattr(disk, "train_marker", train_once)
    written = augment(config(model, tmp_path / "out", landmarks=str(tmp_path / "toy")))
    assert learned_from == [toy.digest]
    listed = rows(tmp_path / "out" / "landmarks.csv")
    assert [row["file"] for row in listed] == [row["file"] for row in rows(tmp_path / "out" / "labels.csv")]
    points = marker.mark(Generator.from_pretrained(model).sample([1_000_003]))[0]
    assert float(listed[3]["nose_x"]) == pytest.approx(points[2, 0], abs=0.01)
    assert written.landmark_error == pytest.approx(off.mean(), rel=0.02)


def test_the_command_says_what_it_wrote(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["augment", str(model), str(tmp_path / "out"), "-n", "12", "--device", "cpu"]
    assert main([*arguments, "--filter"]) == 0
    assert "wrote 12 labelled synthetic images" in capsys.readouterr().out
    assert main([*arguments, "--condition", "hat=1"]) == 2
    assert "no label 'hat'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("file", "content", "told"),
    [
        ("synthetic.json", b"[]", "synthetic.json is damaged"),
        ("labels.csv", b"file,hair\nimages/me.png,red\n", "lists images/me.png, which is no image of this command"),
        ("labels.csv", b"file,hair\nimages/\xe9.png,red\n", "is not in UTF-8"),
    ],
)
def test_lists_that_another_program_changed_are_not_gone_on_with(
    model: Path, tmp_path: Path, file: str, content: bytes, told: str
) -> None:
    out = tmp_path / "out"
    augment(config(model, out, count=2))
    (out / "images" / "me.png").write_bytes(b"")
    (out / file).write_bytes(content)
    with pytest.raises(DcganError, match=told):
        augment(config(model, out, count=3))
