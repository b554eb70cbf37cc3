"""What is kept beside a model is bound to it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from dcgan.errors import DcganError
from dcgan.explore.files import (
    Direction,
    beside,
    gather_latents,
    read_directions,
    read_latents,
    read_names,
    write_directions,
    write_latents,
    write_names,
)
from dcgan.models import Generator


@pytest.fixture
def generator(model: Path) -> Generator:
    return Generator.from_pretrained(model)


def test_what_is_written_is_read_back(generator: Generator, tmp_path: Path) -> None:
    names = {"a - hyphen-ated man": [1, 2], "ö": [2**60]}
    write_names(tmp_path / "n.json", generator, names)
    assert read_names(tmp_path / "n.json", generator) == names
    direction = Direction(torch.eye(8)[1], {"linearity": 0.5})
    write_directions(tmp_path / "d.safetensors", generator, {"hair=black": direction})
    (read,) = read_directions(tmp_path / "d.safetensors", generator).items()
    assert read[0] == "hair=black"
    assert read[1].about == direction.about
    assert torch.equal(read[1].vector, direction.vector)
    write_latents(tmp_path / "l.safetensors", generator, torch.ones(2, 8), {"names": ["x", "y"]})
    latents, found = read_latents(tmp_path / "l.safetensors", generator)
    assert (found, latents.tolist()) == (["x", "y"], torch.ones(2, 8).tolist())
    assert read_names(tmp_path / "none.json", generator) == read_directions(tmp_path / "none", generator) == {}


def test_files_of_another_model_or_kind_are_refused(
    generator: Generator, tmp_path: Path, make_model: Callable[..., Path]
) -> None:
    other = Generator.from_pretrained(make_model(seed=1))
    write_names(tmp_path / "n.json", other, {"a": [1]})
    write_directions(tmp_path / "d.safetensors", other, {"a": Direction(torch.ones(8), {})})
    write_latents(tmp_path / "l.safetensors", other, torch.ones(1, 8), {"names": ["x"]})
    for read, name in ((read_names, "n.json"), (read_directions, "d.safetensors"), (read_latents, "l.safetensors")):
        with pytest.raises(DcganError, match=f"{name} was made for another model"):
            read(tmp_path / name, generator)
    with pytest.raises(DcganError, match="no file of latents"):
        read_latents(tmp_path / "d.safetensors", other)
    with pytest.raises(DcganError, match="no file of directions"):
        read_directions(make_model(), other)


def test_a_file_beside_a_model_is_named_after_it(model: Path) -> None:
    assert beside(model, "names.json") == beside(model.parent, "names.json") == model.parent / "model.names.json"


def test_latents_come_from_seeds_then_from_a_file(generator: Generator, tmp_path: Path) -> None:
    path = tmp_path / "l.safetensors"
    write_latents(path, generator, torch.ones(1, 8), {"names": ["face.png"]})
    both, names = gather_latents(generator, "5,1", str(path), "0-3")
    assert names == ["seed 5", "seed 1", "face.png"]
    assert torch.equal(both, torch.cat([generator.latents([5, 1]), torch.ones(1, 8)]))
    assert gather_latents(generator, None, str(path), "0-3")[1] == ["face.png"]
    assert gather_latents(generator, None, None, "0-3")[1] == [f"seed {seed}" for seed in range(4)]


@pytest.mark.parametrize("names", [None, [], {"hat": 3}, {"hat": ["1"]}, {"hat": [-1]}, {"hat": [True]}])
def test_damaged_names_are_told(generator: Generator, tmp_path: Path, names: object) -> None:
    write_names(tmp_path / "n.json", generator, {"hat": [1]})
    stored = json.loads((tmp_path / "n.json").read_text())
    (tmp_path / "n.json").write_text(json.dumps(stored | {"names": names}))
    with pytest.raises(DcganError, match=r"n.json is damaged"):
        read_names(tmp_path / "n.json", generator)


def test_vectors_of_another_size_are_told(generator: Generator, tmp_path: Path) -> None:
    write_directions(tmp_path / "d.safetensors", generator, {"smile": Direction(torch.ones(9), {})})
    with pytest.raises(DcganError, match=r"d.safetensors is damaged"):
        read_directions(tmp_path / "d.safetensors", generator)
    write_latents(tmp_path / "l.safetensors", generator, torch.ones(2, 8), {"names": ["one"]})
    with pytest.raises(DcganError, match=r"l.safetensors is damaged"):
        read_latents(tmp_path / "l.safetensors", generator)
