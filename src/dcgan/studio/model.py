"""The model in the studio, with all that is known of it."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor

from dcgan.conditions import LabelCode
from dcgan.config import label_groups
from dcgan.device import choose_device
from dcgan.errors import DcganError
from dcgan.explore import Direction, from_weights, read_directions
from dcgan.explore.files import beside
from dcgan.explore.principal import named
from dcgan.model_file import MODEL_FILE, model_file
from dcgan.models import Discriminator, Generator

PRINCIPAL = 8
"""Principal directions found from the weights where none were found by `dcgan principal`."""


@dataclass
class StudioModel:
    """Both networks on their device, and the generator's directions."""

    generator: Generator
    discriminator: Discriminator | None
    directions: dict[str, Direction]
    path: Path
    """The model's file."""
    version: tuple[int, int]
    """Size and time of change of the file that was read."""
    complaint: str | None = None
    """Why stored directions are not used, if so."""
    vectors: dict[str, Tensor] = field(init=False)
    digest: str = field(init=False)

    def __post_init__(self) -> None:
        self.vectors = {name: direction.vector for name, direction in self.directions.items()}
        self.digest = str(self.generator.about.get("digest", "0" * 64))

    @classmethod
    def load(cls, path: str | Path, device: str = "auto") -> StudioModel:
        """Read a model and what lies beside it; raises `DcganError` if there is no model."""
        place = choose_device(device)
        file = model_file(path).resolve()
        version = _version(file)  # before it is read: what changes meanwhile is read again
        generator = Generator.from_pretrained(path).to(place)
        try:
            discriminator = Discriminator.from_pretrained(path).to(place)
        except DcganError:
            discriminator = None
        complaint = None
        try:
            directions = read_directions(beside(path, "directions.safetensors"), generator)
        except DcganError as error:
            directions, complaint = {}, str(error)
        if not any("method" in direction.about for direction in directions.values()):
            directions = {**directions, **principal_directions(generator)}
        return cls(generator, discriminator, directions, file, version, complaint)

    @property
    def name(self) -> str:
        """What to call it: the folder of its run, or its file."""
        return self.path.parent.name if self.path.name == MODEL_FILE else self.path.stem

    def newer(self) -> StudioModel | None:
        """The model that a run has put in this one's place since, if so."""
        try:
            if _version(self.path) == self.version:
                return None
            return StudioModel.load(self.path, next(self.generator.parameters()).device.type)
        except (OSError, DcganError):  # it is gone, or another program's now: what is loaded stays
            return None

    def describe(self) -> dict[str, Any]:
        """JSON-able, for the page."""
        about, config = self.generator.about, self.generator.config
        directions = [
            {"name": name, "kind": "principal" if "method" in d.about else "attribute", "about": d.about}
            for name, d in self.directions.items()
        ]
        keep = ("dataset", "training", "metrics", "terms")
        return {
            "name": self.name,
            "digest": self.digest,
            "settings": dataclasses.asdict(config),
            "labels": [] if self.generator.code is None else describe_labels(self.generator.code),
            "directions": sorted(directions, key=lambda direction: direction["kind"]),  # attributes first
            "about": {name: about[name] for name in keep if about.get(name)},
            "parameters": sum(parameter.numel() for parameter in self.generator.parameters()),
        }


def describe_labels(code: LabelCode) -> list[dict[str, Any]]:
    """What may be told, JSON-able: a group of classes as one, and of a number its range, in steps that read well."""
    described: list[dict[str, Any]] = []
    for columns in label_groups(code.labels):
        label = code.labels[columns[0]]
        if label.kind == "class" and len(columns) > 1:
            names = [code.labels[column].name for column in columns]
            described.append({"name": label.group, "kind": "class", "classes": names})
            continue
        low, high = code.limits(columns[0])
        if label.kind == "number" and high > low:
            digits = 1 - math.floor(math.log10((high - low) / 2))  # 20 to 200 steps
            steps = math.ceil(low * 10**digits), math.floor(high * 10**digits)  # within the range: beyond is refused
            low, high = (round(step * 10.0**-digits, max(0, digits)) for step in steps)
            described.append({"name": label.name, "kind": "number", "low": low, "high": high, "digits": digits})
        elif label.kind != "number":
            described.append({"name": label.name, "kind": "binary"})
    return described


def _version(file: Path) -> tuple[int, int]:
    status = file.stat()
    return status.st_size, status.st_mtime_ns


def principal_directions(generator: Generator) -> dict[str, Direction]:
    """The strongest directions of the first layer's weights, by the names `dcgan principal` gives them."""
    return named("weights", *from_weights(generator, min(PRINCIPAL, generator.config.latent_size)))
