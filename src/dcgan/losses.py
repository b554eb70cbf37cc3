"""The losses, as pure functions of logits. `LOSSES` maps a name to its pair of them; add a row to add a loss."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
import torch.nn.functional as F

Cost = Callable[[torch.Tensor], torch.Tensor]


class Loss(Protocol):
    """What the logits N of as many real and fake images cost each network, in the mean."""

    @property
    def pairs(self) -> bool:
        """Whether the generator's cost depends on the real images' logits."""

    def discriminator(
        self, real: torch.Tensor, fake: torch.Tensor, real_targets: torch.Tensor, fake_targets: torch.Tensor
    ) -> torch.Tensor:
        """The discriminator's cost, where targets N are 1 for real, 0 for fake, and soft between."""

    def generator(self, real: torch.Tensor, fake: torch.Tensor) -> torch.Tensor:
        """The generator's cost."""


@dataclass(frozen=True)
class Pointwise:
    """Each logit x costs by itself: `real(x)` and `fake(x)` the discriminator, `generator(x)` the generator."""

    real_cost: Cost
    fake_cost: Cost
    generator_cost: Cost
    pairs: bool = False

    def discriminator(
        self, real: torch.Tensor, fake: torch.Tensor, real_targets: torch.Tensor, fake_targets: torch.Tensor
    ) -> torch.Tensor:
        return self._mixed(real, real_targets) + self._mixed(fake, fake_targets)

    def _mixed(self, logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        return (targets * self.real_cost(logits) + (1 - targets) * self.fake_cost(logits)).mean()

    def generator(self, real: torch.Tensor, fake: torch.Tensor) -> torch.Tensor:
        return self.generator_cost(fake).mean()


class RelativisticPairing:
    """Each real image is paired with a fake one, and only the difference of their logits counts.

    Jolicoeur-Martineau 2018; Huang et al. 2024 ("The GAN is dead; long live the GAN!", equation 2) with
    f(t) = -log(1 + exp(-t)). There are no targets to soften: a pair's cost is that its real image is not ahead.
    """

    pairs = True

    def discriminator(
        self, real: torch.Tensor, fake: torch.Tensor, real_targets: torch.Tensor, fake_targets: torch.Tensor
    ) -> torch.Tensor:
        return F.softplus(fake - real).mean()

    def generator(self, real: torch.Tensor, fake: torch.Tensor) -> torch.Tensor:
        return F.softplus(real - fake).mean()


def gradient_penalty(logits: torch.Tensor, images: torch.Tensor) -> torch.Tensor:
    """The mean squared norm of the gradient of logits N by their images N x C x H x W, itself differentiable.

    R1 when the images are real (Mescheder et al. 2018, equation 9, without gamma / 2), R2 when they are generated.
    """
    (gradients,) = torch.autograd.grad(logits.sum(), images, create_graph=True)
    return gradients.float().square().sum((1, 2, 3)).mean()


def _real_bce(logits: torch.Tensor) -> torch.Tensor:
    return F.softplus(-logits)  # -log sigmoid(x)


def _fake_bce(logits: torch.Tensor) -> torch.Tensor:
    return F.softplus(logits)  # -log(1 - sigmoid(x))


LOSSES: dict[str, Loss] = {
    # Goodfellow et al. 2014: the generator maximises log D(G(z)) (end of section 3), which is the cost of a real
    # label for a fake image, and keeps its gradient when the discriminator is sure.
    "bce": Pointwise(_real_bce, _fake_bce, _real_bce),
    # Mao et al. 2017, equation 9 with a = -1, b = c = 1: the same as targets 0 and 1 but centred on 0, so that a
    # logit's sign means the same for every loss.
    "least_squares": Pointwise(
        real_cost=lambda logits: (logits - 1) ** 2 / 2,
        fake_cost=lambda logits: (logits + 1) ** 2 / 2,
        generator_cost=lambda logits: (logits - 1) ** 2 / 2,
    ),
    # Lim and Ye 2017, section 3; Miyato et al. 2018, equations 16 and 17.
    "hinge": Pointwise(
        real_cost=lambda logits: F.relu(1 - logits),
        fake_cost=lambda logits: F.relu(1 + logits),
        generator_cost=lambda logits: -logits,
    ),
    "relativistic": RelativisticPairing(),
}
