"""The two networks (Radford, Metz, Chintala 2015, section 3), and the file that holds a trained pair.

Both are written as loops over resolution: 4x4, 8x8, ... up to the image. Channels double with each halving of
the resolution, up to eight times the network's width.
"""

from __future__ import annotations

import dataclasses
import itertools
import json
import math
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from torch import nn

from dcgan.checkpoint import load_tensors, save_tensors, tensors_digest
from dcgan.conditions import Condition, LabelCode, condition_rows
from dcgan.config import ModelConfig, from_json, label_groups
from dcgan.convolution import Convolution, FromVector, ToNumber, TransposedConvolution
from dcgan.draws import draw_latents, latents_from_seeds
from dcgan.errors import DcganError
from dcgan.hub import download, is_repository, upload, write_card
from dcgan.images import Pixels, to_pixels

MODEL_FILE = "model.safetensors"
PRETRAINED = "pretrained"
"""In place of a path: the model that comes with the package."""
FORMAT = 1
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
        size = config.input_size
        self.first = nn.Sequential(
            FromVector(size, widths[0], bias=config.ends == "linear"),
            nn.BatchNorm2d(widths[0]),
            self._activation(),
        )
        self.hidden = nn.Sequential(
            *(
                nn.Sequential(
                    TransposedConvolution(before, after),
                    nn.BatchNorm2d(after),
                    self._activation(),
                )
                for before, after in itertools.pairwise(widths)
            )
        )
        self.last = nn.Sequential(TransposedConvolution(widths[-1], config.channels), nn.Tanh())

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
        conditions, columns = condition_rows(self.code), math.ceil(math.sqrt(count))
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


def model_file(path: str | Path) -> Path:
    """The model file that `path` means: itself, `model.safetensors` in a folder or a Hugging Face repository, or the
    package's own for the word `pretrained`.
    """
    if str(path) == PRETRAINED:
        return Path(__file__).with_name("pretrained") / MODEL_FILE
    if is_repository(path):
        return download(str(path), MODEL_FILE)
    path = Path(path)
    if path.is_dir():
        if not (path / MODEL_FILE).is_file():
            raise DcganError(f"{path} holds no {MODEL_FILE}: it is no run, checkpoint or model of dcgan")
        return path / MODEL_FILE
    if not path.exists():
        raise DcganError(f"{path} does not exist: give a .safetensors file, or the folder of a run or checkpoint")
    return path


def save_model(
    path: Path,
    config: ModelConfig,
    states: Mapping[str, Mapping[str, torch.Tensor]],
    about: Mapping[str, Any],
    half: bool = False,
) -> dict[str, Any]:
    """Write a self-describing model file; returns what it says of itself.

    `states` maps `generator` (moving average of weights) and `discriminator` to their state dicts; `about` is any
    JSON-able description (data set, training progress, figures, terms of use). `half` rounds to float16, for half
    the size.
    """
    tensors = {f"{role}.{name}": tensor for role, state in states.items() for name, tensor in state.items()}
    if half:
        tensors = {name: t.half() if t.is_floating_point() else t for name, t in tensors.items()}
    about = {**about, "digest": model_digest(_in_float32(tensors), config)}
    description = {"format": FORMAT, "model": dataclasses.asdict(config), "about": about}
    # One key: safetensors writes several in random order, and the same run should give the same bytes.
    save_tensors(path, tensors, {"dcgan": json.dumps(description)})
    return description


def save_folder(
    folder: Path,
    config: ModelConfig,
    states: Mapping[str, Mapping[str, torch.Tensor]],
    about: Mapping[str, Any],
    samples: Pixels | None,
) -> Path:
    """Write `model.safetensors`, `config.json` and a model card into `folder`; returns the model file's path.

    `states` and `about` are as in `save_model`; `samples`, uint8 N x H x W x C, are shown on the card.
    """
    path = folder / MODEL_FILE
    write_card(folder, save_model(path, config, states, about), list(states), samples)
    return path


def read_model(path: str | Path) -> tuple[ModelConfig, dict[str, torch.Tensor], dict[str, Any]]:
    """A model file's configuration, its tensors (`generator.*`, `discriminator.*`), and what it says of itself.

    `path` may be the folder of a run or checkpoint. The description gains `digest`, which covers tensors and
    configuration.
    """
    file = model_file(path)
    tensors, metadata = load_tensors(file)
    try:
        description = json.loads(metadata.get("dcgan", "{}"))
    except ValueError as error:
        raise DcganError(f"{file} is damaged: what it says of itself is not valid JSON") from error
    if not isinstance(description, dict) or description.get("format") != FORMAT:
        raise DcganError(f"{file} is not a model that this version of dcgan can read")
    if not isinstance(description.get("about"), dict) or "model" not in description:
        raise DcganError(f"{file} is damaged: it does not say what model it holds")
    return from_json(ModelConfig, description["model"], str(file)), _in_float32(tensors), description["about"]


def model_digest(tensors: Mapping[str, torch.Tensor], config: ModelConfig) -> str:
    """What identifies a model: SHA-256 over its float32 tensors and the settings that differ from the defaults.

    Only those, so that a setting that comes with a later version leaves the models of earlier ones who they were.
    """
    defaults = dataclasses.asdict(ModelConfig())
    chosen = {name: value for name, value in dataclasses.asdict(config).items() if value != defaults[name]}
    return tensors_digest(tensors, chosen)


def _in_float32(tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: t.float() if t.is_floating_point() else t for name, t in tensors.items()}
