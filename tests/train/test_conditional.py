"""Conditional runs: both networks see the labels of their images, and a resumed run stays the same run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from dcgan.checkpoint import load_tensors
from dcgan.config import Label, TrainConfig
from dcgan.data import PackedImages, PackedWriter, choose_labels, training_labels
from dcgan.errors import DcganError
from dcgan.models import Discriminator, Generator
from dcgan.train import resumable_config, train
from dcgan.train.loop import Trainer

Make = Callable[..., TrainConfig]


def pack(path: Path, labels: list[Label], values: np.ndarray) -> PackedImages:
    """Images of one brightness each, its number times 4."""
    with PackedWriter(path, 32, 1, labels=labels, name="squares") as writer:
        brightness = (np.arange(len(values)) * 4 % 256).astype(np.uint8)
        writer.append(np.broadcast_to(brightness[:, None, None, None], (len(values), 32, 32, 1)), values)
    return PackedImages.open(path)


def test_resumed_equals_uninterrupted(tiny: Make) -> None:
    whole = train(tiny(name="whole", condition="all")).run
    parts = train(tiny(name="parts", condition="all", kimg=0.04)).run
    import dataclasses

    train(dataclasses.replace(resumable_config(parts), kimg=0.08), parts)
    one, two = load_tensors(whole / "model.safetensors")[0], load_tensors(parts / "model.safetensors")[0]
    assert all(torch.equal(one[name], two[name]) for name in one)
    names = sorted(path.name for path in (whole / "samples").iterdir())
    for name in names:
        assert (whole / "samples" / name).read_bytes() == (parts / "samples" / name).read_bytes()
    assert Generator.from_pretrained(whole).config.labels[5] == Label("glasses", "binary")
    assert Discriminator.from_pretrained(whole).projection is not None


def test_the_discriminator_is_told_each_images_own_labels(tiny: Make, tmp_path: Path) -> None:
    values = np.arange(60, dtype=np.float32)[:, None] / 60
    data = pack(tmp_path / "data", [Label("light", "number")], values)
    config = tiny(data=str(data.path), size=32, channels=1, condition="light", labels=choose_labels(data, "light"))
    trainer = Trainer(config, data, tmp_path, torch.device("cpu"))
    seen: list[tuple[torch.Tensor, torch.Tensor]] = []
    trainer.state.discriminator.register_forward_pre_hook(lambda _, given: seen.append((given[0].detach(), given[1])))
    trainer.train_step()
    (images, codes), (_, fake_codes), (_, updated_codes) = seen
    assert trainer.state.generator.code is not None
    numbers = ((images.mean((1, 2, 3)) + 1) * 127.5 / 4).round()
    torch.testing.assert_close(trainer.state.generator.code.decode(codes)[:, 0], numbers / 60)
    assert torch.equal(fake_codes, updated_codes)
    assert not torch.equal(fake_codes, codes)
    assert all((trainer.batches.labels == code).any() for code in fake_codes)  # type: ignore[union-attr]
    trainer.train_step()
    assert not torch.equal(seen[4][1], fake_codes)


def test_labels_are_chosen_by_name_by_group_or_all(faces32: PackedImages) -> None:
    assert [label.name for label in choose_labels(faces32, "smile, glasses")] == ["glasses", "smile"]
    hair = choose_labels(faces32, "hair")
    assert [label.kind for label in hair] == ["class"] * 5
    assert choose_labels(faces32, "hair=red,hair=grey") == (Label("hair=red", "binary"), Label("hair=grey", "binary"))
    assert len(choose_labels(faces32, "all")) == len(faces32.label_names)
    assert choose_labels(faces32, None) == ()
    with pytest.raises(DcganError, match="did you mean glasses"):
        choose_labels(faces32, "glases")
    with pytest.raises(DcganError, match="names no label"):
        choose_labels(faces32, ",")


def test_data_must_have_labels_and_enough_of_each(tiny: Make, tmp_path: Path) -> None:
    bare = pack(tmp_path / "bare", [], np.zeros((10, 0), np.float32))
    with pytest.raises(DcganError, match="has no labels to condition on"):
        train(tiny(data=str(bare.path), condition="all"))
    values = np.array([[1, 0, 1]] + [[0, 1, np.nan]] * 9, np.float32)
    labels = [Label("a", "class"), Label("b", "class"), Label("smile", "binary")]
    few = pack(tmp_path / "few", labels, values)
    indices = few.training_indices
    with pytest.raises(DcganError, match="1 training images show a, which is too few"):
        training_labels(few, choose_labels(few, "class"), indices)
    with pytest.raises(DcganError, match="1 training images show smile=1"):
        training_labels(few, choose_labels(few, "smile"), indices)
    with pytest.raises(DcganError, match="lacks the labels that the model was told: smile"):
        training_labels(bare, [Label("smile", "binary")], bare.training_indices)


def test_another_condition_is_another_run(tiny: Make) -> None:
    run = train(tiny(condition="glasses", kimg=0.04)).run
    with pytest.raises(DcganError, match="was started with labels"):
        train(tiny(condition="hat", kimg=0.08), run)
