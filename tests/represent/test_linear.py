"""The linear SVM finds the minimum of its objective, and a cross-validation's folds are fits of their own."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from dcgan.draws import generator_for
from dcgan.represent.linear import FOLDS, GRID, choose_c, fit_svm, leading, one_against_rest, right


def problem(n: int, d: int, classes: int, dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor]:
    """Overlapping clusters with a long-tailed spectrum, as features have: N x D, and the class of each."""
    draws = generator_for(0, "problem", n)
    targets = torch.randint(0, classes, (n,), generator=draws)
    middles = torch.randn(classes, d, generator=draws)
    features = 0.5 * middles[targets] + 2 * torch.randn(n, d, generator=draws)
    features = features * torch.arange(1, d + 1) ** -0.7
    return (features / features.square().sum(1).mean().sqrt() + 0.1).to(dtype), targets


def objective(features: Tensor, truth: Tensor, c: float, weights: Tensor, bias: Tensor) -> Tensor:
    slack = (1 - truth * (features @ weights + bias)).clamp_min(0) * truth.abs()
    return weights.square().sum(0) / 2 + c * slack.square().sum(0)


@pytest.mark.parametrize("c", GRID)
@pytest.mark.parametrize(("n", "d", "classes"), [(300, 20, 2), (120, 400, 2), (200, 50, 4), (700, 350, 3)])
def test_the_gradient_vanishes_where_it_stops(n: int, d: int, classes: int, c: float) -> None:
    features, targets = problem(n, d, classes)
    truth = one_against_rest(targets, classes).double()
    weights, bias = (value.requires_grad_() for value in fit_svm(features, truth, c))
    loss = objective(features, truth, c, weights, bias)
    gradient = torch.cat([part.reshape(-1, loss.numel()) for part in torch.autograd.grad(loss.sum(), (weights, bias))])
    nothing = torch.zeros(d, loss.numel(), dtype=torch.float64).requires_grad_()
    at_zero = torch.zeros(loss.numel(), dtype=torch.float64).requires_grad_()
    start = objective(features, truth, c, nothing, at_zero)
    first = torch.cat([p.reshape(-1, loss.numel()) for p in torch.autograd.grad(start.sum(), (nothing, at_zero))])
    assert (gradient.norm(dim=0) < 2e-3 * first.norm(dim=0)).all()
    assert (loss <= start).all()


@pytest.mark.parametrize("c", [0.01, 1.0, 100.0])
def test_it_agrees_with_scikit_learn(c: float) -> None:
    svm = pytest.importorskip("sklearn.svm")
    features, targets = problem(300, 30, 2)
    theirs = svm.LinearSVC(C=c, dual=False, tol=1e-8, intercept_scaling=1e3, max_iter=100_000)
    theirs.fit(features.numpy(), targets.numpy())
    weights, bias = fit_svm(features, one_against_rest(targets, 2), c)
    expected = torch.from_numpy(theirs.decision_function(features.numpy()))
    torch.testing.assert_close((features @ weights + bias)[:, 0], expected, atol=2e-2, rtol=2e-2)


def test_a_target_of_0_leaves_the_image_out() -> None:
    features, targets = problem(200, 30, 2)
    truth = one_against_rest(targets, 2)
    kept = torch.arange(200) % 3 > 0
    weights, bias = fit_svm(features, torch.cat([truth, truth * kept[:, None]], 1), 1.0)
    alone, alone_bias = fit_svm(features[kept], truth[kept], 1.0)
    scores = (features @ weights + bias)[:, 1:]
    torch.testing.assert_close(scores, features @ alone + alone_bias, atol=5e-3, rtol=5e-3)


def test_where_it_starts_and_what_it_knows_ahead_change_nothing() -> None:
    features, targets = problem(300, 40, 3)
    truth = one_against_rest(targets, 3)
    plain = fit_svm(features, truth, 1.0)
    ahead = leading(features)
    warm = fit_svm(features, truth, 1.0, start=fit_svm(features, truth, 100.0, ahead=ahead), ahead=ahead)
    torch.testing.assert_close(features @ plain[0] + plain[1], features @ warm[0] + warm[1], atol=5e-3, rtol=5e-3)


def test_leading_directions_are_those_of_the_singular_value_decomposition() -> None:
    features, _ = problem(400, 300, 2)
    found = leading(features)
    exact = torch.linalg.svd(features, full_matrices=False)
    torch.testing.assert_close(found.squares[:20], exact.S[:20].square(), rtol=1e-3, atol=0)
    overlap = (found.directions[:, :10].T @ exact.Vh[:10].T).abs()
    torch.testing.assert_close(overlap, torch.eye(10, dtype=torch.float64), atol=0.1, rtol=0)


def test_right_counts_classes_and_signs() -> None:
    truth = one_against_rest(torch.tensor([0, 1, 1, 0]), 2)
    assert right(torch.tensor([[-1.0], [2.0], [-0.1], [-3.0]]), truth) == 0.75
    classes = one_against_rest(torch.tensor([0, 1, 2]), 3)
    assert classes.tolist() == [[1, -1, -1], [-1, 1, -1], [-1, -1, 1]]
    assert right(torch.tensor([[0.1, 0.0, -1.0], [0.1, 0.0, -1.0], [-3.0, -2.0, -1.0]]), classes) == pytest.approx(
        2 / 3
    )


def test_c_is_the_one_that_does_best_on_what_is_left_out() -> None:
    features, targets = problem(200, 150, 2)
    truth, fold = one_against_rest(targets, 2), torch.arange(200) % FOLDS
    shares = []
    for c in GRID:
        folds = []
        for number in range(FOLDS):
            kept = fold != number
            weights, bias = fit_svm(features[kept], truth[kept], c)
            folds.append(right(features[~kept] @ weights + bias, truth[~kept]))
        shares.append(sum(folds) / FOLDS)
    assert max(shares) - min(shares) > 0.02  # the choice matters
    chosen = choose_c(features, truth, fold, range(FOLDS), leading(features))
    assert shares[GRID.index(chosen)] >= max(shares) - 0.011  # up to what the solver's tolerance can tip
