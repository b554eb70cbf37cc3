"""What a training step is made of: real images, latents, labels, targets and all random changes.

Everything random in a step is drawn here, on the processor, and sent to the device without waiting for it. Each draw
is that of the whole batch, a function of the seed and the step; a rank keeps its own part of it. So several devices
see together what one would have seen.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from dcgan.config import TrainConfig
from dcgan.data import PackedImages
from dcgan.diffaug import NUMBERS
from dcgan.draws import LargeOrder, draw_latents, epoch_order, generator_for
from dcgan.images import to_signed
from dcgan.losses import LOSSES
from dcgan.train.distributed import ALONE, World


@dataclass(frozen=True)
class View:
    """What the discriminator gets with the N images of one of its passes."""

    labels: Tensor | None
    """Codes of the images' labels, N x L, for a conditional model."""
    augmentation: Tensor | None
    """Numbers of `diffaug.augment`, if that is on."""
    noise: Tensor | None
    """To be added to the images, N x C x H x W, if any."""


@dataclass(frozen=True)
class Batch:
    """One rank's part of a step, N images, on the device."""

    real: Tensor
    """N x C x H x W in [-1, 1]."""
    latents: Tensor
    """N x Z; of a conditional model with labels, N x (Z + L)."""
    real_targets: Tensor
    """The discriminator's targets, N: smoothed, and some flipped."""
    fake_targets: Tensor
    views: dict[str, View]
    """By the discriminator's pass: real, fake, updated (fake, after its step), and paired (real, likewise)."""


class Batches:
    """Makes the batch of any step, in any order."""

    def __init__(
        self,
        config: TrainConfig,
        data: PackedImages,
        device: torch.device,
        world: World = ALONE,
        labels: Tensor | None = None,
    ) -> None:
        """`labels` are the codes of the training images' labels, M x L on the CPU, of a conditional model."""
        self.config, self.data, self.device, self.labels = config, data, device, labels
        self.part = world.part(config.batch)
        self.orders: dict[int, Tensor | LargeOrder] = {}

    def __call__(self, step: int) -> Batch:
        """The batch of a step; one step after another is fastest."""
        config = self.config
        real_targets, fake_targets = self.targets(step)
        real_labels = self.send(self.labels[self.places(step)]) if self.labels is not None else None
        latents = self.latents(step)
        fake_labels = latents[:, config.latent_size :] if self.labels is not None else None
        labels = {"real": real_labels, "fake": fake_labels, "updated": fake_labels}
        if LOSSES[config.loss].pairs:
            labels["paired"] = real_labels
        return Batch(
            real=self.real_images(step),
            latents=latents,
            real_targets=real_targets,
            fake_targets=fake_targets,
            views={name: self.view(name, step, label) for name, label in labels.items()},
        )

    def send(self, drawn: Tensor) -> Tensor:
        """A tensor on the device; from pinned memory, so that nothing waits for a GPU."""
        if self.device.type == "cuda":
            drawn = drawn.pin_memory()
        return drawn.to(self.device, non_blocking=True)

    def places(self, step: int) -> Tensor:
        """Places of this rank's real images among the training images: the next ones of the epoch's order."""
        count = len(self.data.training_indices)
        epoch, start = divmod(step * self.config.batch, count)
        positions = torch.arange(start + self.part.start, start + self.part.stop)
        chosen = torch.empty_like(positions)
        for ahead in range(int(positions[-1]) // count + 1):  # a batch may reach into the next epochs
            inside = positions // count == ahead
            chosen[inside] = self.order(epoch + ahead)[positions[inside] % count]
        return chosen

    def order(self, epoch: int) -> Tensor | LargeOrder:
        """The order of the training images in an epoch; only the one in use and the next are kept."""
        if epoch not in self.orders:
            self.orders = {e: order for e, order in self.orders.items() if e == epoch - 1}
            self.orders[epoch] = epoch_order(self.config.seed, epoch, len(self.data.training_indices))
        return self.orders[epoch]

    def real_images(self, step: int) -> Tensor:
        """A step's real images, some mirrored."""
        pixels = self.send(torch.from_numpy(self.data.read(self.data.training_indices[self.places(step).numpy()])))
        if self.config.flip:
            draws = generator_for(self.config.seed, "mirror", step)
            mirrored = self.send((torch.rand(self.config.batch, generator=draws) < 0.5)[self.part])
            pixels = torch.where(mirrored[:, None, None, None], pixels.flip(2), pixels)
        return to_signed(pixels)

    def latents(self, step: int) -> Tensor:
        """A step's latents; of a conditional model with the labels of random training images."""
        shape = (self.config.batch, self.config.latent_size)
        draws = generator_for(self.config.seed, "training latents", step)
        latents = draw_latents(shape, self.config.latent, draws)
        if self.labels is not None:
            draws = generator_for(self.config.seed, "training labels", step)
            chosen = torch.randint(len(self.labels), shape[:1], generator=draws)
            latents = torch.cat([latents, self.labels[chosen]], 1)
        return self.send(latents[self.part])

    def targets(self, step: int) -> tuple[Tensor, Tensor]:
        """The discriminator's targets for a step's real and fake images."""
        draws = generator_for(self.config.seed, "label flips", step)
        flips = torch.rand(2, self.config.batch, generator=draws) < self.config.label_flip
        real, fake = torch.tensor(self.config.real_label), torch.tensor(0.0)
        targets = torch.stack([torch.where(flips[0], fake, real), torch.where(flips[1], real, fake)])
        real_targets, fake_targets = self.send(targets[:, self.part])
        return real_targets, fake_targets

    def view(self, name: str, step: int, labels: Tensor | None) -> View:
        """What changes the images of one of the discriminator's passes."""
        config, augmentation, noise = self.config, None, None
        if config.augment == "diffaug":
            draws = generator_for(config.seed, f"augment {name}", step)
            augmentation = self.send(torch.rand(NUMBERS, config.batch, generator=draws)[:, self.part])
        share_left = max(0.0, 1 - step * config.batch / (config.input_noise_kimg * 1000))
        if config.input_noise * share_left > 0:
            draws = generator_for(config.seed, f"noise on {name}", step)
            shape = (config.batch, self.data.channels, self.data.size, self.data.size)
            drawn = self.send(torch.randn(shape, generator=draws)[self.part])
            noise = config.input_noise * share_left * drawn
        return View(labels, augmentation, noise)
