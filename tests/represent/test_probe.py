"""The probe: what it learns from, what it is tested on, and what it says of it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from dcgan.cli import main
from dcgan.config import ModelConfig, ProbeConfig
from dcgan.data import Label, PackedImages, PackedWriter
from dcgan.draws import generator_for
from dcgan.errors import DcganError
from dcgan.models import Discriminator
from dcgan.represent.probe import Probe, judge, probe
from dcgan.represent.report import results_folder
from dcgan.represent.tasks import draw_labelled, find_tasks

N, HELD_OUT = 400, 150


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> PackedImages:
    """Noise with a bright place (one of three), a tint (yes or no), and a label that says nothing; some unknown."""
    random = np.random.default_rng(0)
    place, tint = random.choice(3, N, p=[0.6, 0.3, 0.1]), random.integers(0, 2, N)
    images = random.uniform(0, 120, (N, 32, 32, 3)) + 60 * tint[:, None, None, None] * np.array([1, 0, 0])
    for i, (y, x) in enumerate([(0, 0), (0, 20), (20, 10)]):
        images[place == i, y : y + 8, x : x + 8] += 70
    labels = np.column_stack([np.eye(3)[place], tint, random.integers(0, 2, N), random.uniform(0, 9, N)])
    labels[::7, 3] = np.nan
    kinds = [("at=left", "class"), ("at=right", "class"), ("at=low", "class")]
    kinds += [("tint", "binary"), ("nothing", "binary"), ("light", "number")]
    path = tmp_path_factory.mktemp("data") / "shapes"
    with PackedWriter(path, 32, 3, labels=[Label(*kind) for kind in kinds]) as writer:
        writer.append(images.astype(np.uint8), labels.astype(np.float32), None, np.arange(N) >= N - HELD_OUT)
    return PackedImages.open(path)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    config = ModelConfig(size=32, discriminator_width=8, generator_width=4, latent_size=4)
    network = Discriminator(config).initialize(generator_for(0, "d", 0))
    return network.save_pretrained(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def found(data: PackedImages, model: Path) -> Probe:
    against = "random,pixels"
    return probe(
        ProbeConfig(model=str(model), data=str(data.path), images="40,all", seeds=3, against=against, device="cpu")
    )


def test_what_can_be_seen_is_learned_and_what_cannot_is_not(found: Probe) -> None:
    means = {(m.task, m.features, m.images): m.accuracy.mean for m in found.measurements}
    assert {task for task, _, _ in means} == {"at", "tint", "nothing"}
    for kind in ("model", "random", "pixels"):
        assert means["tint", kind, 214] > 0.95
        assert means["at", kind, 250] > 0.9
        assert abs(means["nothing", kind, 250] - 0.5) < 0.12
        assert means["at", kind, 40] <= means["at", kind, 250] + 0.02
    assert found.frequent["at"] == pytest.approx(0.6, abs=0.1)


def test_draws_are_over_images_networks_or_nothing(found: Probe) -> None:
    runs = {(m.task, m.features, m.images): m.runs for m in found.measurements}
    assert len(runs["at", "model", 40]) == len(runs["at", "random", 40]) == len(runs["at", "random", 250]) == 3
    assert len(runs["at", "model", 250]) == 1
    assert len(set(runs["nothing", "random", 250])) > 1


def test_only_known_labels_are_learned_and_tested(found: Probe, data: PackedImages) -> None:
    assert data.labels is not None
    assert found.tested["tint"] == int((~np.isnan(data.labels[data.held_out_indices, 3])).sum()) < HELD_OUT
    tint = next(task for task in find_tasks(data, None) if task.name == "tint")
    known = tint.known(data.training_indices)
    assert not np.isnan(data.labels[known, 3]).any()
    assert np.array_equal(tint.targets[known], data.labels[known, 3])


def test_a_draw_keeps_the_classes_shares_or_makes_them_equal(data: PackedImages) -> None:
    task = find_tasks(data, "at")[0]
    indices = data.training_indices
    shares = np.bincount(task.targets[indices]) / len(indices)
    for count in (20, 50, 111):
        drawn = draw_labelled(task, indices, count, False, 0)
        assert len(set(drawn)) == len(drawn) == count
        assert set(drawn) <= set(indices)
        assert (np.abs(np.bincount(task.targets[drawn]) - count * shares) < 0.67).all()  # the nearest that three can be
        equal = np.bincount(task.targets[draw_labelled(task, indices, min(count, 50), True, 0)])
        assert equal.max() - equal.min() <= 1
    first, again, other = (draw_labelled(task, indices, 50, False, seed) for seed in (0, 0, 1))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
    with pytest.raises(DcganError, match="low has too few training images for 200"):
        draw_labelled(task, indices, 200, True, 0)
    with pytest.raises(DcganError, match="right has 0 training images"):
        draw_labelled(task, indices[task.targets[indices] != 1], 20, False, 0)


def test_the_images_own_axes_change_nothing() -> None:
    draws = generator_for(0, "features", 0)
    targets = torch.arange(60) % 2
    features = torch.randn(60, 100, generator=draws) + 0.4 * targets[:, None]
    tested = torch.randn(500, 100, generator=draws) + 0.4 * (torch.arange(500) % 2)[:, None]
    truth = torch.arange(500) % 2
    few, c = judge(features, targets, tested, truth, 2, 0)
    doubled = torch.cat([features] * 3), torch.cat([targets] * 3)  # more images than features: no other axes
    assert c in (1e-3, 1e-2, 1e-1, 1.0, 10.0, 100.0)
    assert few > 0.7
    assert abs(judge(*doubled, tested, truth, 2, 0)[0] - few) < 0.05


def test_the_command_writes_table_json_and_plot(
    data: PackedImages, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["probe", str(model), str(data.path), "--labels", "at,tint", "--images", "30,100", "--seeds", "2"]
    assert main([*arguments, "--against", "imagenet", "--out", str(tmp_path / "out"), "--device", "cpu"]) == 0
    told = capsys.readouterr()
    assert "| tint " in told.out
    assert "ImageNet network" in told.out
    assert "this measures transfer" in told.err
    written = json.loads((tmp_path / "out" / "probe.json").read_text())
    assert written["data"]["digest"] == data.digest
    assert len(written["measurements"]) == 8
    assert (tmp_path / "out" / "probe.png").stat().st_size > 5000
    assert "30 labelled" in (tmp_path / "out" / "probe.md").read_text()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"labels": "light"}, "light: a linear classifier tells classes"),
        ({"labels": "tin"}, "there is no label 'tin'; did you mean tint"),
        ({"images": "5"}, "numbers from 10 on"),
        ({"against": "resnet"}, "against can name random, pixels, imagenet"),
    ],
)
def test_mistakes_are_named(data: PackedImages, model: Path, settings: dict[str, str], message: str) -> None:
    with pytest.raises(DcganError, match=message):
        probe(ProbeConfig(model=str(model), data=str(data.path), **settings))


def test_data_without_labels_or_held_out_images_are_refused(faces32: PackedImages, model: Path, tmp_path: Path) -> None:
    with pytest.raises(DcganError, match="holds no images back to test on"):
        probe(ProbeConfig(model=str(model), data=str(faces32.path)))
    with PackedWriter(tmp_path / "plain", 32, 3) as writer:
        writer.append(np.zeros((9, 32, 32, 3), np.uint8), None, None, np.arange(9) > 5)
    with pytest.raises(DcganError, match="plain has no labels to learn"):
        probe(ProbeConfig(model=str(model), data=str(tmp_path / "plain")))


def test_results_lie_beside_the_model_but_never_in_the_package(model: Path, tmp_path: Path) -> None:
    beside = model if model.is_dir() else model.parent
    assert results_folder(ProbeConfig(model=str(model), data="toy")) == beside / "probe-toy"
    assert results_folder(ProbeConfig(model="pretrained", data="toy")) == Path("probe-toy")
    assert results_folder(ProbeConfig(model="someone/faces", data="toy")) == Path("probe-toy")
    assert results_folder(ProbeConfig(model="pretrained", data="toy", out=str(tmp_path))) == tmp_path
