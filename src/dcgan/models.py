"""The two networks (Radford, Metz, Chintala 2015, section 3).

Both are written as loops over resolution: 4x4, 8x8, ... up to the image. Channels double with each halving of
the resolution, up to eight times the network's width.
"""

from __future__ import annotations

import itertools
import math
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from torch import nn

from dcgan.conditions import Condition, LabelCode, condition_rows
from dcgan.config import ModelConfig, label_groups
from dcgan.convolution import Convolution, FromVector, ToNumber, TransposedConvolution, UpsampledConvolution
from dcgan.draws import draw_latents, latents_from_seeds
from dcgan.errors import DcganError
from dcgan.hub import upload
from dcgan.images import Pixels, grid_columns, to_pixels
from dcgan.model_file import model_file, read_model, save_folder

# Kernels may round differently for another batch size; padding to one size keeps an image a function of its seed.
SAMPLE_BATCH = 32
CARD_SAMPLES = 36


def channels_of(width: int, stages: int) -> list[int]:
    """Channels of the hidden layers from 4x4 upwards: for 64x64, [8, 4, 2, 1] times the width."""
    return [width * min(8, 2 ** (stages - 1 - stage)) for stage in range(stages)]


class _Network(nn.Module):
    """What both networks share: their configuration, and how they are filled and stored."""

    role: str

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.about: dict[str, Any] = {}
        """What the model file says of data, training, measured figures and terms."""

    def initialize(self, generator: torch.Generator) -> Self:
        """Draw all weights: N(0, 0.02), BatchNorm scales N(1, 0.02), biases 0 (section 3.1 of the paper)."""
        for module in self.modules():
            if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)):
                nn.init.normal_(module.weight, 0.0, 0.02, generator=generator)
            elif isinstance(module, nn.BatchNorm2d):
                nn.init.normal_(module.weight, 1.0, 0.02, generator=generator)
            else:
                continue
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        return self

    @classmethod
    def from_pretrained(cls, path: str | Path) -> Self:
        """Load from a model file, or a folder that holds one (a run, a checkpoint); in evaluation mode, on the CPU.

        What is no path here may be a Hugging Face repository, `user/name`. Raises `DcganError` if there is none, or
        it is damaged or of another kind.
        """
        config, tensors, about = read_model(path)
        prefix = f"{cls.role}."
        state = {name.removeprefix(prefix): t for name, t in tensors.items() if name.startswith(prefix)}
        if not state:
            remedy = " (import it with --discriminator)" if "imported" in about else ""
            raise DcganError(f"{model_file(path)} holds no {cls.role}, which is needed here{remedy}")
        with torch.device("meta"):
            network = cls(config)
        try:
            network.load_state_dict(state, assign=True)
        except RuntimeError as error:
            raise DcganError(f"{model_file(path)}: its {cls.role} does not fit its own configuration") from error
        network.about = about
        # The stubs of `Module.to` do not know it by this one argument.
        network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        return network.eval()

    def save_pretrained(self, folder: str | Path) -> Path:
        """Write this network alone into `folder`, with a model card, as `save_folder` does."""
        samples = self.sample(range(CARD_SAMPLES)) if isinstance(self, Generator) else None
        return save_folder(Path(folder), self.config, {self.role: self.state_dict()}, self.about, samples)

    def push_to_hub(self, repository: str, *, private: bool = False, token: str | None = None) -> str:
        """Upload what `save_pretrained` writes to the Hugging Face repository `user/name`; returns its address.

        `private` makes a new repository a private one. Raises `DcganError` for what Hugging Face refuses.
        """
        with tempfile.TemporaryDirectory() as folder:
            self.save_pretrained(folder)
            return upload(Path(folder), repository, private=private, token=token)


