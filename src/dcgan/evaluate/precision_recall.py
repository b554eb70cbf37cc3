"""Precision and recall of generated images: are they like real ones, and do they cover all of these?

Improved precision and recall (Kynkaanniemi et al. 2019, arXiv 1904.06991) and density and coverage (Naeem et
al. 2020, arXiv 2002.09797). Each draws a ball around every feature that reaches to its k-th nearest neighbour in
the same set, and asks which features of the other set lie in it.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from dcgan.errors import DcganError
from dcgan.evaluate.features import require_finite


@dataclass(frozen=True)
class PrecisionRecall:
    """How fakes and reals lie among each other; all grow with quality, and all depend on the counts."""

    precision: float
    """Part of the fakes that lie in some real's ball: realism. In [0, 1]."""

    recall: float
    """Part of the reals that lie in some fake's ball: variety. In [0, 1]."""

    density: float
    """Reals' balls around a fake, over k: realism that few outlying reals cannot raise. About 1 if perfect."""

    coverage: float
    """Part of the reals with a fake in their ball: variety that outlying fakes cannot raise. In [0, 1]."""


def precision_recall(real: Tensor, fake: Tensor, *, k: int = 3, density_k: int = 5) -> PrecisionRecall:
    """All four figures for features N x D of reals and M x D of fakes.

    Balls reach to the `k`-th neighbour for precision and recall, to the `density_k`-th for density and coverage.
    Distances are float32 and a few million of them held at a time. Raises `DcganError` where a side has no k-th
    neighbour, for NaN, or for features of different lengths.
    """
    require_finite(real)
    require_finite(fake)
    if real.shape[1] != fake.shape[1]:
        raise DcganError(f"features of {real.shape[1]} and of {fake.shape[1]} dimensions do not compare")
    if len(real) <= max(k, density_k) or len(fake) <= k:
        raise DcganError(
            f"precision and recall need more than {max(k, density_k)} real and {k} fake images, "
            f"not {len(real)} and {len(fake)}"
        )
    # float32 distances by |x|^2 + |y|^2 - 2 x.y lose digits to a common offset, so it is removed first
    centre = real.mean(0, dtype=torch.float64).to(real.dtype)
    real, fake = (real - centre).float(), (fake - centre).float()
    real_balls = _squared_radii(real, (k, density_k))  # N x 2
    fake_balls = _squared_radii(fake, (k,))  # M x 1

    precise, balls_around_fakes = 0, 0
    recalled = torch.zeros(len(real), dtype=torch.bool)
    covered = torch.zeros(len(real), dtype=torch.bool)
    for rows in _chunks(len(fake), len(real)):
        distances = _squared_distances(fake[rows], real)
        precise += int((distances <= real_balls[:, 0]).any(1).sum())
        recalled |= (distances <= fake_balls[rows]).any(0)
        near = distances <= real_balls[:, 1]
        balls_around_fakes += int(near.sum())
        covered |= near.any(0)
    return PrecisionRecall(
        precision=precise / len(fake),
        recall=int(recalled.sum()) / len(real),
        density=balls_around_fakes / (density_k * len(fake)),
        coverage=int(covered.sum()) / len(real),
    )


def _squared_radii(features: Tensor, neighbours: tuple[int, ...]) -> Tensor:
    """Squared distance of each feature to its k-th nearest other one, N x K for K values of k."""
    radii = []
    for rows in _chunks(len(features), len(features)):
        distances = _squared_distances(features[rows], features)
        distances[:, rows].fill_diagonal_(torch.inf)  # none is its own neighbour
        nearest = distances.topk(max(neighbours), largest=False).values
        radii.append(nearest[:, [k - 1 for k in neighbours]])
    return torch.cat(radii)


def _squared_distances(first: Tensor, second: Tensor) -> Tensor:
    """Squared Euclidean distances, n x m, of float32 features n x D and m x D."""
    distances = torch.addmm(second.square().sum(1), first, second.T, alpha=-2)
    return distances.add_(first.square().sum(1)[:, None])


def _chunks(rows: int, columns: int) -> list[slice]:
    """Slices of `rows` such that each, times `columns`, is about five million distances."""
    step = max(1, 5_000_000 // columns)
    return [slice(start, min(start + step, rows)) for start in range(0, rows, step)]
