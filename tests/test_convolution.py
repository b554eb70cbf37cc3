"""Convolutions as matrix products: the same maps and the same gradients as torch's own."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from dcgan.convolution import (
    Convolution,
    TransposedConvolution,
    UpsampledConvolution,
    _as_matrix_product,
    _Double,
    _Halve,
)


def doubles(*shape: int) -> torch.Tensor:
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).requires_grad_()


@pytest.mark.parametrize("size", [2, 4, 6, 8])
def test_both_directions_are_torchs(size: int) -> None:
    kernel = doubles(5, 3, 4, 4)
    large, small = doubles(2, 3, size, size + 2), doubles(2, 5, size, size + 2)
    torch.testing.assert_close(_Halve.apply(large, kernel), F.conv2d(large, kernel, stride=2, padding=1))
    torch.testing.assert_close(_Double.apply(small, kernel), F.conv_transpose2d(small, kernel, stride=2, padding=1))


def test_first_and_second_derivatives_are_right() -> None:
    large, small, kernel = doubles(1, 2, 4, 4), doubles(1, 3, 2, 2), doubles(3, 2, 4, 4)
    for function, images in ((_Halve.apply, large), (_Double.apply, small)):
        assert torch.autograd.gradcheck(function, (images, kernel))
        assert torch.autograd.gradgradcheck(function, (images, kernel))


@pytest.mark.parametrize("size", [1, 4, 9])
def test_upsampling_is_nearest_neighbour_and_a_3x3_convolution(size: int) -> None:
    layer = UpsampledConvolution(3, 5).double()
    images = doubles(2, 3, size, size + 2)
    kernel = layer.weight.transpose(0, 1).flip(2, 3)  # as a plain convolution has it
    torch.testing.assert_close(layer(images), F.conv2d(F.interpolate(images, scale_factor=2), kernel, padding=1))


@pytest.mark.parametrize("layer", [Convolution, TransposedConvolution, UpsampledConvolution])
def test_in_bf16_it_is_what_float32_gives_but_for_rounding(layer: type[Convolution | TransposedConvolution]) -> None:
    torch.manual_seed(0)
    module = layer(32, 16)
    images = torch.randn(4, 32, 4, 4).to(memory_format=torch.channels_last).requires_grad_()

    def run(bf16: bool) -> list[torch.Tensor]:
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            assert _as_matrix_product(images, 8) == bf16
            out = module(images)
        return [out.float(), *torch.autograd.grad(out.float().square().sum(), [images, module.weight])]

    for ours, exact in zip(run(True), run(False), strict=True):
        assert (ours - exact).norm() < 0.02 * exact.norm()


def test_large_maps_are_left_to_torch() -> None:
    with torch.autocast("cpu", torch.bfloat16):
        assert not _as_matrix_product(torch.zeros(1, 1, 16, 16), 16)
    assert not _as_matrix_product(torch.zeros(1, 1, 8, 8), 8)
