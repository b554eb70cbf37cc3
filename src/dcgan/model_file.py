"""The file that holds a trained model: tensors of its networks, its configuration, and what it says of itself.

It is one safetensors file, which alone is enough: no command asks for the architecture again. Nothing here builds a
network; `Generator.from_pretrained` and `Discriminator.from_pretrained` do, from what `read_model` returns.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from dcgan.checkpoint import load_tensors, save_tensors, tensors_digest
from dcgan.config import ModelConfig, from_json
from dcgan.errors import DcganError
from dcgan.hub import download, is_repository, write_card
from dcgan.images import Pixels

MODEL_FILE = "model.safetensors"
PRETRAINED = "pretrained"
"""In place of a path: the model that comes with the package."""
FORMAT = 1


def model_file(path: str | Path) -> Path:
    """The model file that `path` means: itself, `model.safetensors` in a folder or a Hugging Face repository, or the
    package's own for the word `pretrained`.

    Raises `DcganError` if there is none.
    """
    if str(path) == PRETRAINED:
        return Path(__file__).with_name("pretrained") / MODEL_FILE
    if is_repository(path):
        return download(str(path), MODEL_FILE)
    path = Path(path)
    if path.is_dir():
        if not (path / MODEL_FILE).is_file():
            raise DcganError(f"{path} holds no {MODEL_FILE}: it is no run, checkpoint or model of dcgan")
        return path / MODEL_FILE
    if not path.exists():
        raise DcganError(f"{path} does not exist: give a .safetensors file, or the folder of a run or checkpoint")
    return path


def save_model(
    path: Path,
    config: ModelConfig,
    states: Mapping[str, Mapping[str, torch.Tensor]],
    about: Mapping[str, Any],
    half: bool = False,
) -> dict[str, Any]:
    """Write a self-describing model file; returns what it says of itself.

    `states` maps `generator` (moving average of weights) and `discriminator` to their state dicts; `about` is any
    JSON-able description (data set, training progress, figures, terms of use), to which `model_digest` is added.
    `half` rounds to float16, for half the size.
    """
    tensors = {f"{role}.{name}": tensor for role, state in states.items() for name, tensor in state.items()}
    if half:
        tensors = {name: t.half() if t.is_floating_point() else t for name, t in tensors.items()}
    about = {**about, "digest": model_digest(_in_float32(tensors), config)}
    description = {"format": FORMAT, "model": dataclasses.asdict(config), "about": about}
    # One key: safetensors writes several in random order, and the same run should give the same bytes.
    save_tensors(path, tensors, {"dcgan": json.dumps(description)})
    return description


def save_folder(
    folder: Path,
    config: ModelConfig,
    states: Mapping[str, Mapping[str, torch.Tensor]],
    about: Mapping[str, Any],
    samples: Pixels | None,
) -> Path:
    """Write `model.safetensors`, `config.json` and a model card into `folder`; returns the model file's path.

    `states` and `about` are as in `save_model`; `samples`, uint8 N x H x W x C, are shown on the card.
    """
    path = folder / MODEL_FILE
    write_card(folder, save_model(path, config, states, about), list(states), samples)
    return path


def read_model(path: str | Path) -> tuple[ModelConfig, dict[str, torch.Tensor], dict[str, Any]]:
    """A model file's configuration, its tensors (`generator.*`, `discriminator.*`), and what it says of itself.

    Tensors are float32 on the CPU. `path` is what `model_file` takes. Raises `DcganError` for a file that is missing,
    damaged, of another kind or of a version with other settings.
    """
    file = model_file(path)
    tensors, metadata = load_tensors(file)
    try:
        description = json.loads(metadata.get("dcgan", "{}"))
    except ValueError as error:
        raise DcganError(f"{file} is damaged: what it says of itself is not valid JSON") from error
    if not isinstance(description, dict) or description.get("format") != FORMAT:
        raise DcganError(f"{file} is not a model that this version of dcgan can read")
    if not isinstance(description.get("about"), dict) or "model" not in description:
        raise DcganError(f"{file} is damaged: it does not say what model it holds")
    return from_json(ModelConfig, description["model"], str(file)), _in_float32(tensors), description["about"]


def model_digest(tensors: Mapping[str, torch.Tensor], config: ModelConfig) -> str:
    """What identifies a model: SHA-256 over its float32 tensors and the settings that differ from the defaults.

    Only those, so that a setting that comes with a later version leaves the models of earlier ones who they were.
    """
    defaults = dataclasses.asdict(ModelConfig())
    chosen = {name: value for name, value in dataclasses.asdict(config).items() if value != defaults[name]}
    return tensors_digest(tensors, chosen)


def _in_float32(tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: t.float() if t.is_floating_point() else t for name, t in tensors.items()}
