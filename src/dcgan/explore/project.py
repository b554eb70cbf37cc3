"""Projection: the latents from which the generator comes nearest to given images.

Gradient descent on z from several starts (Lipton and Tripathi 2017), each the nearest of many random samples, in a
distance of pixels and of the discriminator's features.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from tqdm import tqdm

from dcgan.config import ProjectConfig
from dcgan.data.decode import decode
from dcgan.data.sources import Source
from dcgan.data.trees import TAR_SUFFIXES, UnusableError, read_payload
from dcgan.device import choose_device
from dcgan.draws import generator_for
from dcgan.errors import DcganError
from dcgan.explore.files import write_latents
from dcgan.explore.principal import first_layer
from dcgan.explore.sheets import sheet
from dcgan.images import Pixels, save_image, to_signed
from dcgan.models import SAMPLE_BATCH, Discriminator, Generator

STAGES = ("nearest sample", "best start", "quarter way", "found")
"""What the search shows of each image."""
_CHUNK = 16  # images projected together
LEARNING_RATE = 0.6
Watch = Callable[[int, int, Tensor], None]
"""Told of each step: how many are done, how many there are in all, and the latents so far (any number x Z, those
of the first image and start first). What it raises ends the search."""


@dataclass(frozen=True)
class Projection:
    """Where images were found in the latent space, in the images' order."""

    latents: Tensor
    """N x Z."""
    errors: npt.NDArray[np.float64]
    """N: root of the mean squared difference between image and reconstruction, in levels of 0 to 255."""
    stages: list[Tensor]
    """The same start's latents, N x Z, at each of `STAGES`."""


class Distance:
    """Squared distance between images: 1 is what two random samples of the generator lie apart.

    The mean over pixels, plus `weight` times the mean over the discriminator's layers, each divided by what random
    samples differ in it.
    """

    def __init__(self, discriminator: Discriminator, samples: Tensor, weight: float) -> None:
        """`samples` are random ones, N x C x H x W in [-1, 1]."""
        self.discriminator, self.weight = discriminator, weight
        with torch.no_grad():  # two samples differ by twice their variance
            self.scales = [1 / (2 * layer.var(0).mean().item() + 1e-8) for layer in self.describe(samples)]

    def describe(self, images: Tensor) -> list[Tensor]:
        """Pixels and then each layer's features of images N x C x H x W, flattened to N x D."""
        layers = [images, *self.discriminator.features(images)] if self.weight else [images]
        return [layer.flatten(1) for layer in layers]

    def __call__(self, found: Sequence[Tensor], wanted: Sequence[Tensor]) -> Tensor:
        """Distances N of what `describe` gave for N images each."""
        layers = [scale * (a - b).square().mean(1) for scale, a, b in zip(self.scales, found, wanted, strict=True)]
        return self._combine(layers)

    def between(self, found: Sequence[Tensor], wanted: Sequence[Tensor]) -> Tensor:
        """Distances N x M of N images to M others."""
        layers = [
            scale * torch.cdist(a, b).square() / a.shape[1]
            for scale, a, b in zip(self.scales, found, wanted, strict=True)
        ]
        return self._combine(layers)

    def _combine(self, layers: list[Tensor]) -> Tensor:
        features = sum(layers[1:], torch.zeros_like(layers[0])) / max(1, len(layers) - 1)
        return layers[0] + self.weight * features


def find_latents(
    generator: Generator,
    discriminator: Discriminator,
    images: Pixels,
    *,
    steps: int = 300,
    starts: int = 4,
    candidates: int = 500,
    features: float = 1.0,
    prior: float = 0.01,
    seed: int = 0,
    progress: bool = False,
    watch: Watch | None = None,
) -> Projection:
    """Project images, uint8 N x H x W x C of the model's own size and channels, all together.

    What one image comes to does not depend on the others but for rounding. The settings are those of
    `ProjectConfig`. Both networks must be on one device; their weights stay as they are. Raises `DcganError` for no
    images, or ones of another size. `watch` is told of each step, afresh for every 16 images.
    """
    config = generator.config
    if not len(images) or images.shape[1:] != (config.size, config.size, config.channels):
        wanted = f"N x {config.size} x {config.size} x {config.channels}"
        raise DcganError(f"images to project must be {wanted}, not {' x '.join(map(str, images.shape))}")
    parts = []
    for start in range(0, len(images), _CHUNK):
        chunk = images[start : start + _CHUNK]
        search = _Search(generator, discriminator, chunk, features, prior, watch)
        first = search.nearest(candidates, starts, seed)
        parts.append(search.run(first, steps, progress))
    return Projection(
        torch.cat([part.latents for part in parts]),
        np.concatenate([part.errors for part in parts]),
        [torch.cat(stage) for stage in zip(*(part.stages for part in parts), strict=True)],
    )


