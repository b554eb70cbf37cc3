"""A conditional model class by class, by a generator whose obedience is known."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from dcgan.conditions import Condition
from dcgan.config import EvaluateConfig, Label, ModelConfig
from dcgan.data import PackedImages, PackedWriter
from dcgan.draws import generator_for
from dcgan.evaluate import Evaluation, ModuleExtractor, by_class, evaluate, summary, write_report
from dcgan.evaluate.by_class import FEWEST_OF_A_CLASS, label_reader
from dcgan.images import Pixels
from dcgan.models import Generator

LABELS = (Label("dark", "class"), Label("light", "class"), Label("striped", "binary"), Label("rare", "binary"))


def draw(labels: torch.Tensor, seeds: Sequence[int]) -> Pixels:
    """Noise around the brightness of the class, with stripes where asked for."""
    rows = []
    for (_, light, striped, _), seed in zip(labels.tolist(), seeds, strict=True):
        noise = torch.rand(32, 32, 3, generator=generator_for(seed, "noise", 0)).numpy() * 40
        image = 60 + 120 * light + noise
        image[::4] += 40 * striped
        rows.append(image.clip(0, 255).astype(np.uint8))
    return np.stack(rows)


def some_labels(count: int) -> torch.Tensor:
    draws = torch.Generator().manual_seed(1)
    light = (torch.rand(count, generator=draws) < 0.4).float()
    striped = (torch.rand(count, generator=draws) < 0.5).float()
    rare = (torch.arange(count) % 40 == 0).float()
    return torch.stack([1 - light, light, striped, rare], 1)


class Obedient(Generator):
    """Draws what it is told to, but for those of `ignores`, which it draws as the number of the seed has it."""

    ignores: tuple[int, ...] = ()

    def sample(
        self, seeds: Sequence[int], truncation: float | None = None, condition: Condition | None = None
    ) -> Pixels:
        labels = self.labels_of(self.latents(seeds, truncation, condition))
        for column in self.ignores:
            labels[:, column] = torch.tensor([float(seed % 2) for seed in seeds])
        return draw(labels, [seed + 10**6 for seed in seeds])


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> PackedImages:
    labels = some_labels(1200)
    path = tmp_path_factory.mktemp("data") / "stripes"
    with PackedWriter(path, 32, 3, labels=LABELS, name="stripes", held_out=0.3) as writer:
        writer.append(draw(labels, range(1200)), labels.numpy())
    return PackedImages.open(path)


def judge(data: PackedImages, small: ModuleExtractor, *ignores: int) -> Evaluation:
    generator = Obedient(ModelConfig(size=32, generator_width=4, labels=LABELS)).initialize(generator_for(0, "w", 0))
    generator.ignores = ignores
    assert generator.code is not None
    generator.code.learn(some_labels(1200))
    config = EvaluateConfig(model="none.safetensors", data=str(data.path), count=500, device="cpu")
    return evaluate(config, generator=generator, extractor=small)


def test_an_obedient_generator_is_told_from_one_that_ignores_a_label(
    data: PackedImages, small: ModuleExtractor, tmp_path: Path
) -> None:
    obedient, deaf = judge(data, small).by_class, judge(data, small, 1).by_class
    assert obedient is not None
    assert deaf is not None
    assert obedient.fidelity.fakes["striped"] > 0.97
    assert obedient.fidelity.fakes["class"] > 0.97
    assert obedient.fidelity.reals["striped"] > 0.97
    assert deaf.fidelity.fakes["class"] < 0.65
    assert deaf.fidelity.fakes["striped"] > 0.97
    one, other = ({found.name: found for found in by.distances} for by in (obedient, deaf))
    assert list(one) == ["dark", "light", "striped=0", "striped=1", "rare=0", "rare=1"]
    assert one["light"].reals + one["dark"].reals == 500
    assert one["light"].fakes + one["dark"].fakes == 500
    for name in ("dark", "light", "striped=1"):
        assert one[name].kernel is not None
        assert one[name].floor is not None
    # half of what should be light is dark
    assert other["light"].kernel.value > 20 * abs(one["light"].kernel.value)  # type: ignore[union-attr]
    rare = one["rare=1"]
    assert rare.reals < FEWEST_OF_A_CLASS
    assert rare.kernel is None


def test_the_report_names_classes_counts_and_labels(data: PackedImages, small: ModuleExtractor, tmp_path: Path) -> None:
    evaluation = judge(data, small)
    write_report(evaluation, tmp_path)
    page = (tmp_path / "evaluation.md").read_text()
    assert "## By class" in page
    assert "too few images" in page
    assert "labels read back right" in summary(evaluation, tmp_path)
    assert '"striped=1"' in (tmp_path / "evaluation.json").read_text()


def test_data_without_the_labels_are_told_of(people: PackedImages, small: ModuleExtractor) -> None:
    evaluation = judge(people, small)
    assert evaluation.by_class is None
    assert any("DATA lacks the labels that MODEL was told: dark, light" in note for note in evaluation.notes)


def test_a_damaged_classifier_in_the_cache_is_trained_anew(
    people: PackedImages, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(by_class, "EPOCHS", 0.1)
    labels = (Label("glasses", "binary"),)
    digest = label_reader(people, labels).digest
    (path,) = (cache / "classifiers").iterdir()
    whole = path.read_bytes()
    path.unlink()  # tensors read from it may be views of the file
    path.write_bytes(whole[:1000])
    assert label_reader(people, labels).digest == digest
