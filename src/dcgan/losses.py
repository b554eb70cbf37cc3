"""The losses, as pure functions of logits. `LOSSES` maps a name to its pair; add a row to add a loss.

A loss is told by what one logit x costs: `real(x)` the discriminator on a real image, `fake(x)` on a generated one,
and `generator(x)` the generator, x being the discriminator's logit of the generator's image. All are element-wise.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F

Cost = Callable[[torch.Tensor], torch.Tensor]


@dataclass(frozen=True)
class Loss:
    """What a logit costs each network; each function maps logits N to costs N."""

    real: Cost
    fake: Cost
    generator: Cost

    def discriminator(self, logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """The discriminator's mean cost of logits N whose images have targets N: 1 real, 0 fake, between is soft."""
        return (targets * self.real(logits) + (1 - targets) * self.fake(logits)).mean()


def _real_bce(logits: torch.Tensor) -> torch.Tensor:
    return F.softplus(-logits)  # -log sigmoid(x)


def _fake_bce(logits: torch.Tensor) -> torch.Tensor:
    return F.softplus(logits)  # -log(1 - sigmoid(x))


LOSSES = {
    # Goodfellow et al. 2014: the generator maximises log D(G(z)) (end of section 3), which is the cost of a real
    # label for a fake image, and keeps its gradient when the discriminator is sure.
    "bce": Loss(real=_real_bce, fake=_fake_bce, generator=_real_bce),
    # Mao et al. 2017, equation 9 with a = -1, b = c = 1: the same as targets 0 and 1 but centred on 0, so that a
    # logit's sign means the same for every loss.
    "least_squares": Loss(
        real=lambda logits: (logits - 1) ** 2 / 2,
        fake=lambda logits: (logits + 1) ** 2 / 2,
        generator=lambda logits: (logits - 1) ** 2 / 2,
    ),
    # Lim and Ye 2017, section 3; Miyato et al. 2018, equations 16 and 17.
    "hinge": Loss(
        real=lambda logits: F.relu(1 - logits),
        fake=lambda logits: F.relu(1 + logits),
        generator=lambda logits: -logits,
    ),
}
