"""Signs that a run is collapsing, told early and in plain words.

A GAN rarely fails with an error: the generator settles on a few images, or one network leaves the other nothing to
learn from, and the losses look as they always do. The figures logged beside them do not.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import nn

WINDOW = 5  # lines of metrics.jsonl in a row that must agree: single steps are noisy
WARM_UP_KIMG = 10.0  # everything looks collapsed before the generator has learned its first shapes
LEAST_SPREAD = 0.35
SURE, UNSURE = 0.999, 0.51
WORSE = 1.5
WARNINGS = {
    "spread": (
        "mode collapse: generated images differ from one another by only {fake_spread:.2f} of what real ones do. "
        "Lower --generator-lr, or give the discriminator a gradient penalty (--discriminator-norm none "
        "--gradient-penalty 1)"
    ),
    "won": (
        "the discriminator tells every real image from every generated one (accuracy {d_accuracy:.3f}), which teaches "
        "the generator little. Lower --discriminator-lr, or use --augment diffaug if there are few images"
    ),
    "lost": (
        "the discriminator does no better than guessing (accuracy {d_accuracy:.2f}), which teaches the generator "
        "nothing. Raise --discriminator-lr or lower --generator-lr"
    ),
    "quality": (
        "quality is falling: {name} is {figure:.4g} after {best:.4g} at its best, which best.safetensors holds. "
        "Stop here, or go back to it with lower rates (--on-collapse rollback)"
    ),
}


@torch.no_grad()
def health(
    real_logits: torch.Tensor, fake_logits: torch.Tensor, real: torch.Tensor, fake: torch.Tensor
) -> dict[str, torch.Tensor]:
    """Figures of one step that tell a collapse early, of logits N and images N x C x H x W.

    `d_accuracy`: share of pairs in which the real image has the higher logit (0.5 is guessing). `logit_gap`: mean real
    minus mean fake logit. `fake_spread`: how much generated images differ from one another, over how much real ones
    do (mean over pixels of the standard deviation over the batch).
    """
    return {
        "d_accuracy": (real_logits > fake_logits).float().mean(),
        "logit_gap": real_logits.mean() - fake_logits.mean(),
        "fake_spread": spread(fake) / spread(real).clamp_min(1e-6),
    }


def spread(images: torch.Tensor) -> torch.Tensor:
    """Mean over pixels of the standard deviation over the batch N x C x H x W.

    From the means of squares and of values, which takes a fraction of `std`'s time; less the first image, so that
    nothing is lost to rounding where all are alike.
    """
    values = images.permute(0, 2, 3, 1).flatten(1).float()  # as channels_last has them in memory
    values = values - values[:1]
    variance = values.square().mean(0) - values.mean(0).square()
    return (variance.clamp_min(0) * (len(values) / (len(values) - 1))).sqrt().mean()


def gradient_norm(network: nn.Module) -> torch.Tensor:
    """The norm of the network's whole gradient."""
    return nn.utils.get_total_norm([parameter.grad for parameter in network.parameters() if parameter.grad is not None])


class CollapseError(Exception):
    """A warning, for the run to act on or not; `healthy_step` is the last step before its first sign."""

    def __init__(self, warning: str, healthy_step: int) -> None:
        super().__init__(warning)
        self.warning, self.healthy_step = warning, healthy_step


class CollapseWatch:
    """Reads the run's lines of figures as they come, and says, once each time, when they mean a collapse."""

    def __init__(self, past: Iterable[Mapping[str, Any]] = ()) -> None:
        """`past` are the lines so far, so that a resumed run is watched as an uninterrupted one is."""
        self.signs: deque[str | None] = deque(maxlen=WINDOW)
        self.healthy_step = 0
        self.figure = ""
        """Name of the figure that quality is judged by."""
        self.best: tuple[float, int] = (float("inf"), 0)
        self.worse = 0
        for line in past:
            self.judge(line)

    def judge(self, line: Mapping[str, Any]) -> CollapseError | None:
        """Take a line of metrics.jsonl; returns what to warn of, when the lines begin to agree on a trouble."""
        return self._judge_quality(line) if "evaluation" in line else self._judge_figures(line)

    def _judge_figures(self, line: Mapping[str, Any]) -> CollapseError | None:
        sign = _sign(line)
        agreed_before = self._agreed()
        self.signs.append(sign)
        if sign is None:
            self.healthy_step = line["step"]
        if sign is None or self._agreed() is None or agreed_before == sign:
            return None
        return CollapseError(WARNINGS[sign].format(**line), self.healthy_step)

    def _agreed(self) -> str | None:
        return self.signs[0] if len(self.signs) == WINDOW and len(set(self.signs)) == 1 else None

    def _judge_quality(self, line: Mapping[str, Any]) -> CollapseError | None:
        name, figure = next(iter(line["evaluation"].items()))
        if name != self.figure:  # resumed with another extractor, whose figures do not compare
            self.figure, self.best, self.worse = name, (float("inf"), 0), 0
        self.best = min(self.best, (figure, line["step"]))
        best, step = self.best
        self.worse = self.worse + 1 if figure > WORSE * best else 0
        if self.worse != 2:  # once is chance
            return None
        return CollapseError(WARNINGS["quality"].format(name=name, figure=figure, best=best), step)


def _sign(line: Mapping[str, Any]) -> str | None:
    """What trouble one line of figures is a sign of, if any; one without these, of an earlier version, is of none."""
    spread, accuracy = line.get("fake_spread"), line.get("d_accuracy")
    if line["kimg"] < WARM_UP_KIMG or spread is None or accuracy is None:
        return None
    if spread < LEAST_SPREAD:
        return "spread"
    if accuracy > SURE:
        return "won"
    if accuracy < UNSURE:
        return "lost"
    return None
