"""Settings of the commands that walk, mix and steer the latent space."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from tyro.conf import Positional

from dcgan.config.base import Device, require, require_positive
from dcgan.config.data import check_crop
from dcgan.config.generate import parse_seeds
from dcgan.errors import DcganError


@dataclass(frozen=True, kw_only=True)
class ExploreConfig:
    """What all these commands share."""

    model: Positional[str]
    """A .safetensors file, a run's folder or a checkpoint's folder; or the word pretrained: the package's own."""
    device: Device = "auto"
    """Where to compute: auto takes CUDA, then Apple's MPS, then the CPU."""


@dataclass(frozen=True, kw_only=True)
class InterpolateConfig(ExploreConfig):
    """Walk smoothly from face to face, as an animation or a film strip."""

    seeds: str | None = None
    """Seeds to pass through in this order, such as 1,7,42 (0-5 unless latents is given)."""
    latents: str | None = None
    """A file of latents that project wrote: pass through these, after the seeds if both are given."""
    frames: int | None = None
    """Pictures from each face to the next (default: 60, and 8 in a film strip)."""
    loop: bool = False
    """Go on from the last face to the first, for an animation that never jumps."""
    spherical: bool = False
    """Go along the sphere on which normal latents lie: what models with normal latents do by default."""
    linear: bool = False
    """Go in straight lines: what models with uniform latents do by default."""
    fps: float = 30.0
    """Frames a second."""
    truncation: float | None = None
    """Keep every number of the seeds' z within this distance of 0: fewer oddities, less variety."""
    out: str = "walk.webp"
    """File to write: .webp, .gif or .mp4 is an animation, .png a film strip with a row for each step."""

    def __post_init__(self) -> None:
        require(not (self.spherical and self.linear), "give spherical or linear, not both")
        require_positive(self, "frames", "fps", "truncation")


@dataclass(frozen=True, kw_only=True)
class PickConfig(ExploreConfig):
    """Show a numbered grid of faces, or save some of its numbers under a name for arithmetic."""

    name: Positional[str] = ""
    """Name to save, such as "smiling woman"; without one, the grid is written."""
    seeds: str | None = None
    """Numbers of the faces that the name stands for; three or more make a clear mean."""
    first: int = 0
    """First number in the grid."""
    count: int = 64
    """Faces in the grid."""
    file: str | None = None
    """File of names (default: beside the model)."""
    out: str = "pick.png"
    """Picture of the grid."""

    def __post_init__(self) -> None:
        require(self.first >= 0, f"first must not be negative: {self.first}")
        require(1 <= self.count <= 10_000, f"count must be from 1 to 10000, not {self.count}")


@dataclass(frozen=True, kw_only=True)
class ArithmeticConfig(ExploreConfig):
    """Add and subtract faces: the vector arithmetic of Radford et al. 2015, figure 7."""

    expression: Positional[str]
    """Names that pick saved, joined by + and -, such as "smiling woman - neutral woman + neutral man"."""
    jitter: float = 0.25
    """The result's eight neighbours differ from it by uniform noise of up to this much in each number of z."""
    seed: int = 0
    """Seed of the neighbours."""
    file: str | None = None
    """File of names (default: beside the model)."""
    out: str = "arithmetic.png"
    """Picture to write."""

    def __post_init__(self) -> None:
        require(self.jitter >= 0, f"jitter must not be negative: {self.jitter}")
        require(self.seed >= 0, f"seed must not be negative: {self.seed}")


@dataclass(frozen=True, kw_only=True)
class ProjectConfig(ExploreConfig):
    """Find the latents of given images: those from which the model comes nearest to them."""

    images: Positional[tuple[str, ...]]
    """Image files, or folders or archives of them, of any size and kind."""
    crop: str = "square"
    """What part of each image is kept: square (centre), none (all, squeezed), or WxH (centre) in its own pixels."""
    steps: int = 300
    """Steps of the optimiser."""
    starts: int = 4
    """Different starting points for each image; the best end wins."""
    candidates: int = 500
    """Random samples among which the starting points are the nearest."""
    features: float = 1.0
    """Weight of the discriminator's features in the distance, pixels having 1."""
    prior: float = 0.01
    """Weight of keeping z as long as random latents are (normal latents only; uniform ones are kept in [-1, 1])."""
    own_samples: int = 4
    """The model's own samples to project too: what error can be had at best."""
    seed: int = 0
    """Seed of the candidates and of the model's own samples."""
    out: str = "projected.safetensors"
    """File for the latents, to give to edit and interpolate."""
    picture: str | None = None
    """Picture of each original, the stages and the reconstruction (default: beside out)."""

    def __post_init__(self) -> None:
        require(bool(self.images), "give at least one image")
        require(self.steps >= 8, f"steps must be at least 8, not {self.steps}")
        require_positive(self, "starts", "candidates")
        require(self.starts <= self.candidates, "starts must not be more than candidates")
        require(min(self.features, self.prior, self.own_samples, self.seed) >= 0, "no setting may be negative")
        check_crop(self.crop)


