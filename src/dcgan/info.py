"""What a model, a run, a checkpoint or a data set is, as JSON and in words."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dcgan.checkpoint import read_json
from dcgan.config import TrainConfig, from_json
from dcgan.data import PackedImages
from dcgan.errors import DcganError
from dcgan.model_file import PRETRAINED, model_digest, read_model
from dcgan.train.run import CONFIG_FILE, METRICS_FILE, checkpoints
from dcgan.train.state import STATE_FILE, check_checkpoint, read_counters
from dcgan.train.tracking import read_metrics


def describe(path: Path, verify: bool = False) -> dict[str, Any]:
    """What `path` is, as a JSON-able dict with a `kind`; with `verify`, its files are read and checked in full.

    Raises `DcganError` if it is nothing of ours, or damaged.
    """
    if path.is_file() or str(path) == PRETRAINED:
        return describe_model(path, verify)
    if (path / "dataset.json").is_file():
        return describe_data(path, verify)
    if (path / STATE_FILE).is_file():
        counters = check_checkpoint(path) if verify else read_counters(path)
        return {**describe_model(path, verify), "kind": "checkpoint", "step": counters["step"]}
    if (path / CONFIG_FILE).is_file():
        return describe_run(path, verify)
    if path.is_dir():
        raise DcganError(f"{path} is no run, checkpoint or packed data set of dcgan")
    raise DcganError(f"{path} does not exist")


def describe_model(path: Path, verify: bool) -> dict[str, Any]:
    """A model file: its networks, and what it says of its training."""
    config, tensors, about = read_model(path)
    settings = dataclasses.asdict(config)
    if verify and model_digest(tensors, config) != about.get("digest"):
        raise DcganError(f"{path} is damaged: its tensors do not have the digest it names")
    parameters = {
        role: sum(tensor.numel() for name, tensor in tensors.items() if name.startswith(f"{role}."))
        for role in ("generator", "discriminator")
    }
    return {"kind": "model", "path": str(path), "model": settings, "numbers": parameters, **about}


def describe_data(path: Path, verify: bool) -> dict[str, Any]:
    """A packed data set."""
    data = PackedImages.open(path)
    if verify:
        data.verify()
    skipped = {key: data.manifest["skipped"][key] for key in ("count", "reasons")}
    keep = (
        "name",
        "size",
        "channels",
        "count",
        "digest",
        "labels",
        "landmarks",
        "held_out",
        "source",
        "settings",
        "terms",
    )
    return {"kind": "data set", "path": str(path), **{k: data.manifest.get(k) for k in keep}, "skipped": skipped}


def describe_run(path: Path, verify: bool) -> dict[str, Any]:
    """A run: how far it is, what it was told, its last figures."""
    config = from_json(TrainConfig, read_json(path / CONFIG_FILE), str(path / CONFIG_FILE))
    metrics = read_metrics(path) if (path / METRICS_FILE).is_file() else []
    evaluations = [record for record in metrics if "evaluation" in record]
    losses = [record for record in metrics if "evaluation" not in record]
    complete = checkpoints(path)
    if verify:
        for checkpoint in complete:
            check_checkpoint(checkpoint)
    differing = {
        field.name: getattr(config, field.name)
        for field in dataclasses.fields(config)
        if getattr(config, field.name) != field.default
    }
    return {
        "kind": "run",
        "path": str(path),
        "preset": config.preset,
        "settings": differing,
        "last": losses[-1] if losses else None,
        "last evaluation": evaluations[-1] if evaluations else None,
        "checkpoints": [checkpoint.name for checkpoint in complete],
        "dataset": read_counters(complete[-1])["dataset"] if complete else None,
    }


def in_words(about: Mapping[str, Any], indent: str = "") -> str:
    """The description as indented lines, empty entries left out."""
    lines = []
    for key, value in about.items():
        if value in (None, "", [], {}):
            continue
        if isinstance(value, Mapping):
            lines += [f"{indent}{key.replace('_', ' ')}:", in_words(value, indent + "  ")]
        elif isinstance(value, list):
            text = ", ".join(item["name"] if isinstance(item, Mapping) else str(item) for item in value)
            lines.append(f"{indent}{key.replace('_', ' ')}: {text}")
        else:
            lines.append(f"{indent}{key.replace('_', ' ')}: {value}")
    return "\n".join(line for line in lines if line)
