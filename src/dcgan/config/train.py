"""Settings of the networks and of `train`, and the presets."""

from __future__ import annotations

import dataclasses
import math
import re
import types
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Self

from tyro.conf import Fixed, Positional, Suppress

from dcgan.config.base import Device, Label, require, require_positive
from dcgan.config.data import check_crop

Latent = Literal["normal", "uniform"]
SIZES = (32, 64, 128, 256)
DEFAULT_KIMG = 1000.0


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
    """The generator's first and the discriminator's last layer: 4x4 convolutions, or fully connected, with biases."""
    upsampling: Literal["transposed", "nearest"] = "transposed"
    """How the generator doubles the resolution: 4x4 transposed convolutions as in the paper, or nearest-neighbour
    upsampling and 3x3 convolutions."""
    generator_activation: Literal["relu", "leaky_relu"] = "relu"
    """After each hidden layer of the generator (leaky_relu has slope 0.2)."""
    discriminator_norm: Literal["batch", "none"] = "batch"
    """Normalisation in the discriminator: BatchNorm as in the paper, or none, which gradient penalties need."""
    labels: Suppress[Fixed[tuple[Label, ...]]] = ()
    """What the networks are told of each image: name and kind of each label. Empty: an unconditional model."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "labels", tuple(Label(*label) for label in self.labels))  # JSON has lists
        require(self.size in SIZES, f"size must be one of {', '.join(map(str, SIZES))}, not {self.size}")
        require(1 <= self.channels <= 4, f"channels must be 1 to 4, not {self.channels}")
        require_positive(self, "latent_size", "generator_width", "discriminator_width")

    @property
    def stages(self) -> int:
        """Number of doublings between 4x4 and the image: 4 for 64x64."""
        return (self.size // 4).bit_length() - 1

    @property
    def input_size(self) -> int:
        """Numbers that the generator makes an image from: z, and one for each label."""
        return self.latent_size + len(self.labels)


@dataclass(frozen=True, kw_only=True)
class TrainConfig(ModelConfig):
    """Train a DCGAN on a data set, from scratch or from where a run stopped."""

    size: int = 0
    """Width and height of the images in pixels: 32, 64, 128 or 256 (0: the packed data's own, else 64)."""
    channels: int = 0
    """Channels of the images: 1 is grey, 3 is colour (0: the packed data's own, else 3)."""

    data: Positional[str] = ""
    """A packed data set, a folder, a .zip or .tar of images, or the word toy for built-in drawn faces."""
    condition: str | None = None
    """Labels of DATA to tell both networks: all, or names such as smile,glasses (a model told of none needs none)."""
    preset: str = "paper"
    """A named recipe: relativistic, few-images, paper, sgd-discriminator, linear32 or ganhacks. Flags override what
    it sets."""
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
    """A run's folder to go on with, or auto: the newest run of this name with a checkpoint, or else a new one."""
    seed: int = 0
    """Every random draw follows from this number."""
    device: Device = "auto"
    """Where to compute: auto takes CUDA, then Apple's MPS, then the CPU."""
    devices: int = 1
    """Processes to train with on this machine: each takes a GPU, or with --device cpu its share of the cores."""
    precision: Literal["auto", "float32", "tf32", "bf16", "fp16"] = "auto"
    """Number format of the networks' arithmetic: auto takes bf16 where the hardware does it fast; tf32 and fp16 are
    for NVIDIA GPUs without it, fp16 with scaled losses."""
    compile: bool = False
    """Let torch.compile make kernels of the networks: a minute or more at the start, for faster steps on some GPUs."""
    sync_batchnorm: bool = False
    """Take BatchNorm's statistics over all devices' images, not each over its own (CUDA only)."""
    crop: str = "square"
    """When DATA is not packed yet: square (centre), none (squeeze), or WxH (centre)."""

    batch: int = 128
    """Images in one step, over all devices together."""
    loss: Literal["bce", "least_squares", "hinge", "relativistic"] = "bce"
    """Loss of both networks: bce is the paper's, in its non-saturating form; relativistic compares pairs."""
    gradient_penalty: float = 0.0
    """Weight gamma of R1 + R2, the squared norm of the discriminator's gradient at real and generated images."""
    penalty_every: int = 8
    """Steps from one gradient penalty to the next, which is so many times stronger."""
    generator_optimizer: Literal["adam", "sgd"] = "adam"
    """Optimiser of the generator."""
    discriminator_optimizer: Literal["adam", "sgd"] = "adam"
    """Optimiser of the discriminator."""
    generator_lr: float = 2e-4
    """Learning rate of the generator."""
    discriminator_lr: float = 2e-4
    """Learning rate of the discriminator."""
    lr_decay: Literal["none", "linear", "cosine"] = "none"
    """How both learning rates fall to 0 over the run."""
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
    augment: Literal["auto", "none", "diffaug"] = "none"
    """Change the discriminator's input at random, real and fake alike: diffaug helps where images are few, and auto
    takes it if the run will show each more than 300 times."""
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
    evaluate_every: float | None = None
    """kimg between evaluations of the averaged generator, of which the best is kept (default: none)."""
    evaluate_samples: int = 2000
    """Generated images in such an evaluation: more are steadier, and slower."""
    extractor: str = "efficientnet-lite0"
    """What such an evaluation compares images by: a name or a file, as in `dcgan evaluate`."""
    keep_checkpoints: int = 3
    """Newest checkpoints that are kept."""
    on_collapse: Literal["warn", "rollback", "stop"] = "warn"
    """When the figures mean a collapse: warn, go back to before it and halve the learning rates, or stop."""
    tensorboard: bool = True
    """Write TensorBoard event files."""
    animation: Literal["gif", "webp", "none"] = "gif"
    """File type of the animation of the samples over training."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "labels", self.model.labels)  # which also checks its own part
        require(self.preset in PRESETS, f"preset must be one of {', '.join(PRESETS)}, not {self.preset}")
        require(self.kimg is None or self.epochs is None, "give kimg or epochs, not both")
        require(
            self.name is None or re.fullmatch(r"\w[\w.-]*", self.name) is not None,
            f"name must be letters, digits, '.', '_' and '-', not {self.name!r}",
        )
        require(0 <= self.seed < 2**63, f"seed must be a whole number from 0 to 2**63 - 1, not {self.seed}")
        require_positive(self, "kimg", "epochs", "batch", "generator_lr", "discriminator_lr", "input_noise_kimg")
        require_positive(self, "ema_kimg", "ema_rampup", "log_every", "sample_every", "sample_count")
        require_positive(self, "checkpoint_every", "keep_checkpoints", "evaluate_every", "penalty_every", "devices")
        require(self.gradient_penalty >= 0, f"gradient_penalty must not be negative: {self.gradient_penalty}")
        require(
            self.gradient_penalty == 0 or self.discriminator_norm == "none",
            "gradient_penalty needs --discriminator-norm none: BatchNorm ties the images of a batch together, and the "
            "gradient of one image's logit is then no more its own",
        )
        require(
            self.loss != "relativistic" or (self.real_label == 1 and self.label_flip == 0),
            "the relativistic loss has no labels: leave real_label at 1 and label_flip at 0",
        )
        require(self.evaluate_samples >= 2, "evaluate_samples must be at least 2")
        require(self.batch >= 2, "batch must be at least 2: batch normalisation needs more than one image")
        for name in ("beta1", "beta2", "momentum"):
            require(0 <= getattr(self, name) < 1, f"{name} must be at least 0 and below 1")
        for name in ("real_label", "label_flip"):
            require(0 <= getattr(self, name) <= 1, f"{name} must be from 0 to 1, not {getattr(self, name)}")
        require(0 <= self.input_noise < math.inf, f"input_noise must be at least 0, not {self.input_noise}")
        check_crop(self.crop)

    @classmethod
    def from_preset(cls, preset: str, **settings: Any) -> Self:
        """The settings of a preset, with others laid over them; `DcganError` if there is none of this name."""
        return cls(**{"preset": preset, **PRESETS.get(preset, {}), **settings})

    @property
    def model(self) -> ModelConfig:
        """The part that both networks are made from."""
        values = {field.name: getattr(self, field.name) for field in dataclasses.fields(ModelConfig)}
        return ModelConfig(**{**values, "size": self.size or 64, "channels": self.channels or 3})


DEFAULT_PRESET = "relativistic"
MANY_TIMES = 300
"""`--augment auto` augments where a run shows each training image more often (docs/recipes.md, "Few images")."""

# Paired logits with R1 + R2 and Adam without momentum (Huang et al. 2024), nearest-neighbour upsampling, small batches,
# a lazy penalty and a discriminator that does not outrun the generator: what gave the best faces for the time
# (docs/recipes.md).
_RELATIVISTIC: dict[str, Any] = {
    "upsampling": "nearest",
    "batch": 32,
    "loss": "relativistic",
    "discriminator_norm": "none",
    "gradient_penalty": 1.0,
    "generator_lr": 1e-3,
    "discriminator_lr": 2.5e-4,
    "beta1": 0.0,
    "beta2": 0.99,
    "augment": "auto",
    "ema_kimg": 50.0,
}

PRESETS: Mapping[str, Mapping[str, Any]] = types.MappingProxyType(
    {
        "relativistic": _RELATIVISTIC,
        # For hundreds of images, which would be learned by heart.
        "few-images": {**_RELATIVISTIC, "augment": "diffaug"},
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
