"""Extractors: the same features whatever the batch, every protocol named, every obstacle told."""

import itertools
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from dcgan.errors import DcganError
from dcgan.evaluate.features import ModuleExtractor, extract_features, load_extractor


def network() -> nn.Module:
    """A small convolutional network with seeded weights: N x 3 x H x W to N x 8 x h x w."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return nn.Sequential(nn.Conv2d(3, 16, 3, 2), nn.BatchNorm2d(16), nn.ReLU(), nn.Conv2d(16, 8, 3))


def images(count: int, size: int = 24, channels: int = 3, seed: int = 0) -> np.ndarray:
    """Random uint8 images."""
    return np.random.default_rng(seed).integers(0, 256, (count, size, size, channels), np.uint8)


class Pixels(nn.Module):
    """Features that are the pixels as the extractor passes them on."""

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        return pixels.flatten(1)


def test_features_do_not_depend_on_the_batches() -> None:
    shown = images(23)
    whole = extract_features(ModuleExtractor(network(), batch=64), [shown])
    assert whole.shape == (23, 8)
    assert whole.dtype == torch.float32
    for batch, cut in itertools.product((1, 5, 64), (1, 7)):
        batches = (shown[i : i + cut] for i in range(0, len(shown), cut))
        parts = extract_features(ModuleExtractor(network(), batch=batch), batches, total=23)
        torch.testing.assert_close(parts, whole, rtol=1e-4, atol=1e-5)


def test_pixels_are_scaled_as_told() -> None:
    shown = images(2, size=4)
    plain = ModuleExtractor(Pixels())(shown)
    np.testing.assert_allclose(plain, shown.transpose(0, 3, 1, 2).reshape(2, -1) / 255, rtol=1e-6)
    scaled = ModuleExtractor(Pixels(), mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))(torch.from_numpy(shown))
    torch.testing.assert_close(scaled, 2 * plain - 1)


def test_grey_images_are_repeated_over_the_channels() -> None:
    extractor = ModuleExtractor(network())
    grey = images(3, channels=1)
    torch.testing.assert_close(extractor(grey), extractor(np.repeat(grey, 3, axis=3)), rtol=0, atol=0)


def test_read_only_and_flipped_views_are_taken() -> None:
    extractor = ModuleExtractor(Pixels())
    shown = images(3)
    flipped = extractor(shown[:, :, ::-1])
    torch.testing.assert_close(flipped, extractor(shown[:, :, ::-1].copy()), rtol=0, atol=0)
    shown.flags.writeable = False  # as a memory map is
    torch.testing.assert_close(extractor(shown[:, :, ::-1]), flipped, rtol=0, atol=0)
    extractor(shown)


def test_images_are_resized() -> None:
    extractor = ModuleExtractor(Pixels(), size=8)
    assert extractor.dimensions == 3 * 8 * 8
    flat = np.full((1, 20, 30, 3), 51, np.uint8)
    torch.testing.assert_close(extractor(flat), torch.full((1, 192), 0.2))


def test_antialiasing_is_seen_in_downsizing_only() -> None:
    plain = ModuleExtractor(Pixels(), size=16, interpolation="bilinear")
    smooth = ModuleExtractor(Pixels(), size=16, interpolation="bilinear-antialias")
    torch.testing.assert_close(plain(images(2, size=8)), smooth(images(2, size=8)))
    assert smooth(images(2, size=64)).std() < 0.7 * plain(images(2, size=64)).std()


def test_the_protocol_is_in_words_and_the_weights_in_a_digest() -> None:
    extractors = [
        ModuleExtractor(network()),
        ModuleExtractor(network(), size=32),
        ModuleExtractor(network(), size=32, interpolation="bilinear"),
        ModuleExtractor(network(), size=32, mean=(0.5, 0.5, 0.5)),
    ]
    assert len({extractor.resize for extractor in extractors}) == 4
    assert len({extractor.digest for extractor in extractors}) == 1
    assert extractors[1].resize == "bilinear-antialias to 32 x 32, (x / 255 - [0 0 0]) / [1 1 1]"
    changed = network()
    changed[0].weight.data[0, 0, 0, 0] += 1e-3
    assert ModuleExtractor(changed).digest != extractors[0].digest


@pytest.mark.filterwarnings("ignore:`torch.jit")
def test_torchscript_file(tmp_path: Path) -> None:
    path = tmp_path / "small.pt"
    torch.jit.trace(network().eval(), torch.zeros(1, 3, 24, 24)).save(str(path))
    extractor = load_extractor(str(path))
    assert extractor.name == "small"
    assert extractor.dimensions == 8
    torch.testing.assert_close(extractor(images(3)), ModuleExtractor(network())(images(3)))
    path.write_bytes(b"no network")
    with pytest.raises(DcganError, match="not a TorchScript file"):
        load_extractor(str(path))


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_onnx_file(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    path = tmp_path / "small.onnx"
    module = nn.Sequential(network(), nn.AdaptiveAvgPool2d(1), nn.Flatten()).eval()
    free = ({0: torch.export.Dim.DYNAMIC},)
    torch.onnx.export(
        module, (torch.zeros(2, 3, 32, 32),), path, dynamic_shapes=free, external_data=False, verbose=False
    )
    extractor = load_extractor(str(path))
    assert "to 32 x 32" in extractor.resize
    expected = ModuleExtractor(network(), size=32)(images(3))
    torch.testing.assert_close(extractor(images(3)), expected, rtol=1e-4, atol=1e-5)
    path.write_bytes(b"no network")
    with pytest.raises(DcganError, match="cannot read"):
        load_extractor(str(path))


def test_onnx_without_its_package_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    (tmp_path / "small.onnx").touch()
    with pytest.raises(DcganError, match="pip install onnxruntime"):
        load_extractor(str(tmp_path / "small.onnx"))


def test_unknown_extractors_are_told(tmp_path: Path) -> None:
    with pytest.raises(DcganError, match="unknown extractor 'resnet': choose inception, efficientnet-lite0"):
        load_extractor("resnet")
    with pytest.raises(DcganError, match=r"absent.onnx does not exist"):
        load_extractor(str(tmp_path / "absent.onnx"))


def test_unfit_images_are_told() -> None:
    extractor = ModuleExtractor(network())
    for unfit in (images(2, channels=4), images(2).astype(np.float32), images(2)[0], images(0)):
        with pytest.raises(DcganError, match="takes uint8 images N x H x W x C"):
            extractor(unfit)
    with pytest.raises(DcganError, match="failed on images of 3 x 1 x 1"):
        extractor(images(2, size=1))


class Several(nn.Module):
    """A network that gives a list."""

    def forward(self, pixels: torch.Tensor) -> list[torch.Tensor]:
        return [pixels]


def test_unfit_networks_are_told() -> None:
    with pytest.raises(DcganError, match=r"Several must give a tensor N x D.*not list"):
        ModuleExtractor(Several())
    with pytest.raises(DcganError, match=r"must give a tensor.*not \(12288,\)"):
        ModuleExtractor(nn.Flatten(0))


def test_no_images_and_nan_are_told() -> None:
    extractor = ModuleExtractor(network())
    with pytest.raises(DcganError, match="no images"):
        extract_features(extractor, [])
    broken = network()
    broken[3].bias.data[2] = torch.nan
    with pytest.raises(DcganError, match=r"features from broken hold NaN or infinity in 4 of 4 rows"):
        extract_features(ModuleExtractor(broken, name="broken"), [images(4)])
