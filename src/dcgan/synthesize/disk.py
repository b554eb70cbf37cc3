"""Write a labelled synthetic data set to disk, and go on where a stopped one was."""

from __future__ import annotations

import csv
import dataclasses
import io
import itertools
import json
import os
import re
import shutil
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from dcgan import __version__
from dcgan.checkpoint import read_json, told_as_errors, write_json, write_with
from dcgan.conditions import parse_condition
from dcgan.config import AugmentConfig, label_groups
from dcgan.data import PackedImages, label_values, open_data
from dcgan.data.packed import MANIFEST as PACKED_MANIFEST
from dcgan.device import choose_device
from dcgan.errors import DcganError
from dcgan.generate import provenance
from dcgan.images import Pixels, encode_image, image_type
from dcgan.models import Discriminator, Generator
from dcgan.synthesize.balance import require_labels, shares_of_data
from dcgan.synthesize.faces import labelled_latents
from dcgan.synthesize.landmarks import Marker, train_marker
from dcgan.synthesize.screen import Screen, make_screen

CHUNK = 256  # images in memory at a time
SCREENING = 1024  # images whose scores tell what is low
MANIFEST, LABELS, LANDMARKS = "synthetic.json", "labels.csv", "landmarks.csv"
MARK = "synthetic: made by a generative model (dcgan), no photograph of anybody"


@dataclass(frozen=True)
class Augmented:
    """What `augment` wrote."""

    path: Path
    images: int
    left_out: int
    """Images that --filter dropped."""
    landmark_error: float | None
    """In pixels of the images, mean over landmarks."""


def augment(config: AugmentConfig) -> Augmented:
    """Write images, `labels.csv` and the manifest `synthetic.json` into the folder or .zip that `config` names.

    Image `seed0001000000.png` depends on the model, its seed and the settings alone; a call that was stopped goes on
    when it is repeated. Raises `DcganError` for settings that do not fit the model, for a place among training data
    or among other files, and for one where another command's images are.
    """
    out = Path(config.out)
    data = open_data(config.like) if config.like else None
    folder = out.with_name(f"{out.name}.partial") if out.suffix == ".zip" else out
    refuse_place(out, folder, [path for path in (config.like, config.landmarks) if path])
    device = choose_device(config.device)
    generator = Generator.from_pretrained(config.model).to(device)
    writer = Writer(config, generator, data, folder)
    writer.begin()
    writer.prepare(Discriminator.from_pretrained(config.model).to(device) if config.filter else None)
    writer.write()
    manifest = writer.finish()
    if out != folder:
        write_with(out, lambda temporary: pack_zip(folder, temporary))
        shutil.rmtree(folder)
    return Augmented(out, manifest["count"], manifest["left_out"], writer.landmark_error)


