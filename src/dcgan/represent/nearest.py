"""Nearest images: those of a data set whose discriminator features point most nearly the same way."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor
from tqdm import tqdm

from dcgan.config import NearestConfig, parse_seeds
from dcgan.data import PackedImages
from dcgan.device import choose_device
from dcgan.evaluate.report import enlarged
from dcgan.explore.project import read_images
from dcgan.explore.sheets import sheet
from dcgan.images import Pixels, save_image, to_input, to_pixels
from dcgan.models import Discriminator, Generator
from dcgan.represent.activations import features, open_images

_CHUNK = 512


@dataclass(frozen=True, eq=False)
class Neighbours:
    """For each of Q queries its K nearest images of a data set, the nearest first."""

    names: tuple[str, ...]
    """Of the queries."""
    indices: npt.NDArray[np.int64]
    """Q x K places in the data set."""
    similarities: npt.NDArray[np.float32]
    """Q x K cosines, 1 for the same features."""


def search(model: Discriminator, queries: Pixels, data: PackedImages, count: int) -> tuple[Tensor, Tensor]:
    """Similarities and places, Q x count each, of the images of `data` that are most like `queries`.

    The cosine between features, from both of which the data's mean is taken, because all faces share most of
    them. Queries are uint8 Q x H x W x C of any size. Memory does not grow with the data.
    """
    bar = tqdm(total=len(data), desc="features", unit="image", disable=None)
    sample = np.linspace(0, len(data) - 1, min(len(data), 2048)).astype(np.int64)
    centre = features(model, data.read(sample)).mean(0)
    wanted = F.normalize(features(model, queries) - centre)
    best, places = torch.empty(len(queries), 0), torch.empty(len(queries), 0, dtype=torch.long)
    for start in range(0, len(data), _CHUNK):
        chunk = np.arange(start, min(start + _CHUNK, len(data)))
        near = wanted @ F.normalize(features(model, data.read(chunk)) - centre).T
        best = torch.cat([best, near], 1)
        places = torch.cat([places, torch.from_numpy(chunk).expand(len(queries), -1)], 1)
        best, kept = best.topk(min(count, best.shape[1]), dim=1)
        places = places.gather(1, kept)
        bar.update(len(chunk))
    bar.close()
    return best, places


def nearest(config: NearestConfig) -> Neighbours:
    """Find the neighbours `config` asks for, and write the picture: each query beside them.

    Raises `DcganError` for a model without discriminator and for files that are no images.
    """
    device = choose_device(config.device)
    model = Discriminator.from_pretrained(config.model).to(device)
    names: list[str] = []
    parts: list[Pixels] = []
    if config.queries:
        names, images = read_images(config.queries, model, config.crop)
        parts.append(images)
    if config.seeds:
        seeds = parse_seeds(config.seeds)
        names += [f"seed {seed}" for seed in seeds]
        parts.append(Generator.from_pretrained(config.model).to(device).sample(seeds))
    queries = np.concatenate(parts)
    data = open_images(config.data, model, config.crop)
    best, places = search(model, queries, data, config.count)
    shown = [_as_model_sees(model, images) for images in (queries, data.read(places.reshape(-1)))]
    found = shown[1].reshape(*places.shape, *shown[1].shape[1:])
    rows = [[query, None, *row] for query, row in zip(shown[0], found, strict=True)]
    save_image(Path(config.out), sheet(rows, names, ["query", "", *map(str, range(1, places.shape[1] + 1))]))
    return Neighbours(tuple(names), places.numpy(), best.numpy())


def _as_model_sees(model: Discriminator, images: Pixels) -> Pixels:
    """Images of any size in the model's own, uint8, large enough to look at."""
    return enlarged(to_pixels(to_input(torch.from_numpy(images), model.config.size, model.config.channels)))
