"""A model, both networks, as a folder for the Hugging Face Hub."""

from __future__ import annotations

from pathlib import Path

from torch import Tensor

from dcgan.config import ExportConfig
from dcgan.hub import upload
from dcgan.model_file import read_model, save_folder
from dcgan.models import CARD_SAMPLES, Generator


def export_folder(config: ExportConfig) -> list[str]:
    """Write the folder that `config` asks for, and upload it if it names a repository."""
    settings, tensors, about = read_model(config.model)
    states: dict[str, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        role, _, rest = name.partition(".")
        states.setdefault(role, {})[rest] = tensor
    samples = Generator.from_pretrained(config.model).sample(range(CARD_SAMPLES))
    folder = Path(config.out or "hub")
    save_folder(folder, settings, states, about, samples)
    told = [f"wrote {folder}: config.json, model.safetensors, README.md, samples.png"]
    if config.push:
        told.append(f"uploaded to {upload(folder, config.push, private=config.private)}")
    return told