class Writer:
    """One synthetic data set on its way to disk.

    `labels.csv` grows with each chunk, after its images are written: what it lists is whole, and with it the next
    seed is known.
    """

    def __init__(self, config: AugmentConfig, generator: Generator, data: PackedImages | None, folder: Path) -> None:
        self.config, self.generator, self.data, self.folder = config, generator, data, folder
        labels = generator.config.labels
        self.labels = labels
        self.condition = parse_condition(config.condition, labels) if config.condition else None
        self.shares: Sequence[Tensor | None] | None = None
        if config.balance:
            require_labels(labels, "--balance")
            values = None
            if data is not None:
                values = torch.from_numpy(label_values(data, labels, data.training_indices[:]))
            self.shares = shares_of_data(labels, values, config.count)
        self.screen: Screen | None = None
        self.marker: Marker | None = None

    @property
    def landmark_error(self) -> float | None:
        """Mean over landmarks, in pixels."""
        if self.marker is None:
            return None
        return sum(self.marker.error.values()) / len(self.marker.error) * self.generator.config.size

    def identity(self) -> dict[str, Any]:
        """All that decides what the images are, but for how many."""
        settings = dataclasses.asdict(self.config)
        for name in ("model", "out", "count", "device", "like", "landmarks"):
            del settings[name]
        return {
            "synthetic": MARK,
            "model": self.generator.about.get("digest"),
            "terms": self.generator.about.get("terms", ""),
            "version": __version__,
            "settings": settings,
            "like": None if self.data is None else {"name": self.data.name, "digest": self.data.digest},
            "landmarks_from": self.config.landmarks,
            "balanced_for": self.config.count if self.config.balance else None,
        }

    def begin(self) -> None:
        """Make the folder, or see that the one there was begun by the same command."""
        path = self.folder / MANIFEST
        if path.is_file():
            before = read_json(path)
            if not isinstance(before, dict):
                raise DcganError(f"{path} is damaged: choose another place")
            for name, value in self.identity().items():
                if before.get(name) != json.loads(json.dumps(value)):
                    raise DcganError(
                        f"{self.folder} was begun with another {name.replace('_', ' ')}: repeat the same command to "
                        "go on with it, or choose another place"
                    )
        else:
            write_json(path, {**self.identity(), "complete": False})

    def prepare(self, discriminator: Discriminator | None) -> None:
        """Make the screen and the marker that are asked for."""
        if discriminator is not None:
            seeds = range(self.config.first_seed, self.config.first_seed + SCREENING)
            latents = self.latents(seeds)
            codes = latents[:, self.generator.config.latent_size :]
            images = self.generator.render(latents)
            self.screen = make_screen(discriminator, images, codes, self.config.filter_share, self.data)
        if self.config.landmarks:
            size = self.generator.config.size
            source = self.config.landmarks
            faces = open_data(source, size=size, channels=self.generator.config.channels) if source == "toy" else None
            self.marker = train_marker(faces or open_data(source))

    def latents(self, seeds: Sequence[int]) -> Tensor:
        """Latents with the labels that the images should have."""
        return labelled_latents(self.generator, seeds, self.config.truncation, self.condition, self.shares)

    def write(self) -> None:
        """Write images until there are enough, from where the lists end."""
        done = self.restore()
        seed = seed_of(done[-1]) + 1 if done else self.config.first_seed
        kept = len(done)
        with tqdm(total=self.config.count, initial=kept, unit="image", desc="writing", disable=None) as progress:
            while kept < self.config.count:
                seeds = list(range(seed, seed + CHUNK))
                latents = self.latents(seeds)
                images = self.generator.render(latents)
                passed = self.passed(images, latents)[: self.config.count - kept]
                self.write_chunk([seeds[i] for i in passed], latents[passed], images[passed])
                kept, seed = kept + len(passed), seed + CHUNK
                progress.update(len(passed))
                if not passed and seed > self.config.first_seed + 100 * (self.config.count + CHUNK):
                    raise DcganError("hardly any image passes --filter: the model is too poor, or copies its data")

    def passed(self, images: Pixels, latents: Tensor) -> list[int]:
        """Places of the images that the screen lets through."""
        if self.screen is None:
            return list(range(len(images)))
        low = self.screen.low(images, latents[:, self.generator.config.latent_size :])
        copies = self.screen.copies(images)
        return (~(low | copies)).nonzero()[:, 0].tolist()

    def restore(self) -> list[str]:
        """Names of the images already written; what a kill left half-written is cut away."""
        names = read_list(self.folder / LABELS)
        if self.config.landmarks and names:
            names = names[: len(read_list(self.folder / LANDMARKS))]
        names = list(itertools.takewhile(lambda name: (self.folder / name).is_file(), names))
        if len(names) > self.config.count:
            raise DcganError(f"{self.folder} already holds {len(names)} images, more than --count {self.config.count}")
        for path, header in ((LABELS, self.header()), (LANDMARKS, self.landmark_header())):
            if header:
                keep_lines(self.folder / path, header, len(names))
        return names

    def write_chunk(self, seeds: Sequence[int], latents: Tensor, images: Pixels) -> None:
        """Write some images, and then list them."""
        names = [f"images/seed{seed:010d}.png" for seed in seeds]
        with told_as_errors(self.folder):
            (self.folder / "images").mkdir(exist_ok=True)
            for name, seed, latent, image in zip(names, seeds, latents, images, strict=True):
                about = provenance(self.generator, seed, latent, self.config.truncation)
                (self.folder / name).write_bytes(encode_image(image, image_type(Path(name)), about))
        if self.marker is not None and names:
            points = self.marker.mark(images).reshape(len(names), -1)
            rows = [
                [name, *(f"{value:.2f}" for value in row)] for name, row in zip(names, points.tolist(), strict=True)
            ]
            append_rows(self.folder / LANDMARKS, rows)
        values = self.generator.labels_of(latents) if self.labels else torch.empty(len(names), 0)
        append_rows(self.folder / LABELS, [[name, *self.fields(row)] for name, row in zip(names, values, strict=True)])

    def header(self) -> list[str]:
        """Columns of labels.csv: one for each attribute and number, and one for all of a group's classes."""
        return ["file", *(self.column(group) for group in label_groups(self.labels))]

    def column(self, group: Sequence[int]) -> str:
        """The name of a group's column."""
        return self.labels[group[0]].group if len(group) > 1 else self.labels[group[0]].name

    def landmark_header(self) -> list[str]:
        """Columns of landmarks.csv, or none."""
        if self.marker is None:
            return []
        return ["file", *(f"{name}_{axis}" for name in self.marker.names for axis in "xy")]

    def fields(self, values: Tensor) -> list[str]:
        """One image's labels as text; empty where unknown."""
        fields = []
        for group in label_groups(self.labels):
            known = values[group]
            if known.isnan().any():
                fields.append("")
            elif len(group) > 1:
                name = self.labels[group[int(known.argmax())]].name
                fields.append(name.partition("=")[2] if "=" in name else name)
            else:
                fields.append(f"{known.item():.5g}")
        return fields

    def finish(self) -> dict[str, Any]:
        """Write the whole manifest."""
        names = read_list(self.folder / LABELS)
        marker = self.marker
        seeds = [seed_of(name) for name in names]
        manifest = {
            **self.identity(),
            "complete": True,
            "count": len(names),
            "seeds": {"first": self.config.first_seed, "last": seeds[-1]},
            "labels": [label._asdict() for label in self.labels],
            "left_out": seeds[-1] + 1 - self.config.first_seed - len(seeds),
            "landmarks": None
            if marker is None
            else {
                "are": "marked by a regressor, not by hand",
                "learned_from": marker.learned_from,
                "training_faces": marker.training_count,
                "measured_on": marker.held_out_count,
                "mean_error_pixels": round(self.landmark_error or 0.0, 3),
                "error_by_landmark_share_of_size": marker.error,
            },
        }
        write_json(self.folder / MANIFEST, manifest)
        return manifest


