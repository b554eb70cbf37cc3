"""A linear L2-SVM, the classifier that representations are judged with (Radford et al. 2015, section 5.1).

Each column of the targets is a problem of its own: with targets y of +1 and -1 it minimises

    |w|^2 / 2 + C sum_i max(0, 1 - y_i (w x_i + b))^2

over w and b, as LIBLINEAR's and scikit-learn's LinearSVC do, but that the constant b is not drawn to 0. Several classes
are told apart one against the rest. A target of 0 leaves an image out, so that the folds of a cross-validation are
columns too, and are solved together.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from dcgan.draws import generator_for

GRID = (1e-3, 1e-2, 1e-1, 1.0, 1e1, 1e2)
"""Values of C that are tried, for features of mean square length 1."""
FOLDS = 5
_TOLERANCE = 1e-3  # of the gradient's norm at 0; scikit-learn's is looser
_NEWTON_STEPS = 50
_CG_STEPS = 100
_BISECTIONS = 20
_LEADING = 256


class Leading(NamedTuple):
    """The leading principal directions of features, which make the solver faster and change nothing else."""

    directions: Tensor
    """D x K, orthonormal."""
    squares: Tensor
    """K: the features' sum of squares along each, falling."""


def leading(features: Tensor) -> Leading:
    """Nearly the leading directions of `features` N x D, by subspace iteration (Halko et al. 2011, algorithm 4.4)."""
    count = min(_LEADING, *features.shape)
    draws = generator_for(0, "leading directions", 0)
    basis = torch.randn(features.shape[1], count, generator=draws).to(features)
    for _ in range(2):
        basis = torch.linalg.qr(features.T @ (features @ basis)).Q
    _, lengths, rotation = torch.linalg.svd(features @ basis, full_matrices=False)
    return Leading(basis @ rotation.T, lengths.square())


def fit_svm(
    features: Tensor,
    targets: Tensor,
    c: float,
    start: tuple[Tensor, Tensor] | None = None,
    ahead: Leading | None = None,
) -> tuple[Tensor, Tensor]:
    """Weights D x M and constants M that solve M problems: `features` N x D, `targets` N x M of +1, -1 or 0.

    Newton's method on the squared hinge, which is convex and piecewise quadratic (Keerthi and DeCoste 2005): each step
    solved by conjugate gradients, with an exact line search. `start` is where to begin, such as the solution for
    another `c`; `ahead` is what `leading` found in the features, if they are used more than once.
    """
    y = targets.to(features.dtype)
    ahead = ahead or leading(features)
    weights, bias = start or (features.new_zeros(features.shape[1], y.shape[1]), features.new_zeros(y.shape[1]))
    weights, bias = weights.clone(), bias.clone()
    first = _norm(-2 * c * (features.T @ y), -2 * c * y.sum(0))  # at 0, where every slack is 1
    for _ in range(_NEWTON_STEPS):
        scores = features @ weights + bias
        slack = (1 - y * scores).clamp_min(0) * y.abs()
        by_score = -2 * c * y * slack
        by_weights, by_bias = weights + features.T @ by_score, by_score.sum(0)
        steep = _norm(by_weights, by_bias) > _TOLERANCE * first
        if not steep.any():
            break
        hessian = _Hessian(features, (slack[:, steep] > 0).to(y.dtype), c, ahead)
        step, step_bias = _conjugate_gradients(hessian, -by_weights[:, steep], -by_bias[steep])
        change = features @ step + step_bias
        length = _line_search(weights[:, steep], step, scores[:, steep], change, y[:, steep], c)
        weights[:, steep] += length * step
        bias[steep] += length * step_bias
    return weights, bias


def one_against_rest(targets: Tensor, classes: int) -> Tensor:
    """Targets N (places among the classes) as N x M of +1 and -1: a column a class, one column for two classes."""
    if classes == 2:
        return 2.0 * targets[:, None] - 1
    return 2.0 * torch.nn.functional.one_hot(targets, classes) - 1