@dataclass(frozen=True, kw_only=True)
class DirectionsConfig(ExploreConfig):
    """Learn along which directions of the latent space attributes change."""

    labels: str
    """Labelled images to train a scorer on (packed, folder, archive or toy), or a scorer's .safetensors file."""
    attributes: str | None = None
    """Labels to find directions of, separated by commas (default: all)."""
    orthogonal_to: str | None = None
    """Attributes to leave unchanged, separated by commas: the directions are made orthogonal to theirs."""
    box: tuple[float, float, float, float] = (0.0, 0.0, 1.0, 1.0)
    """Left, top, right and bottom of what the scorer sees of a generated image, in shares of its size."""
    count: int = 4000
    """Generated faces to score."""
    epochs: float = 8.0
    """Passes over the labelled images when the scorer is trained."""
    scorer: str | None = None
    """File to keep the trained scorer in, to be given as labels another time."""
    seed: int = 0
    """Seed of the faces and of the scorer."""
    file: str | None = None
    """File of directions, to which these are added (default: beside the model)."""
    out: str = "directions.png"
    """Picture: a strip along each direction."""

    def __post_init__(self) -> None:
        left, top, right, bottom = self.box
        require(0 <= left < right <= 1 and 0 <= top < bottom <= 1, "box must be left top right bottom within 0 to 1")
        require_positive(self, "epochs")
        require(self.count >= 100, f"count must be at least 100, not {self.count}")
        require(self.seed >= 0, f"seed must not be negative: {self.seed}")


@dataclass(frozen=True, kw_only=True)
class EditConfig(ExploreConfig):
    """Change attributes of faces by moving them along directions."""

    direction: str
    """What to change and how far, in standard deviations of z, such as smile=+2,glasses=-1."""
    seeds: str | None = None
    """Seeds of the faces (0-7 unless latents is given)."""
    latents: str | None = None
    """A file of latents that project wrote: edit these, after the seeds if both are given."""
    steps: int = 5
    """Pictures of each face, from itself to fully changed."""
    both: bool = False
    """Go the same way backwards too: the face itself is in the middle."""
    file: str | None = None
    """File of directions (default: beside the model)."""
    out: str = "edit.png"
    """Picture: a row for each face."""

    def __post_init__(self) -> None:
        require(self.steps >= 2, f"steps must be at least 2, not {self.steps}")
        parse_amounts(self.direction)


@dataclass(frozen=True, kw_only=True)
class PrincipalConfig(ExploreConfig):
    """Find the directions in which images change most, without labels."""

    method: Literal["weights", "features"] = "weights"
    """From the first layer's weights in closed form, or from the features of samples by principal components."""
    count: int = 8
    """Directions to find."""
    layer: int = 1
    """For features: how many of the generator's hidden layers they have passed."""
    samples: int = 2000
    """For features: how many samples."""
    seeds: str = "0"
    """Seeds of the faces that are shown."""
    reach: float = 3.0
    """How far the strips go to both sides, in standard deviations of z."""
    steps: int = 7
    """Pictures in a strip."""
    file: str | None = None
    """File of directions, to which these are added (default: beside the model)."""
    out: str = "principal.png"
    """Picture: a strip along each direction."""

    def __post_init__(self) -> None:
        require_positive(self, "count", "samples", "reach")
        require(self.steps >= 2, f"steps must be at least 2, not {self.steps}")
        require(self.layer >= 0, f"layer must not be negative: {self.layer}")


@dataclass(frozen=True, kw_only=True)
class SmoothnessConfig(ExploreConfig):
    """Measure how evenly images change along the latent space, and show it."""

    walks: int = 100
    """Walks between two random faces each."""
    frames: int = 32
    """Steps of a walk."""
    coordinates: str = "0-7"
    """Coordinates of z to show one at a time."""
    seed: int = 0
    """Seed of the walks."""
    out: str = "smoothness"
    """Folder for figures.json, walks.png and coordinates.png."""

    def __post_init__(self) -> None:
        require_positive(self, "walks")
        require(self.frames >= 2, f"frames must be at least 2, not {self.frames}")
        require(self.seed >= 0, f"seed must not be negative: {self.seed}")
        parse_seeds(self.coordinates)


def parse_amounts(text: str) -> dict[str, float]:
    """Names and numbers from text such as `smile=+2,glasses=-1`; a name may hold = itself."""
    amounts: dict[str, float] = {}
    for part in text.split(","):
        match = re.fullmatch(r"\s*(.+?)\s*=\s*([+-]?(?:\d+\.?\d*|\.\d+))\s*", part)
        if match is None:
            raise DcganError(f"direction must look like smile=+2,glasses=-1, and {part!r} does not")
        amounts[match[1]] = float(match[2])
    return amounts


def parse_list(text: str) -> list[str]:
    """Names from text separated by commas."""
    return [name for part in text.split(",") if (name := part.strip())]