def refuse_place(out: Path, folder: Path, sources: Sequence[str]) -> None:
    """Raise `DcganError` for a place that is taken, or lies within training data."""
    resolved = out.resolve()
    for parent in (resolved, *resolved.parents):
        if (parent / PACKED_MANIFEST).is_file():
            raise DcganError(f"{out} lies in the packed data set {parent}: synthetic images never go among real ones")
    for source in sources:
        if source != "toy" and resolved.is_relative_to(Path(source).expanduser().resolve()):
            raise DcganError(f"{out} lies in {source}: synthetic images never go among real ones")
    if out != folder and out.exists():
        raise DcganError(f"{out} already exists: remove it, or choose another name")
    if folder.exists() and not folder.is_dir():
        raise DcganError(f"{folder} is a file: choose another name")
    if folder.is_dir() and any(folder.iterdir()) and not (folder / MANIFEST).is_file():
        raise DcganError(f"{folder} holds other files: choose a new folder, or a .zip")


def seed_of(name: str) -> int:
    """The seed in the name of an image; another name, which someone else wrote into a list, is a `DcganError`."""
    match = re.fullmatch(r"images/seed(\d+)\.png", name, re.ASCII)
    if match is None:
        raise DcganError(f"{LABELS} lists {name}, which is no image of this command: choose another place")
    return int(match[1])


def read_list(path: Path) -> list[str]:
    """First fields of all whole lines below the header; none if there is no file."""
    return [line.partition(",")[0] for line in read_lines(path)[1:] if line.endswith("\n")]


def read_lines(path: Path) -> list[str]:
    """All lines of a list with their ends; none if there is no file. One in another encoding is a `DcganError`."""
    try:
        return path.read_text(encoding="utf-8").splitlines(keepends=True) if path.is_file() else []
    except ValueError as error:
        raise DcganError(f"{path} is damaged, as it is not in UTF-8: choose another place") from error


def keep_lines(path: Path, header: Sequence[str], count: int) -> None:
    """Cut a list back to its header and `count` lines; where there is none, begin it."""
    lines = read_lines(path)[1 : 1 + count]
    write_with(path, lambda temporary: temporary.write_text(as_csv([header]) + "".join(lines), encoding="utf-8"))


def append_rows(path: Path, rows: Sequence[Sequence[str]]) -> None:
    """Add lines to a list, and see that they reach the disk."""
    with told_as_errors(path), path.open("a", encoding="utf-8", newline="") as file:
        file.write(as_csv(rows))
        file.flush()
        os.fsync(file.fileno())


def as_csv(rows: Sequence[Sequence[str]]) -> str:
    """Rows as lines of CSV."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()


def pack_zip(folder: Path, path: Path) -> None:
    """All files of a folder as a zip, uncompressed, as PNG is compressed itself; the same files give the same bytes."""
    with zipfile.ZipFile(path, "w") as archive:
        for file in sorted(file for file in folder.rglob("*") if file.is_file()):
            info = zipfile.ZipInfo(file.relative_to(folder).as_posix())
            archive.writestr(info, file.read_bytes())
