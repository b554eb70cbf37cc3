"""The extractor `inception`: the Inception-v3 of 2015-12-05 that FID is defined by (Heusel et al. 2017).

The network, its weight file and its resize are those of pytorch-fid (github.com/mseitzer/pytorch-fid), which
ported them from TensorFlow. It is not torchvision's Inception-v3: average pools leave out the padding, and the last
block takes a maximum where the paper takes an average.
"""

from __future__ import annotations

import hashlib
import os
import urllib.request
from collections.abc import Callable
from http.client import HTTPException
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval
from tqdm import tqdm

from dcgan.checkpoint import file_digest, write_bytes
from dcgan.data.cache import cache_folder
from dcgan.errors import DcganError
from dcgan.evaluate.features import ModuleExtractor

FILE_NAME = "pt_inception-2015-12-05-6726825d.pth"
URL = f"https://github.com/mseitzer/pytorch-fid/releases/download/fid_weights/{FILE_NAME}"
SHA256_PREFIX = "6726825d"
"""First digits of the file's SHA-256, as its name says."""
VARIABLE = "DCGAN_INCEPTION"
"""Environment variable with the path of the weight file."""


class InceptionV3(nn.Module):
    """FID's Inception-v3 up to its last average pool: float32 N x 3 x 299 x 299 in [-1, 1] to N x 2048.

    Modules are named as in the weight file, whose 1008-way classifier `fc` is loaded but not used.
    """

    def __init__(self) -> None:
        super().__init__()
        self.Conv2d_1a_3x3 = ConvBN(3, 32, 3, stride=2, pad=False)
        self.Conv2d_2a_3x3 = ConvBN(32, 32, 3, pad=False)
        self.Conv2d_2b_3x3 = ConvBN(32, 64, 3)
        self.Conv2d_3b_1x1 = ConvBN(64, 80, 1)
        self.Conv2d_4a_3x3 = ConvBN(80, 192, 3, pad=False)
        self.Mixed_5b = MixedA(192, pooled=32)
        self.Mixed_5c = MixedA(256, pooled=64)
        self.Mixed_5d = MixedA(288, pooled=64)
        self.Mixed_6a = MixedB(288)
        self.Mixed_6b = MixedC(768, width=128)
        self.Mixed_6c = MixedC(768, width=160)
        self.Mixed_6d = MixedC(768, width=160)
        self.Mixed_6e = MixedC(768, width=192)
        self.Mixed_7a = MixedD(768)
        self.Mixed_7b = MixedE(1280, pool=_average)
        self.Mixed_7c = MixedE(2048, pool=_maximum)
        self.fc = nn.Linear(2048, 1008)

    def forward(self, x: Tensor) -> Tensor:
        """The 2048 features."""
        x = self.Conv2d_2b_3x3(self.Conv2d_2a_3x3(self.Conv2d_1a_3x3(x)))
        x = F.max_pool2d(x, 3, stride=2)
        x = self.Conv2d_4a_3x3(self.Conv2d_3b_1x1(x))
        x = F.max_pool2d(x, 3, stride=2)
        x = self.Mixed_5d(self.Mixed_5c(self.Mixed_5b(x)))  # N x 288 x 35 x 35
        x = self.Mixed_6a(x)
        x = self.Mixed_6e(self.Mixed_6d(self.Mixed_6c(self.Mixed_6b(x))))  # N x 768 x 17 x 17
        x = self.Mixed_7c(self.Mixed_7b(self.Mixed_7a(x)))  # N x 2048 x 8 x 8
        return x.mean((2, 3))

    def fold_batchnorm(self) -> InceptionV3:
        """Merge each BatchNorm into the convolution before it, in place: the same features, faster."""
        for module in self.eval().modules():
            if isinstance(module, ConvBN) and isinstance(module.bn, nn.BatchNorm2d):
                module.conv = fuse_conv_bn_eval(module.conv, module.bn)
                module.bn = nn.Identity()
        return self


