"""Settings of `export` and `import`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from tyro.conf import Positional

from dcgan.config.base import require
from dcgan.config.train import PRESETS

LARGEST_TABLE = 4096  # seeds that a web folder may hold: 1.6 MB at the usual 100 numbers each


@dataclass(frozen=True, kw_only=True)
class ExportConfig:
    """Write a model in a form that other programs, a browser or the Hugging Face Hub can use."""

    model: Positional[str]
    """A .safetensors file, a run's folder or a checkpoint's folder; or the word pretrained: the package's own."""
    out: Positional[str | None] = None
    """File (onnx) or folder (web, huggingface) to write; default: generator.onnx, discriminator.onnx, web/ or hub/."""
    format: Literal["onnx", "web", "huggingface"] = "onnx"
    """onnx: one file; web: a folder to serve, which draws faces in the visitor's browser; huggingface: a folder with
    config.json, model.safetensors and a model card."""
    network: Literal["generator", "discriminator"] = "generator"
    """Which network an onnx file holds; the discriminator's gives its logits and the features of every layer."""
    half: bool = False
    """Weights and arithmetic in float16: half the file, and up to 2.5 of 255 levels off. Inputs and outputs stay."""
    layout: Literal["nchw", "nhwc-uint8"] = "nchw"
    """Images in an onnx file: nchw is float32 in [-1, 1], nhwc-uint8 is bytes as image files hold them."""
    runtime: str | None = None
    """onnxruntime-web for a web folder: its package's folder or .tgz (default: fetched by npm, once)."""
    seeds: int = 256
    """Seeds 0, 1, 2, ... that a web folder knows: its page shows them as `dcgan generate` does."""
    push: str | None = None
    """A Hugging Face repository, user/name, to which the huggingface folder is also uploaded."""
    private: bool = False
    """Make that repository a private one if it is new."""

    def __post_init__(self) -> None:
        onnx, web, hub = (self.format == name for name in ("onnx", "web", "huggingface"))
        require(onnx or self.network == "generator", "network is a setting of --format onnx alone")
        require(onnx or self.layout == "nchw", "layout is a setting of --format onnx alone")
        require(not (hub and self.half), "half is a setting of --format onnx and web; a Hugging Face folder is float32")
        require(web or self.runtime is None, "runtime is a setting of --format web alone")
        require(hub or self.push is None, "push is a setting of --format huggingface alone")
        require(1 <= self.seeds <= LARGEST_TABLE, f"seeds must be from 1 to {LARGEST_TABLE}, not {self.seeds}")


@dataclass(frozen=True, kw_only=True)
class ImportConfig:
    """Make a model of dcgan from a state dict of the PyTorch example's DCGAN."""

    file: Positional[str]
    """A .pth, .pt, .tar or .bin file of torch.save, or a .safetensors file, that holds the generator's state dict."""
    out: Positional[str | None] = None
    """The model file to write; default: FILE's name with .safetensors, in this folder."""
    preset: str = "paper"
    """What shapes do not tell is taken from this preset: the generator's activation."""
    discriminator: str | None = None
    """A file that holds the discriminator's state dict (default: FILE, if it holds one). `project` needs one."""
    key: str | None = None
    """Name of the generator's part of FILE, where several would do."""
    latent: Literal["normal", "uniform"] = "normal"
    """Distribution of each number of z it was trained on: normal is the PyTorch example's."""
    name: str = ""
    """Name of the data it learned from, for the model's card."""
    terms: str = ""
    """Terms of use that the weights carry, kept in the model file."""

    def __post_init__(self) -> None:
        require(self.preset in PRESETS, f"preset must be one of {', '.join(PRESETS)}, not {self.preset}")
        require(self.out is None or self.out.endswith(".safetensors"), f"out must end in .safetensors, not {self.out}")
