"""The memorisation audit: are fakes nearer to training images than photographs are that the model never saw?

The distance of an image to its nearest training image says little by itself: smooth images are near to everything.
So it is divided by the mean distance to the 50 nearest (Carlini et al. 2023, arXiv 2301.13188, section 4.2): near 1
for any image that is new, near 0 for a copy. What is near is then decided by held-out real images against the same
training images, as in the three-sample test of Meehan et al. (2020, arXiv 2004.05675): data sets hold near-duplicates
of their own, and a fake must not be blamed for what unseen photographs do as well.

Two spaces, as each is blind to something: features see through shifts and changed light, pixels through blur,
noise and mirroring.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from dcgan.draws import generator_for
from dcgan.images import Pixels

NEIGHBOURS = 50
THUMBNAIL = 16  # pixels a side: enough to tell faces apart, too few for a slight blur to show
NEAREST_SHARE = 0.05  # of the held-out images; what is nearer than these is called near
CONFIDENCE = 0.99
RESAMPLES = 2000
FEWEST_HELD_OUT = 100  # with fewer, chance alone raises the alarm more often than 1 - CONFIDENCE
DUPLICATE = 0.25  # closeness of one photograph saved twice
CLOSEST = 16  # pairs that are shown
Space = Literal["pixels", "features"]


@dataclass(frozen=True, eq=False)
class Views:
    """A set of images as the audit sees them."""

    features: Tensor
    """float32 N x D."""
    thumbnails: Tensor
    """float32 N x C x 16 x 16."""


@dataclass(frozen=True, eq=False)
class Nearest:
    """Each of N images' nearest training image."""

    closeness: Tensor
    """Distance to it over the mean distance to the 50 nearest: 0 for a copy, about 0.9 for a new image."""
    index: Tensor
    """Its place among the training images."""
    mirrored: Tensor
    """Whether it is the nearest when mirrored left to right."""


@dataclass(frozen=True)
class Pair:
    """A fake and its nearest training image, by their places in either set."""

    fake: int
    training: int
    mirrored: bool
    closeness: float


@dataclass(frozen=True)
class Finding:
    """What one space tells."""

    space: Space
    near: float
    """Share of the fakes that are nearer to a training image than the nearest 5% of held-out images are."""
    low: float
    high: float
    """Bootstrap confidence interval of that share."""
    expected: float
    """The same share of the held-out images: what new images give."""
    threshold: float
    """Closeness at or below which an image counts as near."""
    pairs: tuple[Pair, ...]
    """The closest, nearest first."""

    @property
    def copies(self) -> bool:
        """Whether more fakes are near than chance explains."""
        return self.low > self.expected


@dataclass(frozen=True)
class Audit:
    """What the audit found."""

    findings: tuple[Finding, ...]
    fakes: int
    held_out: int
    training: int

    @property
    def copies(self) -> bool:
        """Whether either space shows copies."""
        return any(finding.copies for finding in self.findings)

    @property
    def is_blunt(self) -> bool:
        """Whether held-out images repeat training images so often that they hide what copies fakes may be."""
        return any(finding.threshold < DUPLICATE for finding in self.findings)

    @property
    def verdict(self) -> str:
        """The outcome in words."""
        if not self.copies:
            return "no sign of copying"
        worst = max(self.findings, key=lambda finding: finding.near - finding.expected)
        copied = (worst.near - worst.expected) / (1 - worst.expected)
        return f"copies: about {copied:.0%} of the fakes are training images, or nearly so"


def thumbnails(images: Pixels) -> Tensor:
    """Images uint8 N x H x W x C averaged down to float32 N x C x 16 x 16."""
    return F.adaptive_avg_pool2d(torch.from_numpy(images).permute(0, 3, 1, 2).float(), THUMBNAIL)


