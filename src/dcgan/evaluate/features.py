"""Feature extractors: what turns images into the vectors that every figure is measured on.

A figure means nothing without its extractor, so each one says its name, the hash of its weights and how it
resizes and scales images. `load_extractor` finds one by name or by file; `ModuleExtractor` wraps any network.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from tqdm import tqdm

from dcgan.checkpoint import file_digest, tensors_digest
from dcgan.errors import DcganError

EXTRACTORS = ("inception", "efficientnet-lite0")
"""Extractors known by name; a path to a TorchScript or ONNX file is taken as well."""

Images = np.ndarray | Tensor
Interpolation = Literal["bilinear", "bilinear-antialias", "bicubic-antialias"]


class FeatureExtractor(Protocol):
    """Anything that turns uint8 images into features and tells exactly how."""

    @property
    def name(self) -> str:
        """Short name, printed with every figure."""

    @property
    def digest(self) -> str:
        """SHA-256 of the weights, in hexadecimal."""

    @property
    def dimensions(self) -> int:
        """Length D of a feature vector."""

    @property
    def resize(self) -> str:
        """How images are resized and scaled, in words: figures under different words must not be compared."""

    def __call__(self, images: Images) -> Tensor:
        """Features, float32 N x D on the CPU, of uint8 images N x H x W x C (grey or RGB)."""


class ModuleExtractor:
    """Any network as an extractor: images are resized, scaled to (x / 255 - mean) / std, then passed through it.

    `module` takes float32 N x 3 x H x W and gives N x D, or N x D x h x w which is averaged over space. `size` is
    the side in pixels of its square input (None: images keep their own size). `mean` and `std` are of RGB in
    [0, 1]; by default it stays so. `batch` images pass at a time, which changes speed and memory only. `digest` is
    by default one of the weights and the printed structure. The module is moved and put into evaluation mode.
    Raises `DcganError` if it does not accept such images or gives something else.
    """

    def __init__(
        self,
        module: nn.Module,
        *,
        name: str | None = None,
        size: int | None = None,
        interpolation: Interpolation = "bilinear-antialias",
        mean: Sequence[float] = (0.0, 0.0, 0.0),
        std: Sequence[float] = (1.0, 1.0, 1.0),
        batch: int = 64,
        digest: str | None = None,
        device: str | torch.device = "cpu",
    ) -> None:
        # channels_last is what N x H x W x C images already are, and the faster layout for convolutions
        self.module = module.eval().to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # missing in torch's stubs
        self.name = name or type(module).__name__
        self.digest = digest or tensors_digest(module.state_dict(), str(module))
        self.resize = _resize_in_words(size, interpolation, mean, std)
        self.device = torch.device(device)
        self._size, self._interpolation, self._batch = size, interpolation, batch
        self._mean = 255 * torch.tensor(mean, device=device).view(3, 1, 1)
        self._std = 255 * torch.tensor(std, device=device).view(3, 1, 1)
        side = size or 64
        self.dimensions = self(np.zeros((1, side, side, 3), np.uint8)).shape[1]

    @torch.no_grad()
    def __call__(self, images: Images) -> Tensor:
        """Features, float32 N x D on the CPU, of uint8 images N x H x W x C (grey or RGB)."""
        return torch.cat([self._features(part) for part in torch.split(_as_rgb(images), self._batch)])

    def _features(self, images: Tensor) -> Tensor:
        """Features of one batch, uint8 N x H x W x 3."""
        pixels = images.to(self.device).permute(0, 3, 1, 2).float()
        if self._size is not None:
            mode, _, antialias = self._interpolation.partition("-")
            pixels = F.interpolate(pixels, (self._size, self._size), mode=mode, antialias=bool(antialias))
        pixels = (pixels - self._mean) / self._std
        try:
            features = self.module(pixels)
        except RuntimeError as error:
            shape = " x ".join(map(str, pixels.shape[1:]))
            raise DcganError(f"extractor {self.name} failed on images of {shape}: {error}") from error
        if not isinstance(features, Tensor) or features.ndim not in (2, 4) or len(features) != len(images):
            found = tuple(features.shape) if isinstance(features, Tensor) else type(features).__name__
            raise DcganError(f"extractor {self.name} must give a tensor N x D or N x D x h x w, not {found}")
        return (features.mean((2, 3)) if features.ndim == 4 else features).float().cpu()


def load_extractor(name: str, device: str | torch.device = "cpu") -> FeatureExtractor:
    """The extractor called `name`, or the one in the TorchScript (.pt, .ts) or ONNX file at that path.

    A file's network takes float32 N x 3 x H x W, RGB in [0, 1], and gives N x D. Whatever else it needs (resizing,
    normalisation) must be part of it; only an ONNX file that declares its input size gets images of that size.
    Raises `DcganError` if the name is unknown or the weights or a package they need are missing.
    """
    # imported here, because both build on ModuleExtractor
    from dcgan.evaluate.efficientnet import efficientnet_lite0_extractor
    from dcgan.evaluate.inception import inception_extractor

    path = Path(name)
    if name == "inception":
        return inception_extractor(device=device)
    if name == "efficientnet-lite0":
        return efficientnet_lite0_extractor(device=device)
    if path.suffix not in (".pt", ".ts", ".onnx"):
        raise DcganError(
            f"unknown extractor {name!r}: choose {', '.join(EXTRACTORS)}, "
            "or the path of a TorchScript (.pt, .ts) or ONNX (.onnx) file"
        )
    if not path.is_file():
        raise DcganError(f"extractor file {path} does not exist")
    return _onnx_extractor(path) if path.suffix == ".onnx" else _torchscript_extractor(path, device)


def extract_features(
    extractor: FeatureExtractor,
    batches: Iterable[Images],
    *,
    total: int | None = None,
    progress: str | None = None,
) -> Tensor:
    """Features, float32 N x D on the CPU, of all images in `batches` (each uint8 n x H x W x C).

    With `progress`, a bar of that title counts images up to `total`. Raises `DcganError` if there are no images or
    the extractor gives NaN or infinity.
    """
    parts = []
    with tqdm(total=total, desc=progress, unit=" images", disable=progress is None) as bar:
        for images in batches:
            parts.append(require_finite(extractor(images), f"features from {extractor.name}"))
            bar.update(len(images))
    if not parts:
        raise DcganError("there are no images to extract features from")
    return torch.cat(parts)


def require_finite(features: Tensor, what: str = "features") -> Tensor:
    """Return `features` (N x D) as they are, or raise `DcganError` if any row holds NaN or infinity."""
    bad = int((~features.isfinite()).any(dim=1).sum())
    if bad:
        raise DcganError(
            f"{what} hold NaN or infinity in {bad} of {len(features)} rows: no figure can be trusted; "
            "check the generator's weights and the extractor"
        )
    return features


def _as_rgb(images: Images) -> Tensor:
    """Images as a uint8 tensor N x H x W x 3, grey ones repeated over the channels."""
    if isinstance(images, np.ndarray):  # torch takes neither read-only memory maps nor flipped views
        images = torch.from_numpy(np.require(images, requirements=["C", "W"]))
    channels = images.shape[-1] if images.ndim == 4 and images.numel() else 0
    if images.dtype != torch.uint8 or channels not in (1, 3):
        raise DcganError(
            "an extractor takes uint8 images N x H x W x C, C being 1 (grey) or 3 (RGB; lay alpha on a background "
            f"first), not {images.dtype} {tuple(images.shape)}"
        )
    return images.expand(*images.shape[:3], 3)


def _resize_in_words(
    size: int | None, interpolation: Interpolation, mean: Sequence[float], std: Sequence[float]
) -> str:
    """What is done to images before the network, as recorded beside every figure."""
    resize = "own size" if size is None else f"{interpolation} to {size} x {size}"
    scale = [" ".join(f"{value:g}" for value in values) for values in (mean, std)]
    return f"{resize}, (x / 255 - [{scale[0]}]) / [{scale[1]}]"


def _torchscript_extractor(path: Path, device: str | torch.device) -> ModuleExtractor:
    """The network in a TorchScript file."""
    try:
        module = torch.jit.load(str(path), map_location=device)
    except RuntimeError as error:
        raise DcganError(f"{path} is not a TorchScript file (torch.jit.save writes one): {error}") from error
    return ModuleExtractor(module, name=path.stem, digest=file_digest(path), device=device)


class _OnnxModule(nn.Module):
    """A network in an ONNX file, run by onnxruntime on the CPU."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        try:
            import onnxruntime
        except ImportError as error:
            raise DcganError("an .onnx extractor needs onnxruntime: pip install onnxruntime") from error
        try:
            self.session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime has a family of errors of its own without a common base
            raise DcganError(f"onnxruntime cannot read {path}: {error}") from error
        self.input = self.session.get_inputs()[0]

    def forward(self, pixels: Tensor) -> Tensor:
        """Its first output for float32 pixels N x 3 x H x W."""
        return torch.from_numpy(self.session.run(None, {self.input.name: pixels.numpy()})[0])


def _onnx_extractor(path: Path) -> ModuleExtractor:
    """The network in an ONNX file; images are resized to the size it declares, if any."""
    module = _OnnxModule(path)
    shape = module.input.shape  # of whole numbers where fixed, names or None where free
    if len(shape) != 4 or shape[1] != 3 or isinstance(shape[0], int) or shape[2] != shape[3]:
        raise DcganError(f"{path} takes {shape}, not N x 3 x S x S with N left free (a dynamic axis)")
    size = shape[2] if isinstance(shape[2], int) else None
    return ModuleExtractor(module, name=path.stem, size=size, digest=file_digest(path))
