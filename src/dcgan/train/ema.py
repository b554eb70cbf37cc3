"""The moving average of the generator's weights, which is what samples and model files hold."""

from __future__ import annotations

import math

import torch
from torch import nn


def ema_decay(images: int, batch: int, half_life: float, rampup: float) -> float:
    """The weight of the old average in one step of `batch` images, after `images` have been shown.

    The half-life is `half_life` images, but never more than the share `rampup` of the images shown so far: early
    weights are forgotten fast (Karras et al. 2020, StyleGAN2-ADA's training loop).
    """
    return math.pow(0.5, batch / max(min(half_life, rampup * images), 1e-8))


@torch.no_grad()
def update_average(average: nn.Module, network: nn.Module, decay: float) -> None:
    """average <- decay * average + (1 - decay) * network, BatchNorm's running statistics included."""
    old, new = [], []
    for mine, theirs in zip(average.state_dict().values(), network.state_dict().values(), strict=True):
        if mine.is_floating_point():
            old.append(mine)
            new.append(theirs)
        else:
            mine.copy_(theirs)  # BatchNorm's count of batches
    torch._foreach_lerp_(old, new, 1 - decay)
