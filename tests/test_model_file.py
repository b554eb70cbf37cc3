"""Model files: they give back what was saved, and say so where they cannot."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from dcgan.checkpoint import load_tensors, save_tensors
from dcgan.config import ModelConfig
from dcgan.draws import generator_for
from dcgan.errors import DcganError
from dcgan.model_file import read_model, save_model
from dcgan.models import Discriminator, Generator


@pytest.fixture
def trained() -> Generator:
    """A small generator whose running statistics are not those of a fresh one."""
    generator = Generator(ModelConfig(generator_width=16)).initialize(generator_for(0, "generator", 0))
    for _ in range(3):
        generator(torch.randn(16, 100, generator=generator_for(0, "warm up", 0)))
    return generator.to(memory_format=torch.channels_last)


def test_a_model_file_gives_back_the_same_networks(trained: Generator, tmp_path: Path) -> None:
    discriminator = Discriminator(trained.config).initialize(generator_for(0, "discriminator", 0))
    states = {"generator": trained.state_dict(), "discriminator": discriminator.state_dict()}
    save_model(tmp_path / "model.safetensors", trained.config, states, {"terms": "none"})
    again = Generator.from_pretrained(tmp_path)
    assert again.config == trained.config
    assert again.about["terms"] == "none"
    assert np.array_equal(again.sample(range(8)), trained.sample(range(8)))
    images = torch.randn(2, 3, 64, 64)
    torch.testing.assert_close(
        Discriminator.from_pretrained(tmp_path / "model.safetensors")(images), discriminator.eval()(images)
    )


def test_half_precision_halves_the_file_and_rounds_the_images(trained: Generator, tmp_path: Path) -> None:
    states = {"generator": trained.state_dict()}
    for name, half in (("whole", False), ("half", True)):
        save_model(tmp_path / f"{name}.safetensors", trained.config, states, {}, half=half)
    whole, half_as_large = (tmp_path / f"{name}.safetensors" for name in ("whole", "half"))
    assert half_as_large.stat().st_size < 0.55 * whole.stat().st_size
    rounded = Generator.from_pretrained(half_as_large)
    assert {tensor.dtype for tensor in rounded.parameters()} == {torch.float32}
    difference = rounded.sample(range(8)).astype(int) - trained.sample(range(8)).astype(int)
    assert 0 < np.abs(difference).max() <= 2
    again = read_model(rounded.save_pretrained(tmp_path / "again"))[2]["digest"]
    assert again == read_model(half_as_large)[2]["digest"]


def test_saving_what_was_loaded_changes_no_digest(trained: Generator, tmp_path: Path) -> None:
    first = read_model(trained.save_pretrained(tmp_path / "a"))[2]["digest"]
    second = read_model(Generator.from_pretrained(tmp_path / "a").save_pretrained(tmp_path / "b"))[2]["digest"]
    assert first == second


def test_the_digest_sees_weights_and_settings_but_not_figures(trained: Generator, tmp_path: Path) -> None:
    def digest(about: dict[str, Any]) -> str:
        states = {"generator": trained.state_dict()}
        save_model(tmp_path / "m.safetensors", trained.config, states, about)
        return str(read_model(tmp_path / "m.safetensors")[2]["digest"])

    plain = digest({})
    assert digest({"metrics": {"fid": 1.0}}) == plain
    with torch.no_grad():
        next(trained.parameters()).add_(1)
    assert digest({}) != plain


def test_files_that_are_no_model_are_told_apart(trained: Generator, tmp_path: Path) -> None:
    path = trained.save_pretrained(tmp_path / "good")
    with pytest.raises(DcganError, match="does not exist"):
        Generator.from_pretrained(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DcganError, match=r"holds no model\.safetensors"):
        Generator.from_pretrained(tmp_path / "empty")
    with pytest.raises(DcganError, match="holds no discriminator"):
        Discriminator.from_pretrained(path)
    (tmp_path / "short.safetensors").write_bytes(path.read_bytes()[:5000])
    with pytest.raises(DcganError, match="damaged"):
        Generator.from_pretrained(tmp_path / "short.safetensors")
    tensors, metadata = load_tensors(path)
    save_tensors(tmp_path / "foreign.safetensors", tensors)
    with pytest.raises(DcganError, match="this version of dcgan"):
        Generator.from_pretrained(tmp_path / "foreign.safetensors")
    description = json.loads(metadata["dcgan"])
    description["model"]["generator_width"] = 8
    save_tensors(tmp_path / "wrong.safetensors", tensors, {"dcgan": json.dumps(description)})
    with pytest.raises(DcganError, match="does not fit"):
        Generator.from_pretrained(tmp_path / "wrong.safetensors")