class ConvBN(nn.Module):
    """Convolution, BatchNorm and ReLU; by default padded to keep the size."""

    def __init__(
        self, inputs: int, outputs: int, kernel: int | tuple[int, int], stride: int = 1, pad: bool = True
    ) -> None:
        super().__init__()
        height, width = (kernel, kernel) if isinstance(kernel, int) else kernel
        padding = (height // 2, width // 2) if pad else 0
        self.conv = nn.Conv2d(inputs, outputs, (height, width), stride, padding, bias=False)
        self.bn: nn.Module = nn.BatchNorm2d(outputs, eps=1e-3)

    def forward(self, x: Tensor) -> Tensor:
        """N x outputs x H x W."""
        return F.relu(self.bn(self.conv(x)), inplace=True)


def _average(x: Tensor) -> Tensor:
    """3 x 3 average that leaves out the padding, as TensorFlow's does."""
    return F.avg_pool2d(x, 3, stride=1, padding=1, count_include_pad=False)


def _maximum(x: Tensor) -> Tensor:
    """3 x 3 maximum."""
    return F.max_pool2d(x, 3, stride=1, padding=1)


class MixedA(nn.Module):
    """At 35 x 35: 1 x 1, 5 x 5, double 3 x 3 and pooled branches."""

    def __init__(self, inputs: int, pooled: int) -> None:
        super().__init__()
        self.branch1x1 = ConvBN(inputs, 64, 1)
        self.branch5x5_1 = ConvBN(inputs, 48, 1)
        self.branch5x5_2 = ConvBN(48, 64, 5)
        self.branch3x3dbl_1 = ConvBN(inputs, 64, 1)
        self.branch3x3dbl_2 = ConvBN(64, 96, 3)
        self.branch3x3dbl_3 = ConvBN(96, 96, 3)
        self.branch_pool = ConvBN(inputs, pooled, 1)

    def forward(self, x: Tensor) -> Tensor:
        """N x (224 + pooled) x 35 x 35."""
        branch3x3dbl = self.branch3x3dbl_3(self.branch3x3dbl_2(self.branch3x3dbl_1(x)))
        branches = [self.branch1x1(x), self.branch5x5_2(self.branch5x5_1(x)), branch3x3dbl]
        return torch.cat([*branches, self.branch_pool(_average(x))], 1)


class MixedB(nn.Module):
    """From 35 x 35 to 17 x 17: 3 x 3, double 3 x 3 and pooled branches."""

    def __init__(self, inputs: int) -> None:
        super().__init__()
        self.branch3x3 = ConvBN(inputs, 384, 3, stride=2, pad=False)
        self.branch3x3dbl_1 = ConvBN(inputs, 64, 1)
        self.branch3x3dbl_2 = ConvBN(64, 96, 3)
        self.branch3x3dbl_3 = ConvBN(96, 96, 3, stride=2, pad=False)

    def forward(self, x: Tensor) -> Tensor:
        """N x (480 + inputs) x 17 x 17."""
        branch3x3dbl = self.branch3x3dbl_3(self.branch3x3dbl_2(self.branch3x3dbl_1(x)))
        return torch.cat([self.branch3x3(x), branch3x3dbl, F.max_pool2d(x, 3, stride=2)], 1)


class MixedC(nn.Module):
    """At 17 x 17: 1 x 1, 7 x 7, double 7 x 7 (each as 1 x 7 and 7 x 1) and pooled branches."""

    def __init__(self, inputs: int, width: int) -> None:
        super().__init__()
        self.branch1x1 = ConvBN(inputs, 192, 1)
        self.branch7x7_1 = ConvBN(inputs, width, 1)
        self.branch7x7_2 = ConvBN(width, width, (1, 7))
        self.branch7x7_3 = ConvBN(width, 192, (7, 1))
        self.branch7x7dbl_1 = ConvBN(inputs, width, 1)
        self.branch7x7dbl_2 = ConvBN(width, width, (7, 1))
        self.branch7x7dbl_3 = ConvBN(width, width, (1, 7))
        self.branch7x7dbl_4 = ConvBN(width, width, (7, 1))
        self.branch7x7dbl_5 = ConvBN(width, 192, (1, 7))
        self.branch_pool = ConvBN(inputs, 192, 1)

    def forward(self, x: Tensor) -> Tensor:
        """N x 768 x 17 x 17."""
        branch7x7 = self.branch7x7_3(self.branch7x7_2(self.branch7x7_1(x)))
        branch7x7dbl = self.branch7x7dbl_3(self.branch7x7dbl_2(self.branch7x7dbl_1(x)))
        branch7x7dbl = self.branch7x7dbl_5(self.branch7x7dbl_4(branch7x7dbl))
        return torch.cat([self.branch1x1(x), branch7x7, branch7x7dbl, self.branch_pool(_average(x))], 1)


class MixedD(nn.Module):
    """From 17 x 17 to 8 x 8: 3 x 3, 7 x 7 and pooled branches."""

    def __init__(self, inputs: int) -> None:
        super().__init__()
        self.branch3x3_1 = ConvBN(inputs, 192, 1)
        self.branch3x3_2 = ConvBN(192, 320, 3, stride=2, pad=False)
        self.branch7x7x3_1 = ConvBN(inputs, 192, 1)
        self.branch7x7x3_2 = ConvBN(192, 192, (1, 7))
        self.branch7x7x3_3 = ConvBN(192, 192, (7, 1))
        self.branch7x7x3_4 = ConvBN(192, 192, 3, stride=2, pad=False)

    def forward(self, x: Tensor) -> Tensor:
        """N x (512 + inputs) x 8 x 8."""
        branch7x7x3 = self.branch7x7x3_3(self.branch7x7x3_2(self.branch7x7x3_1(x)))
        branches = [self.branch3x3_2(self.branch3x3_1(x)), self.branch7x7x3_4(branch7x7x3)]
        return torch.cat([*branches, F.max_pool2d(x, 3, stride=2)], 1)


class MixedE(nn.Module):
    """At 8 x 8: 1 x 1, 3 x 3, double 3 x 3 (either split into 1 x 3 beside 3 x 1) and pooled branches."""

    def __init__(self, inputs: int, pool: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.pool = pool
        self.branch1x1 = ConvBN(inputs, 320, 1)
        self.branch3x3_1 = ConvBN(inputs, 384, 1)
        self.branch3x3_2a = ConvBN(384, 384, (1, 3))
        self.branch3x3_2b = ConvBN(384, 384, (3, 1))
        self.branch3x3dbl_1 = ConvBN(inputs, 448, 1)
        self.branch3x3dbl_2 = ConvBN(448, 384, 3)
        self.branch3x3dbl_3a = ConvBN(384, 384, (1, 3))
        self.branch3x3dbl_3b = ConvBN(384, 384, (3, 1))
        self.branch_pool = ConvBN(inputs, 192, 1)

    def forward(self, x: Tensor) -> Tensor:
        """N x 2048 x 8 x 8."""
        branch3x3 = self.branch3x3_1(x)
        branch3x3dbl = self.branch3x3dbl_2(self.branch3x3dbl_1(x))
        branches = [
            self.branch1x1(x),
            self.branch3x3_2a(branch3x3),
            self.branch3x3_2b(branch3x3),
            self.branch3x3dbl_3a(branch3x3dbl),
            self.branch3x3dbl_3b(branch3x3dbl),
            self.branch_pool(self.pool(x)),
        ]
        return torch.cat(branches, 1)


def inception_extractor(weights: Path | None = None, *, device: str | torch.device = "cpu") -> ModuleExtractor:
    """The extractor `inception`: 2048 features of images resized as pytorch-fid resizes them.

    `weights` is the public weight file; by default it is found, or downloaded once, by `find_weights`. Raises
    `DcganError` if it cannot be had or is another file.
    """
    path = weights or find_weights()
    if not path.is_file():
        raise DcganError(f"Inception weights {path} do not exist")
    digest = file_digest(path)
    if not digest.startswith(SHA256_PREFIX):
        raise DcganError(
            f"{path} is not FID's Inception (SHA-256 {digest[:8]}..., expected {SHA256_PREFIX}...): "
            f"delete it and download {URL}"
        )
    network = InceptionV3()
    network.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
    return inception_from(network, digest=digest, device=device)


def inception_from(network: InceptionV3, *, digest: str, device: str | torch.device = "cpu") -> ModuleExtractor:
    """`network` with its weights in place as an extractor, with pytorch-fid's resize and scaling."""
    return ModuleExtractor(
        network.fold_batchnorm(),
        name="inception",
        size=299,
        interpolation="bilinear",  # not antialiased: pytorch-fid's is torch's plain one
        mean=(0.5, 0.5, 0.5),
        std=(0.5, 0.5, 0.5),
        batch=16 if torch.device(device).type == "cpu" else 128,
        digest=digest,
        device=device,
    )


def find_weights() -> Path:
    """The weight file: that of $DCGAN_INCEPTION, else in our cache or pytorch-fid's, else downloaded to ours.

    Raises `DcganError` if the variable names no file or the download fails.
    """
    if named := os.environ.get(VARIABLE):
        return Path(named)
    ours = cache_folder() / FILE_NAME
    for path in (ours, Path(torch.hub.get_dir()) / "checkpoints" / FILE_NAME):
        if path.is_file():
            return path
    _download(ours)
    return ours


def _download(path: Path) -> None:
    """Fetch the weight file (96 MB) to `path`, which appears only once it is whole and the right one."""
    data = bytearray()
    try:
        with urllib.request.urlopen(URL, timeout=30) as response, tqdm(unit="B", unit_scale=True) as bar:
            bar.set_description(f"{FILE_NAME} (96 MB)")
            while block := response.read(1 << 20):
                data += block
                bar.update(len(block))
    except (OSError, HTTPException) as error:
        raise DcganError(
            f"the Inception weights are not here and could not be downloaded ({error}): fetch {URL} elsewhere "
            f"and put it at {path}, or set {VARIABLE} to its path"
        ) from error
    digest = hashlib.sha256(data).hexdigest()
    if not digest.startswith(SHA256_PREFIX):
        raise DcganError(f"what came from {URL} is damaged (SHA-256 {digest[:8]}...): try again")
    write_bytes(path, bytes(data))
