"""What is kept beside a model: names, latents and directions, each bound to the model by its digest."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from dcgan.checkpoint import load_tensors, read_json, save_tensors, write_json
from dcgan.config import parse_seeds
from dcgan.errors import DcganError
from dcgan.model_file import PRETRAINED, model_file
from dcgan.models import Generator

FORMAT = 1


def beside(model: str | Path, ending: str) -> Path:
    """The file of a model's own: `runs/7/model.names.json` for the run `runs/7` and the ending `names.json`.

    The package's own model has its files where we are: `pretrained.names.json`.
    """
    if str(model) == PRETRAINED:
        return Path(f"{PRETRAINED}.{ending}")
    file = model_file(model)
    return file.with_name(f"{file.stem}.{ending}")


def read_names(path: Path, generator: Generator) -> dict[str, list[int]]:
    """Names and the seeds each stands for; none if there is no file.

    Raises `DcganError` if it is damaged, or made for another model.
    """
    if not path.exists():
        return {}
    stored = read_json(path)
    _check(path, stored, "names", generator)
    names = stored.get("names")
    if not isinstance(names, dict) or not all(
        isinstance(seeds, list) and all(type(seed) is int and 0 <= seed < 2**63 for seed in seeds)
        for seeds in names.values()
    ):
        raise DcganError(f"{path} is damaged: it does not hold names with their seeds")
    return names


def write_names(path: Path, generator: Generator, names: Mapping[str, Sequence[int]]) -> None:
    """Write names and the seeds each stands for."""
    write_json(path, {**_stamp("names", generator), "names": {name: list(seeds) for name, seeds in names.items()}})


@dataclass(frozen=True)
class Direction:
    """A direction in the latent space."""

    vector: Tensor
    """Z numbers, of norm 1."""
    about: dict[str, Any]
    """How it was found and what was measured of it, JSON-able."""


def read_directions(path: Path, generator: Generator) -> dict[str, Direction]:
    """Directions by name; none if there is no file. Raises `DcganError` as `read_names` does.

    The package's own model comes with some, which stand in for a file that is not there yet.
    """
    if path == beside(PRETRAINED, "directions.safetensors") and not path.exists():
        path = model_file(PRETRAINED).with_name("model.directions.safetensors")
    if not path.exists():
        return {}
    tensors, stored = _read_tensors(path, "directions", generator)
    shape = (generator.config.input_size,)
    named = stored.get("directions")
    if not isinstance(named, dict) or any(name not in tensors or tensors[name].shape != shape for name in named):
        raise DcganError(f"{path} is damaged: it does not hold the directions that it names")
    return {name: Direction(tensors[name].float(), about) for name, about in named.items()}


def write_directions(path: Path, generator: Generator, directions: Mapping[str, Direction]) -> None:
    """Write directions: one tensor each, under its name."""
    stamp = {**_stamp("directions", generator), "directions": {name: d.about for name, d in directions.items()}}
    save_tensors(path, {name: d.vector for name, d in directions.items()}, {"dcgan": json.dumps(stamp)})


def read_latents(path: Path, generator: Generator) -> tuple[Tensor, list[str]]:
    """Latents N x Z and the name of each. Raises `DcganError` as `read_names` does, or if there is no file."""
    tensors, stored = _read_tensors(path, "latents", generator)
    latents, names = tensors.get("latents"), stored.get("names")
    if latents is None or not isinstance(names, list) or latents.shape != (len(names), generator.config.input_size):
        raise DcganError(f"{path} is damaged: it does not hold as many latents as it names")
    return latents.float(), names


def write_latents(path: Path, generator: Generator, latents: Tensor, about: Mapping[str, Any]) -> None:
    """Write latents N x Z with `about`, which holds at least the `names` of all N."""
    save_tensors(path, {"latents": latents}, {"dcgan": json.dumps({**_stamp("latents", generator), **about})})


def gather_latents(
    generator: Generator, seeds: str | None, file: str | None, default: str, truncation: float | None = None
) -> tuple[Tensor, list[str]]:
    """The latents N x Z of seeds written such as `0-3,7`, then those of a file, and a name of each.

    Without either, the seeds are `default`.
    """
    numbers = parse_seeds(seeds or default) if seeds or not file else []
    latents, names = generator.latents(numbers, truncation), [f"seed {seed}" for seed in numbers]
    if file:
        stored, stored_names = read_latents(Path(file), generator)
        return torch.cat([latents, stored]), names + stored_names
    return latents, names


def _stamp(kind: str, generator: Generator) -> dict[str, Any]:
    return {"format": FORMAT, "kind": kind, "model": generator.about.get("digest")}


def _read_tensors(path: Path, kind: str, generator: Generator) -> tuple[dict[str, Tensor], dict[str, Any]]:
    tensors, metadata = load_tensors(path)
    try:
        stored = json.loads(metadata.get("dcgan", "{}"))
    except ValueError as error:
        raise DcganError(f"{path} is damaged: what it says of itself is not valid JSON") from error
    _check(path, stored, kind, generator)
    return tensors, stored


def _check(path: Path, stored: object, kind: str, generator: Generator) -> None:
    """Refuse a file of another kind, of a later format, or of another model."""
    if not isinstance(stored, dict) or (stored.get("kind"), stored.get("format")) != (kind, FORMAT):
        raise DcganError(f"{path} is no file of {kind} that this version of dcgan can read")
    mine = generator.about.get("digest")
    if stored.get("model") != mine:
        theirs = str(stored.get("model"))[:12]
        raise DcganError(f"{path} was made for another model (digest {theirs}, not {str(mine)[:12]}): make it anew")