def audit(fakes: Views, held_out: Views, training: Views, seed: int) -> Audit:
    """Compare how near fakes and held-out images lie to training images; `seed` decides the resamples."""
    findings = []
    spaces: tuple[Space, Space] = ("pixels", "features")
    for space in spaces:
        if space == "pixels":
            of_fakes, of_held_out = (nearest_thumbnails(v.thumbnails, training.thumbnails) for v in (fakes, held_out))
        else:
            of_fakes, of_held_out = (nearest_features(v.features, training.features) for v in (fakes, held_out))
        findings.append(compare(space, of_fakes, of_held_out, seed))
    return Audit(tuple(findings), len(fakes.features), len(held_out.features), len(training.features))


def compare(space: Space, fakes: Nearest, held_out: Nearest, seed: int) -> Finding:
    """The share of fakes that are near, with its confidence interval over resamples of both sets."""
    threshold = _near_threshold(held_out.closeness)
    generator = generator_for(seed, f"memorisation {space}", 0)
    shares = torch.stack(
        [
            _share_near(
                _resampled(fakes.closeness, generator), _near_threshold(_resampled(held_out.closeness, generator))
            )
            for _ in range(RESAMPLES)
        ]
    )
    low, high = shares.quantile(
        torch.tensor([(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2], dtype=torch.float64)
    ).tolist()
    closest = fakes.closeness.argsort(stable=True)[:CLOSEST].tolist()
    return Finding(
        space=space,
        near=_share_near(fakes.closeness, threshold).item(),
        low=low,
        high=high,
        expected=_share_near(held_out.closeness, threshold).item(),
        threshold=threshold.item(),
        pairs=tuple(
            Pair(i, int(fakes.index[i]), bool(fakes.mirrored[i]), round(float(fakes.closeness[i]), 4)) for i in closest
        ),
    )


def nearest_features(queries: Tensor, training: Tensor) -> Nearest:
    """Nearest neighbours in feature space, float32 N x D among M x D."""
    distances, indices = _nearest(queries, training)
    return Nearest(_closeness(distances), indices[:, 0], torch.zeros(len(queries), dtype=torch.bool))


def nearest_thumbnails(queries: Tensor, training: Tensor) -> Nearest:
    """Nearest neighbours in pixel space, N x C x 16 x 16 among M of them, each as it is and mirrored."""
    straight, straight_indices = _nearest(queries.flatten(1), training.flatten(1))
    mirrored, mirrored_indices = _nearest(queries.flip(3).flatten(1), training.flatten(1))
    distances, order = torch.cat([straight, mirrored], 1).sort(dim=1, stable=True)
    indices = torch.cat([straight_indices, mirrored_indices], 1).gather(1, order)
    k = straight.shape[1]
    return Nearest(_closeness(distances[:, :k]), indices[:, 0], order[:, 0] >= k)


def _nearest(queries: Tensor, training: Tensor) -> tuple[Tensor, Tensor]:
    """Distances to, and places of, the nearest training vectors, N x k each, in ascending order."""
    k = min(NEIGHBOURS, len(training))
    centre = training.mean(0)  # |x|^2 + |y|^2 - 2 x.y would lose digits to a common offset
    queries, training = queries - centre, training - centre
    norms = training.square().sum(1)
    distances, indices = [], []
    for part in torch.split(queries, max(1, 5_000_000 // len(training))):
        squares = torch.addmm(part.square().sum(1)[:, None] + norms, part, training.T, alpha=-2)
        nearest = squares.clamp_(min=0).topk(k, largest=False)
        distances.append(nearest.values.sqrt())
        indices.append(nearest.indices)
    return torch.cat(distances), torch.cat(indices)


def _closeness(distances: Tensor) -> Tensor:
    """Distance to the nearest over the mean to the k nearest, N; all at distance 0 are copies: 0."""
    return distances[:, 0] / distances.mean(1).clamp_min(torch.finfo().tiny)


def _near_threshold(closeness: Tensor) -> Tensor:
    """The closeness that the nearest 5% do not exceed."""
    return closeness.kthvalue(math.ceil(NEAREST_SHARE * len(closeness))).values


def _share_near(closeness: Tensor, threshold: Tensor) -> Tensor:
    return (closeness <= threshold).double().mean()


def _resampled(values: Tensor, generator: torch.Generator) -> Tensor:
    """As many values drawn with replacement."""
    return values[torch.randint(len(values), (len(values),), generator=generator)]