class Generator(_Network):
    """Latents N x Z to images N x C x H x W in [-1, 1].

    A first layer to 4x4, then strided transposed convolutions, each doubling the resolution; BatchNorm and ReLU
    after each but the last, which ends in tanh without BatchNorm.

    A conditional one (`config.labels`) takes [z, y], N x (Z + L), where y codes the labels (`code`); z alone leaves
    them all unknown. What enters the first layer is [z, W y], with as many numbers in W y as labels: a label starts as
    loud as one number of z. A longer W y learns faster than z, as a label is the same for many images, and drowns it:
    with 100 numbers, all faces with the same labels became one face.
    """

    role = "generator"

    def __init__(self, config: ModelConfig) -> None:
        super().__init__(config)
        widths = channels_of(config.generator_width, config.stages)
        self.code = LabelCode(config.labels) if config.labels else None
        self.embedding = nn.Linear(len(config.labels), len(config.labels), bias=False) if config.labels else None
        doubled = UpsampledConvolution if config.upsampling == "nearest" else TransposedConvolution
        size = config.input_size
        self.first = nn.Sequential(
            FromVector(size, widths[0], bias=config.ends == "linear"),
            nn.BatchNorm2d(widths[0]),
            self._activation(),
        )
        self.hidden = nn.Sequential(
            *(
                nn.Sequential(
                    doubled(before, after),
                    nn.BatchNorm2d(after),
                    self._activation(),
                )
                for before, after in itertools.pairwise(widths)
            )
        )
        self.last = nn.Sequential(doubled(widths[-1], config.channels), nn.Tanh())

    def _activation(self) -> nn.Module:
        if self.config.generator_activation == "leaky_relu":
            return nn.LeakyReLU(0.2, inplace=True)
        return nn.ReLU(inplace=True)

    def initialize(self, generator: torch.Generator) -> Self:
        """Draw all weights as `_Network` says, but W so that what it makes of one label has norm 1."""
        super().initialize(generator)
        if self.embedding is not None:
            nn.init.normal_(self.embedding.weight, 0.0, len(self.config.labels) ** -0.5, generator=generator)
        return self

    def embed(self, latents: torch.Tensor) -> torch.Tensor:
        """What enters the first layer: [z, W y], N x (Z + L), of a conditional generator, and z itself of another."""
        if self.embedding is None:
            return latents
        z, y = latents.tensor_split([self.config.latent_size], dim=1)
        if not y.shape[1]:
            y = z.new_zeros(len(z), len(self.config.labels))
        return torch.cat([z, self.embedding(y).to(z.dtype)], 1)

    def forward(self, latents: torch.Tensor) -> torch.Tensor:
        images: torch.Tensor = self.last(self.hidden(self.first(self.embed(latents))))
        return images

    def latents(
        self, seeds: Sequence[int], truncation: float | None = None, condition: Condition | None = None
    ) -> torch.Tensor:
        """The latents of `seeds`, float32 N x Z (conditional: N x (Z + L)) on the CPU: each a function of its seed.

        `condition` sets labels, such as `{"smile": 1}`, or gives all of them, N x L with NaN for unknown. Labels that
        it leaves out are drawn by the seed as they are among the training images. Raises `DcganError` for labels
        that the model does not know, and values out of range.
        """
        z = latents_from_seeds(seeds, self.config.latent_size, self.config.latent, truncation)
        if self.code is not None:
            return torch.cat([z, self.code.draw(seeds, condition)], 1)
        if condition is not None:
            raise DcganError("the model was trained without labels, so it takes no condition")
        return z

    def random_latents(self, shape: Sequence[int], draws: torch.Generator) -> torch.Tensor:
        """Latents of any shape (... x Z, conditional: ... x (Z + L)) on the CPU, labels as among the training images.

        `shape` leaves out the last dimension.
        """
        z = draw_latents((*shape, self.config.latent_size), self.config.latent, draws)
        if self.code is None:
            return z
        codes = self.code.draw_any(math.prod(shape), draws)
        return torch.cat([z, codes.reshape(*shape, -1)], -1)

    def grid_latents(self, count: int) -> torch.Tensor:
        """The latents of seeds 0, 1, 2, ... for a grid of `count`; conditional: each row of it another condition.

        Its rows show each class, no and yes of each attribute, and low and high of each number, as many as there is
        room for; where there is more room, they come again with the next seeds. Within a column nothing else changes.
        """
        if self.code is None:
            return self.latents(range(count))
        conditions, columns = condition_rows(self.code), grid_columns(count)
        rows = []
        for place in range(count):
            row, column = divmod(place, columns)
            latent = self.latents([row // len(conditions) * columns + column])
            rows.append(self.with_condition(latent, conditions[row % len(conditions)][1]))
        return torch.cat(rows)

    def with_condition(self, latents: torch.Tensor, condition: Mapping[str, float]) -> torch.Tensor:
        """Latents N x (Z + L) with the labels of `condition` set, and nothing else changed."""
        assert self.code is not None, "only a conditional generator has labels"
        size = self.config.latent_size
        return torch.cat([latents[:, :size], self.code.replace(latents[:, size:], condition)], 1)

    def labels_of(self, latents: torch.Tensor) -> torch.Tensor:
        """The labels, N x L in their own units, that latents N x (Z + L) hold: what `config.labels` names."""
        assert self.code is not None, "only a conditional generator has labels"
        return self.code.decode(latents[:, self.config.latent_size :])

    def sample(
        self, seeds: Sequence[int], truncation: float | None = None, condition: Condition | None = None
    ) -> Pixels:
        """Images of `seeds`, uint8 N x H x W x C: each a function of its seed (and `condition`) alone, to the byte.

        `truncation` T keeps every number of z within [-T, T]; `condition` is as in `latents`.
        """
        return self.render(self.latents(seeds, truncation, condition))

    @torch.inference_mode()
    def render(self, latents: torch.Tensor) -> Pixels:
        """Images of latents as in `forward`, uint8 N x H x W x C, with running BatchNorm statistics, in float32."""
        training, device = self.training, next(self.parameters()).device
        self.eval()
        size = self.config.size
        pixels = [np.empty((0, size, size, self.config.channels), np.uint8)]
        for batch in latents.split(SAMPLE_BATCH):
            padded = torch.zeros(SAMPLE_BATCH, latents.shape[1])
            padded[: len(batch)] = batch
            pixels.append(to_pixels(self(padded.to(device))[: len(batch)]))
        self.train(training)
        return np.concatenate(pixels)


class Discriminator(_Network):
    """Images N x C x H x W in [-1, 1] to logits N; above 0 means real.

    Strided convolutions, each halving the resolution down to 4x4, with BatchNorm (but after the first) or a bias,
    and LeakyReLU 0.2, then one last layer to a number. A conditional one adds <V y, its 4x4 features summed over
    places> for the labels' codes y, N x L (Miyato and Koyama 2018, equation 5), over 4 times the number of labels (of
    groups of classes): unknown ones, coded 0, add nothing. V could make up for the division, but Adam moves all
    weights equally far in a step: without it the logit moves so fast that the generator is left behind, and ignores z.
    """

    role = "discriminator"

    def __init__(self, config: ModelConfig) -> None:
        super().__init__(config)
        widths = channels_of(config.discriminator_width, config.stages)[::-1]
        normalized = config.discriminator_norm == "batch"
        self.first = nn.Sequential(
            Convolution(config.channels, widths[0], bias=not normalized), nn.LeakyReLU(0.2, inplace=True)
        )
        self.hidden = nn.Sequential(
            *(
                nn.Sequential(
                    Convolution(before, after, bias=not normalized),
                    *([nn.BatchNorm2d(after)] if normalized else []),
                    nn.LeakyReLU(0.2, inplace=True),
                )
                for before, after in itertools.pairwise(widths)
            )
        )
        self.last = ToNumber(widths[-1], bias=config.ends == "linear")
        self.projection = nn.Linear(len(config.labels), widths[-1], bias=False) if config.labels else None

    def features(self, images: torch.Tensor) -> list[torch.Tensor]:
        """The activations after each hidden layer, from half the image's resolution down to 4x4."""
        activations = [self.first(images)]
        for block in self.hidden:
            activations.append(block(activations[-1]))
        return activations

    def forward(self, images: torch.Tensor, labels: torch.Tensor | None = None) -> torch.Tensor:
        return self.judge(self.hidden(self.first(images)), labels)

    def judge(self, features: torch.Tensor, labels: torch.Tensor | None = None) -> torch.Tensor:
        """Logits of the last of `features`, N x C x 4 x 4, and of the labels' codes."""
        logits: torch.Tensor = self.last(features)
        if labels is not None and self.projection is not None:
            summed = features.float().sum((2, 3)) / (4 * len(label_groups(self.config.labels)))
            logits = logits + (self.projection(labels) * summed).sum(1)
        return logits