def right(scores: Tensor, truth: Tensor) -> float:
    """Share of N images whose scores N x M say the same as `truth`, N x M as of `one_against_rest`."""
    if truth.shape[1] == 1:
        return float(((scores > 0) == (truth > 0)).float().mean())
    return float((scores.argmax(1) == truth.argmax(1)).float().mean())


def choose_c(features: Tensor, truth: Tensor, fold: Tensor, left_out: Sequence[int], ahead: Leading) -> float:
    """The value of `GRID` that is most often right on images left out, the smallest of equals.

    `fold` gives each of the N images a number; those of each number in `left_out` are left out in turn.
    """
    columns = torch.cat([truth * (fold != number)[:, None] for number in left_out], 1)
    start, shares = None, []
    for c in GRID:
        start = fit_svm(features, columns, c, start, ahead)
        by_fold = (features @ start[0] + start[1]).split(truth.shape[1], 1)
        found = [right(by_fold[i][fold == number], truth[fold == number]) for i, number in enumerate(left_out)]
        shares.append(sum(found) / len(found))
    return GRID[shares.index(max(shares))]


def _norm(weights: Tensor, bias: Tensor) -> Tensor:
    """Length of each column with its constant, M."""
    return (weights.square().sum(0) + bias.square()).sqrt()


class _Hessian:
    """Second derivatives where the images inside the margin are `active` (N x M, 0 or 1): I + 2 C X' active X."""

    def __init__(self, features: Tensor, active: Tensor, c: float, ahead: Leading) -> None:
        self.features, self.weight, self.ahead = features, 2 * c * active, ahead
        pulled = ahead.squares[:, None] * self.weight.mean(0)  # K x M, if the active images are like all others
        self.rest = 1 + pulled[-1]
        self.shrink = 1 - self.rest / (1 + pulled)
        self.by_bias = self.weight.sum(0).clamp_min(1)

    def times(self, weights: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
        pulled = self.weight * (self.features @ weights + bias)
        return weights + self.features.T @ pulled, pulled.sum(0)

    def roughly_undone(self, weights: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
        """The preconditioner: right along the leading directions, one number for all others."""
        along = self.ahead.directions.T @ weights
        return (weights - self.ahead.directions @ (self.shrink * along)) / self.rest, bias / self.by_bias


def _conjugate_gradients(hessian: _Hessian, goal: Tensor, goal_bias: Tensor) -> tuple[Tensor, Tensor]:
    """Solve hessian step = goal, D x M and M, as far as a Newton step is worth it."""
    step, step_bias = torch.zeros_like(goal), torch.zeros_like(goal_bias)
    left, left_bias = goal.clone(), goal_bias.clone()
    way, way_bias = hessian.roughly_undone(left, left_bias)
    square = (left * way).sum(0) + left_bias * way_bias
    enough, least = 0.01 * square, torch.finfo(goal.dtype).tiny
    for _ in range(_CG_STEPS):
        curved, curved_bias = hessian.times(way, way_bias)
        length = square / ((way * curved).sum(0) + way_bias * curved_bias).clamp_min(least)
        step += length * way
        step_bias += length * way_bias
        left -= length * curved
        left_bias -= length * curved_bias
        near, near_bias = hessian.roughly_undone(left, left_bias)
        before, square = square, (left * near).sum(0) + left_bias * near_bias
        if (square <= enough).all():
            break
        way = near + square / before.clamp_min(least) * way
        way_bias = near_bias + square / before.clamp_min(least) * way_bias
    return step, step_bias


def _line_search(weights: Tensor, step: Tensor, scores: Tensor, change: Tensor, y: Tensor, c: float) -> Tensor:
    """How far along `step` each objective is lowest: M numbers from 0 to 2, by bisecting its rising slope."""
    along, across = (weights * step).sum(0), step.square().sum(0)
    low, high = torch.zeros_like(along), torch.full_like(along, 2.0)
    for _ in range(_BISECTIONS):
        at = (low + high) / 2
        slack = (1 - y * (scores + at * change)).clamp_min(0)
        rising = along + at * across - 2 * c * (slack * y * change).sum(0) > 0
        low, high = torch.where(rising, low, at), torch.where(rising, at, high)
    return (low + high) / 2
