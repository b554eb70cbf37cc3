"""Every setting and preset, as data. Imports no torch, so that `--help` answers at once.

One frozen dataclass a command: its fields are the command's flags and the keys of its JSON. What a run uses is
decided in this order, later wins: the defaults here, the preset, the `--config` file, the flags.
"""

from __future__ import annotations

import dataclasses
import re
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

from tyro.conf import Positional

from dcgan.errors import DcganError

Device = Literal["auto", "cpu", "cuda", "mps"]
Latent = Literal["normal", "uniform"]
Settings = TypeVar("Settings")
SIZES = (32, 64, 128, 256)


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise DcganError(message)


def _require_positive(settings: object, *names: str) -> None:
    for name in names:
        value = getattr(settings, name)
        _require(value is None or value > 0, f"{name} must be above 0, not {value}")


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """What both networks are made of; stored in every model file, so that the file alone is enough."""

    size: int = 64
    """Width and height of the images in pixels: 32, 64, 128 or 256."""
    channels: int = 3
    """Channels of the images: 1 is grey, 3 is colour (2 and 4 carry alpha)."""
    latent_size: int = 100
    """Numbers in the latent vector z."""
    latent: Latent = "normal"
    """Distribution of each number of z: normal is N(0, 1), uniform is U(-1, 1) as in the paper."""
    generator_width: int = 64
    """Channels of the generator's last hidden layer; doubles towards the 4x4 layer, up to 8 times."""
    discriminator_width: int = 64
    """Channels of the discriminator's first layer; doubles towards the 4x4 layer, up to 8 times."""
    ends: Literal["convolution", "linear"] = "convolution"
    """The generator's first and the discriminator's last layer: 4x4 convolutions, or fully connected with biases."""
    generator_activation: Literal["relu", "leaky_relu"] = "relu"
    """After each hidden layer of the generator (leaky_relu has slope 0.2)."""

    def __post_init__(self) -> None:
        _require(self.size in SIZES, f"size must be one of {', '.join(map(str, SIZES))}, not {self.size}")
        _require(1 <= self.channels <= 4, f"channels must be 1 to 4, not {self.channels}")
        _require_positive(self, "latent_size", "generator_width", "discriminator_width")

    @property
    def stages(self) -> int:
        """Number of doublings between 4x4 and the image: 4 for 64x64."""
        return (self.size // 4).bit_length() - 1


@dataclass(frozen=True, kw_only=True)
class TrainConfig(ModelConfig):
    """Train a DCGAN on a data set, from scratch or from where a run stopped."""

    size: int = 0
    """Width and height of the images in pixels: 32, 64, 128 or 256 (0: the packed data's own, else 64)."""
    channels: int = 0
    """Channels of the images: 1 is grey, 3 is colour (0: the packed data's own, else 3)."""

    data: Positional[str] = ""
    """A packed data set, a folder, a .zip or .tar of images, or the word toy for built-in drawn faces."""
    preset: str = "paper"
    """A named recipe: paper, sgd-discriminator, linear32 or ganhacks. Flags override what it sets."""
    config: str | None = None
    """A config.json of another run to take the settings from. Flags override it."""
    kimg: float | None = None
    """Stop after this many thousand real images have been shown (1000 unless epochs is given)."""
    epochs: float | None = None
    """Stop after this many passes over the data, in place of kimg."""
    run_dir: str = "runs"
    """Folder in which each run gets its own numbered folder."""
    name: str | None = None
    """Name of the run, the end of its folder's name (default: data set and preset)."""
    resume: str | None = None
    """A run's folder to go on with, or auto: the newest run of this name, or a new one if there is none."""
    seed: int = 0
    """Every random draw follows from this number."""
    device: Device = "auto"
    """Where to compute: auto takes CUDA, then Apple's MPS, then the CPU."""
    precision: Literal["auto", "float32", "bf16"] = "auto"
    """Number format of the networks' arithmetic: auto takes bf16 where the hardware does it fast."""
    crop: str = "square"
    """When DATA is not packed yet: square (centre), none (squeeze), or WxH (centre)."""

    batch: int = 128
    """Images in one step, over all devices together."""
    loss: Literal["bce", "least_squares", "hinge"] = "bce"
    """Loss of both networks: bce is the paper's, in its non-saturating form."""
    generator_optimizer: Literal["adam", "sgd"] = "adam"
    """Optimiser of the generator."""
    discriminator_optimizer: Literal["adam", "sgd"] = "adam"
    """Optimiser of the discriminator."""
    generator_lr: float = 2e-4
    """Learning rate of the generator."""
    discriminator_lr: float = 2e-4
    """Learning rate of the discriminator."""
    beta1: float = 0.5
    """Adam's decay of the mean of gradients."""
    beta2: float = 0.999
    """Adam's decay of the mean of squared gradients."""
    momentum: float = 0.9
    """Momentum of SGD."""
    real_label: float = 1.0
    """Target of the discriminator for real images; 0.9 is one-sided label smoothing."""
    label_flip: float = 0.0
    """Share of the discriminator's labels that are flipped, drawn anew each step."""
    input_noise: float = 0.0
    """Standard deviation of the noise added to the discriminator's input at the start."""
    input_noise_kimg: float = 300.0
    """The input noise falls to 0 in a straight line over this many kimg."""
    flip: bool = True
    """Mirror each real image left to right with probability one half."""
    ema_kimg: float = 10.0
    """Half-life of the generator's moving average of weights."""
    ema_rampup: float = 0.05
    """Early on, the half-life is at most this share of the images shown so far."""

    log_every: float = 1.0
    """kimg between lines in metrics.jsonl."""
    sample_every: float = 20.0
    """kimg between sample grids (and histograms in TensorBoard)."""
    sample_count: int = 64
    """Faces in a sample grid: always the same latents, seeds 0, 1, 2, ..."""
    checkpoint_every: float | None = None
    """kimg between checkpoints (default: 3 epochs or 10 minutes, whichever comes first; always at the end)."""
    keep_checkpoints: int = 3
    """Newest checkpoints that are kept."""
    tensorboard: bool = True
    """Write TensorBoard event files."""
    animation: Literal["gif", "webp", "none"] = "gif"
    """File type of the animation of the samples over training."""

    def __post_init__(self) -> None:
        _ = self.model  # checks its own part
        _require(self.preset in PRESETS, f"preset must be one of {', '.join(PRESETS)}, not {self.preset}")
        _require(self.kimg is None or self.epochs is None, "give kimg or epochs, not both")
        _require(
            self.name is None or re.fullmatch(r"\w[\w.-]*", self.name) is not None,
            f"name must be letters, digits, '.', '_' and '-', not {self.name!r}",
        )
        _require(0 <= self.seed < 2**63, f"seed must be a whole number from 0 to 2**63 - 1, not {self.seed}")
        _require_positive(self, "kimg", "epochs", "batch", "generator_lr", "discriminator_lr", "input_noise_kimg")
        _require_positive(self, "ema_kimg", "ema_rampup", "log_every", "sample_every", "sample_count")
        _require_positive(self, "checkpoint_every", "keep_checkpoints")
        _require(self.batch >= 2, "batch must be at least 2: batch normalisation needs more than one image")
        for name in ("beta1", "beta2", "momentum"):
            _require(0 <= getattr(self, name) < 1, f"{name} must be at least 0 and below 1")
        for name in ("real_label", "label_flip"):
            _require(0 <= getattr(self, name) <= 1, f"{name} must be from 0 to 1, not {getattr(self, name)}")
        _require(self.input_noise >= 0, f"input_noise must not be negative: {self.input_noise}")
        check_crop(self.crop)

    @property
    def model(self) -> ModelConfig:
        """The part that both networks are made from."""
        values = {field.name: getattr(self, field.name) for field in dataclasses.fields(ModelConfig)}
        return ModelConfig(**{**values, "size": self.size or 64, "channels": self.channels or 3})


PRESETS: Mapping[str, Mapping[str, Any]] = types.MappingProxyType(
    {
        # Radford, Metz and Chintala 2015 in the form most PyTorch code gives it: the defaults above.
        "paper": {},
        "sgd-discriminator": {
            "discriminator_optimizer": "sgd",
            "generator_lr": 1.5e-4,
            "discriminator_lr": 1.5e-4,
            "generator_activation": "leaky_relu",
        },
        "linear32": {"size": 32, "ends": "linear", "generator_width": 32, "discriminator_width": 32},
        "ganhacks": {"real_label": 0.9, "label_flip": 0.05, "input_noise": 0.1, "input_noise_kimg": 300.0},
    }
)
"""What each preset sets that differs from the defaults."""


@dataclass(frozen=True, kw_only=True)
class PrepareConfig:
    """Pack images once into a form that training reads fast."""

    source: Positional[str]
    """A folder, a .zip or .tar of images, a folder with CelebA's official files, or the word toy."""
    out: Positional[str]
    """Folder to create for the packed data set."""
    size: int = 64
    """Width and height of the packed images in pixels."""
    crop: str = "square"
    """What part of each image is kept: square (centre), none (all, squeezed), or WxH (centre) in its own pixels."""
    channels: int = 3
    """3 for colour, 1 for grey."""
    split: Literal["all", "train", "valid", "test"] = "all"
    """CelebA's official partition to take."""
    held_out: float = 0.05
    """Share of the images that training never sees (none below 500 images; CelebA's own partition where present)."""
    count: int = 5000
    """Number of faces to draw, for toy only."""
    seed: int = 0
    """Seed of the drawn faces and of the choice of held-out images."""
    workers: int = 0
    """Processes that decode (0: one a core)."""

    def __post_init__(self) -> None:
        _require(4 <= self.size <= 1024, f"size must be from 4 to 1024, not {self.size}")
        _require(self.channels in (1, 3), f"channels must be 1 or 3, not {self.channels}")
        _require(0 <= self.held_out < 1, f"held_out must be at least 0 and below 1, not {self.held_out}")
        _require(self.workers >= 0, f"workers must not be negative: {self.workers}")
        _require(self.seed >= 0, f"seed must not be negative: {self.seed}")
        _require_positive(self, "count")
        check_crop(self.crop)


@dataclass(frozen=True, kw_only=True)
class GenerateConfig:
    """Generate images from a model."""

    model: Positional[str]
    """A .safetensors file, a run's folder or a checkpoint's folder."""
    count: int = 64
    """Number of images: seeds 0 to count - 1."""
    seeds: str | None = None
    """Seeds in place of a count, such as 0-63,100. Image 42 depends on seed 42 alone."""
    out: str | None = None
    """Folder for one file an image, named by its seed."""
    grid: str | None = None
    """File for all images in one picture (faces.png if neither out nor grid is given)."""
    format: Literal["png", "jpg", "webp", "npy"] = "png"
    """File type of the single images; npy is one uint8 array N x H x W x C for all."""
    raw_weights: bool = False
    """Use the last step's weights, not their moving average; MODEL must be a checkpoint's folder."""
    truncation: float | None = None
    """Keep every number of z within this distance of 0: fewer oddities, less variety (0.5 to 2 is useful)."""
    device: Device = "auto"
    """Where to compute: auto takes CUDA, then Apple's MPS, then the CPU."""

    def __post_init__(self) -> None:
        _require_positive(self, "count", "truncation")


@dataclass(frozen=True, kw_only=True)
class InfoConfig:
    """Describe a model, a run, a checkpoint or a data set."""

    path: Positional[str]
    """What to describe: a .safetensors file, or the folder of a run, a checkpoint or a packed data set."""
    json: bool = False
    """Print JSON in place of words."""
    verify: bool = False
    """Also read every file in full and compare its checksum."""


def check_crop(crop: str) -> tuple[int, int] | None:
    """The width and height of a WxH crop, or None for square and none; anything else is a `DcganError`."""
    if crop in ("square", "none"):
        return None
    match = re.fullmatch(r"([1-9]\d*)x([1-9]\d*)", crop)
    if match is None:
        raise DcganError(f"crop must be square, none or WIDTHxHEIGHT such as 108x108, not {crop!r}")
    return int(match[1]), int(match[2])


def parse_seeds(text: str) -> list[int]:
    """Seeds from text such as `0-63,100`, in the order written; each from 0 to 2**63 - 1."""
    seeds: list[int] = []
    for part in text.split(","):
        match = re.fullmatch(r"\s*(\d+)(?:-(\d+))?\s*", part)
        if match is None:
            raise DcganError(f"seeds must look like 0-63,100, and {part!r} does not")
        first, last = int(match[1]), int(match[2] or match[1])
        _require(first <= last < 2**63, f"seeds {part.strip()!r} run backwards or pass 2**63 - 1")
        _require(last - first < 10_000_000, f"seeds {part.strip()!r} are more than 10 million")
        seeds.extend(range(first, last + 1))
    return seeds


def from_json(kind: type[Settings], values: object, origin: str) -> Settings:
    """Make settings of `kind` from a JSON object; a wrong key or type is a `DcganError` that names `origin`."""
    _require(isinstance(values, dict), f"{origin} must hold a JSON object of settings")
    assert isinstance(values, dict)
    hints = typing.get_type_hints(kind)
    for name, value in values.items():
        _require(name in hints, f"{origin}: there is no setting named {name!r}")
        _require(_fits(value, hints[name]), f"{origin}: {name} cannot be {value!r}")
    try:
        return kind(**values)
    except DcganError as error:
        raise DcganError(f"{origin}: {error}") from error


def _fits(value: object, hint: Any) -> bool:
    """Whether a JSON value is of the type a field is declared with (a whole number is a float too)."""
    if typing.get_origin(hint) is Literal:
        return value in typing.get_args(hint)
    if typing.get_origin(hint) is types.UnionType:
        return any(_fits(value, option) for option in typing.get_args(hint))
    if hint is float:
        return isinstance(value, (int, float)) and not isinstance(value, bool)
    return type(value) is hint