class _Search:
    """The search for one chunk of images."""

    def __init__(
        self,
        generator: Generator,
        discriminator: Discriminator,
        images: Pixels,
        features: float,
        prior: float,
        watch: Watch | None,
    ) -> None:
        self.generator, self.images, self.prior = generator.eval(), images, prior
        self.watch, self.done, self.total = watch, 0, 0
        self.device = next(generator.parameters()).device
        layer = first_layer(generator)
        metric = layer.T @ layer
        values, vectors = torch.linalg.eigh(metric / metric.trace() * len(metric))
        scales = values.clamp_min(1e-4).sqrt()
        self.to_coordinates = (vectors * scales @ vectors.T).float().to(self.device)
        self.to_latents = (vectors / scales @ vectors.T).float().to(self.device)
        bounds = _bounds(generator)
        self.bounds = None if bounds is None else (bounds[0].to(self.device), bounds[1].to(self.device))
        samples = self._sample(range(2 * SAMPLE_BATCH), 0)[1]
        self.distance = Distance(discriminator.eval(), samples, features)
        with torch.no_grad():
            self.wanted = self.distance.describe(to_signed(torch.from_numpy(images).to(self.device)))

    def _sample(self, numbers: range, seed: int) -> tuple[Tensor, Tensor]:
        latents = _draw(numbers, seed, "projection candidates", self.generator).to(self.device)
        with torch.no_grad():
            return latents, self.generator(latents)

    @torch.no_grad()
    def nearest(self, candidates: int, starts: int, seed: int) -> Tensor:
        """The `starts` nearest of `candidates` random latents to each image: N x starts x Z."""
        latents, distances = [], []
        for at in range(0, candidates, SAMPLE_BATCH):
            some, images = self._sample(range(at, min(at + SAMPLE_BATCH, candidates)), seed)
            latents.append(some)
            distances.append(self.distance.between(self.wanted, self.distance.describe(images)))
        chosen = torch.cat(distances, 1).topk(starts, largest=False).indices
        return torch.cat(latents)[chosen]

    def run(self, first: Tensor, steps: int, progress: bool) -> Projection:
        """From `first` (N x starts x Z) to the end: a short descent of all starts, then a long one of the best."""
        count, starts, size = first.shape
        self.done, self.total = 0, max(1, steps // 8) + steps
        wanted = [layer.repeat_interleave(starts, 0) for layer in self.wanted]
        explored = self._descend(first.reshape(-1, size), wanted, max(1, steps // 8), progress)[-1]
        with torch.no_grad():
            distances = self.distance(self.distance.describe(self.generator(explored)), wanted)
        best = distances.reshape(count, starts).argmin(1) + torch.arange(count, device=self.device) * starts
        stages = [first.reshape(-1, size)[best], explored[best]]
        stages = [stage.cpu() for stage in stages + self._descend(explored[best], self.wanted, steps, progress)]
        return Projection(stages[-1], error(self.generator.render(stages[-1]), self.images), stages)

    def _descend(self, latents: Tensor, wanted: Sequence[Tensor], steps: int, progress: bool) -> list[Tensor]:
        """Adam on latents N x Z towards the described images `wanted`: where it is after a quarter, and at the end.

        Its coordinates are those in which the first layer is an isometry: in z's own, some directions change the
        image far more than others, and it needs several times the steps. The rate rises over the first steps, since
        Adam's first ones are blind, and falls to 0 with a cosine.
        """
        coordinates = (latents @ self.to_coordinates).requires_grad_()
        optimizer = torch.optim.Adam([coordinates], LEARNING_RATE)
        reached = []
        for step in tqdm(range(steps), desc="projecting", unit="step", disable=None if progress else True):
            rate = min(1.0, (step + 1) / (0.05 * steps)) * (1 + math.cos(math.pi * step / steps)) / 2
            optimizer.param_groups[0]["lr"] = LEARNING_RATE * rate
            latents = coordinates @ self.to_latents
            loss = self.distance(self.distance.describe(self.generator(latents)), wanted) + self._unlikely(latents)
            (coordinates.grad,) = torch.autograd.grad(loss.sum(), coordinates)
            optimizer.step()
            latents = coordinates.detach() @ self.to_latents
            if self.bounds is not None:
                latents.clamp_(*self.bounds)
                coordinates.data = latents @ self.to_coordinates
            if step + 1 in (steps // 4, steps):
                reached.append(latents)
            self.done += 1
            if self.watch:
                self.watch(self.done, self.total, latents)
        return reached

    def _unlikely(self, latents: Tensor) -> Tensor:
        """How far the norm of each of N normal latents is from that of random ones, about sqrt(Z)."""
        if self.generator.config.latent == "uniform":
            return torch.zeros(len(latents), device=self.device)
        size = self.generator.config.latent_size
        distances: Tensor = latents[:, :size].norm(dim=1) - size**0.5
        return self.prior * distances.square()


def _bounds(generator: Generator) -> tuple[Tensor, Tensor] | None:
    """The least and the greatest value of each number of a latent where there are any: uniform ones, and labels."""
    uniform, code = generator.config.latent == "uniform", generator.code
    if not uniform and code is None:
        return None
    ends = torch.tensor([-1.0, 1.0] if uniform else [-math.inf, math.inf])
    low, high = ends[:, None].repeat(1, generator.config.latent_size)
    if code is not None:
        rows = code.rows.cpu()
        low, high = torch.cat([low, rows.amin(0)]), torch.cat([high, rows.amax(0)])
    return low, high


def _draw(numbers: range, seed: int, purpose: str, generator: Generator) -> Tensor:
    """Random latents N x Z, each a function of its number."""
    rows = [generator.random_latents([], generator_for(seed, purpose, number)) for number in numbers]
    return torch.stack(rows) if rows else torch.empty(0, generator.config.input_size)


def error(found: Pixels, wanted: Pixels) -> npt.NDArray[np.float64]:
    """Root mean squared difference of each of N pairs of images, in levels of 0 to 255."""
    difference = found.astype(np.float64) - wanted
    errors: npt.NDArray[np.float64] = np.sqrt((difference**2).mean((1, 2, 3)))
    return errors


class Projected(NamedTuple):
    """What `project` found and wrote."""

    latents: Path
    picture: Path
    names: list[str]
    errors: npt.NDArray[np.float64]
    """Of the images, N, as in `Projection`."""
    own_errors: npt.NDArray[np.float64]
    """Of the model's own samples: what error can be had at best."""


def project(config: ProjectConfig) -> Projected:
    """Project image files, write their latents and a picture of the search.

    Raises `DcganError` for a model that cannot be read or has no discriminator, and for files that are no images.
    """
    device = choose_device(config.device)
    generator = Generator.from_pretrained(config.model).to(device)
    discriminator = Discriminator.from_pretrained(config.model).to(device)
    names, images = read_images(config.images, generator, config.crop)
    own = generator.render(_draw(range(config.own_samples), config.seed, "own samples", generator))
    projection = find_latents(
        generator,
        discriminator,
        np.concatenate([images, own]),
        steps=config.steps,
        starts=config.starts,
        candidates=config.candidates,
        features=config.features,
        prior=config.prior,
        seed=config.seed,
        progress=True,
    )
    errors, own_errors = np.split(projection.errors, [len(images)])
    out = Path(config.out)
    about = {"names": names, "errors": errors.round(3).tolist(), "own_errors": own_errors.round(3).tolist()}
    write_latents(out, generator, projection.latents[: len(images)], about)
    stages = [generator.render(stage) for stage in projection.stages]
    rows = list(zip(np.concatenate([images, own]), *stages, strict=True))
    picture = Path(config.picture) if config.picture else out.with_suffix(".png")
    save_image(picture, sheet(rows, [*names, *["own sample"] * len(own)], ["original", *STAGES]))
    return Projected(out, picture, names, errors, own_errors)


def read_images(
    paths: Sequence[str], model: Generator | Discriminator, crop: str = "square"
) -> tuple[list[str], Pixels]:
    """Names and images, uint8 N x H x W x C of the size that `model` knows, of image files, folders and archives.

    They are prepared as training data is. Raises `DcganError` for what cannot be read or decoded.
    """
    size, channels = model.config.size, model.config.channels
    if channels not in (1, 3):
        raise DcganError(f"images can be prepared as grey or RGB, but this model's have {channels} channels")
    names, images = [], []
    for path in map(Path, paths):
        if path.is_dir() or path.name.lower().endswith((".zip", *TAR_SUFFIXES)):
            with Source(path) as source:
                files = [(Path(entry.name).name, entry.payload) for entry in source]
        else:
            files = [(path.name, path)]
        for name, payload in files:
            try:
                images.append(decode(read_payload(payload), size, channels, crop).pixels)
            except UnusableError as error:
                raise DcganError(f"{name} cannot be used: {error}") from error
            names.append(name)
    if not images:
        raise DcganError(f"there is no image in {', '.join(paths)}")
    return names, np.stack(images)
