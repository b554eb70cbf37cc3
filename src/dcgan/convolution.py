"""The networks' convolutions, all 4x4, as matrix products where that is faster.

On processors with matrix units (AMX) torch's bf16 convolutions reach a tenth of the matrix products' speed on maps of
8x8 and below, in the gradient of the weights most of all. There, one product of gathered patches does the same
arithmetic; with channels last, each row of a patch is one run of memory, so gathering is cheap.

Both directions are one another's derivative, so they differentiate any number of times (gradient penalties need two).
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

LARGEST_MAP = 8  # side of the larger map of the two, in pixels: above it torch's own convolutions win


class Convolution(nn.Conv2d):
    """A 4x4 convolution that halves a map N x C x H x W."""

    def __init__(self, before: int, after: int, bias: bool = False) -> None:
        super().__init__(before, after, 4, stride=2, padding=1, bias=bias)

    def forward(self, images: Tensor) -> Tensor:
        if _as_matrix_product(images, images.shape[2]):
            halved: Tensor = _Halve.apply(images.bfloat16(), self.weight.bfloat16())  # type: ignore[no-untyped-call]
            return halved if self.bias is None else halved + self.bias.bfloat16()[:, None, None]
        return super().forward(images)


class TransposedConvolution(nn.ConvTranspose2d):
    """A 4x4 transposed convolution that doubles a map N x C x H x W."""

    def __init__(self, before: int, after: int, side: int = 4) -> None:
        super().__init__(before, after, side, stride=2, padding=1, bias=False)

    def kernel(self) -> Tensor:
        """The kernel, before x after x 4 x 4."""
        return self.weight

    def forward(self, images: Tensor, output_size: list[int] | None = None) -> Tensor:
        kernel = self.kernel()
        if _as_matrix_product(images, 2 * images.shape[2]):
            doubled: Tensor = _Double.apply(images.bfloat16(), kernel.bfloat16())  # type: ignore[no-untyped-call]
            return doubled
        return F.conv_transpose2d(images, kernel, stride=2, padding=1)


class UpsampledConvolution(TransposedConvolution):
    """Nearest-neighbour upsampling of a map N x C x H x W, then a 3x3 convolution (Odena et al. 2016).

    Upsampling is itself a transposed convolution, by a 2x2 kernel of ones: both together are one by a 4x4 kernel, each
    of whose numbers is the sum of up to four of the 3x3. It takes less than half of the arithmetic that way.
    """

    def __init__(self, before: int, after: int) -> None:
        super().__init__(before, after, side=3)

    def kernel(self) -> Tensor:
        return summed(self.weight)


class FromVector(nn.Linear):
    """Vectors N x Z to maps N x C x 4 x 4: a transposed 4x4 convolution of a 1x1 map is a matrix product."""

    def __init__(self, size: int, channels: int, bias: bool) -> None:
        super().__init__(size, 16 * channels, bias=bias)

    def forward(self, vectors: Tensor) -> Tensor:
        # Channels last in memory, like the maps of all other layers: mixing the two layouts is slow.
        maps: Tensor = super().forward(vectors).unflatten(1, (4, 4, -1))
        return maps.permute(0, 3, 1, 2)


class ToNumber(nn.Linear):
    """Maps N x C x 4 x 4 to one number each, N: a 4x4 convolution of a 4x4 map is a matrix product."""

    def __init__(self, channels: int, bias: bool) -> None:
        super().__init__(16 * channels, 1, bias=bias)

    def forward(self, images: Tensor) -> Tensor:
        numbers: Tensor = super().forward(images.permute(0, 2, 3, 1).flatten(1))
        return numbers.squeeze(1)


def summed(kernel: Tensor) -> Tensor:
    """A kernel O x C x 3 x 3 and one of 2x2 ones as the one O x C x 4 x 4 that both together are."""
    return 4 * F.avg_pool2d(kernel, 2, stride=1, padding=1)


def _as_matrix_product(images: Tensor, larger_map: int) -> bool:
    return (
        larger_map <= LARGEST_MAP
        and images.device.type == "cpu"
        and torch.is_autocast_enabled("cpu")
        and torch.get_autocast_dtype("cpu") is torch.bfloat16
        and not torch.compiler.is_compiling()  # inductor takes minutes over the overlapping patches
    )


class _Halve(torch.autograd.Function):
    """Images N x C x H x W and a kernel O x C x 4 x 4 to N x O x H/2 x W/2."""

    @staticmethod
    def forward(ctx: Any, images: Tensor, kernel: Tensor) -> Tensor:
        ctx.save_for_backward(images, kernel)
        return F.linear(_patches(images), _as_matrix(kernel)).permute(0, 3, 1, 2)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None]:
        images, kernel = ctx.saved_tensors
        return (
            _Double.apply(gradient, kernel) if ctx.needs_input_grad[0] else None,  # type: ignore[no-untyped-call]
            _kernel_gradient(gradient, images) if ctx.needs_input_grad[1] else None,
        )


class _Double(torch.autograd.Function):
    """Images N x O x H x W and a kernel O x C x 4 x 4 to N x C x 2H x 2W: the transpose of `_Halve`."""

    @staticmethod
    def forward(ctx: Any, images: Tensor, kernel: Tensor) -> Tensor:
        ctx.save_for_backward(images, kernel)
        return _overlap(images.permute(0, 2, 3, 1) @ _as_matrix(kernel), kernel.shape[1])

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None]:
        images, kernel = ctx.saved_tensors
        return (
            _Halve.apply(gradient, kernel) if ctx.needs_input_grad[0] else None,  # type: ignore[no-untyped-call]
            _kernel_gradient(images, gradient) if ctx.needs_input_grad[1] else None,
        )


def _kernel_gradient(small: Tensor, large: Tensor) -> Tensor:
    """The gradient of a kernel O x C x 4 x 4 between maps N x O x H x W and N x C x 2H x 2W."""
    outputs, channels = small.shape[1], large.shape[1]
    rows = small.permute(0, 2, 3, 1).reshape(-1, outputs)
    # Without the copy, a product with a transposed left side takes twice the time.
    product = rows.T.contiguous() @ _patches(large).view(-1, 16 * channels)
    return product.view(outputs, 4, 4, channels).permute(0, 3, 1, 2)


def _as_matrix(kernel: Tensor) -> Tensor:
    """A kernel O x C x 4 x 4 as O x 16C, in the order of `_patches`: no copy if it is channels_last."""
    return kernel.permute(0, 2, 3, 1).reshape(len(kernel), -1)


def _patches(images: Tensor) -> Tensor:
    """The 4x4 patch around each 2x2 block of N x C x H x W, as N x H/2 x W/2 x 16C (row, column, channel)."""
    n, channels, height, width = images.shape
    padded = F.pad(images.permute(0, 2, 3, 1), (0, 0, 1, 1, 1, 1)).contiguous()
    image, row, pixel, _ = padded.stride()
    shape = (n, height // 2, width // 2, 4, 4 * channels)  # a row of a patch lies together in memory
    return padded.as_strided(shape, (image, 2 * row, 2 * pixel, row, 1)).reshape(*shape[:3], 16 * channels)


def _overlap(patches: Tensor, channels: int) -> Tensor:
    """Patches N x H x W x 16C added up where they overlap, as N x C x 2H x 2W: the transpose of `_patches`."""
    n, rows, columns, _ = patches.shape
    halves = patches.view(n, rows, columns, 2, 2, 2, 2 * channels)  # of its rows: 2 x 2; of its columns: 2
    padded = patches.new_zeros(n, rows + 1, 2, columns + 1, 2 * channels)
    for i in (0, 1):
        for j in (0, 1):
            padded[:, i : i + rows, :, j : j + columns] += halves[:, :, :, i, :, j].transpose(2, 3)
    whole = padded.view(n, 2 * rows + 2, 2 * columns + 2, channels)
    return whole[:, 1:-1, 1:-1].contiguous().permute(0, 3, 1, 2)
