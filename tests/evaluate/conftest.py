"""Shared fixtures: a small extractor, drawn faces packed with many held out, and a cache folder of their own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import nn

from dcgan.config import PrepareConfig
from dcgan.data import PackedImages, PackedWriter, prepare
from dcgan.evaluate import ModuleExtractor

Pack = Callable[[str, npt.NDArray[np.uint8]], PackedImages]


@pytest.fixture(scope="session")
def small() -> ModuleExtractor:
    """A small convolutional network with seeded random weights, 64 features."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        layers: list[nn.Module] = []
        for inputs, outputs in ((3, 16), (16, 32), (32, 64)):
            conv = nn.Conv2d(inputs, outputs, 3, stride=2, padding=1)
            nn.init.kaiming_normal_(conv.weight)
            layers += [conv, nn.ReLU()]
        return ModuleExtractor(nn.Sequential(*layers), name="small")


@pytest.fixture(scope="session")
def people(tmp_path_factory: pytest.TempPathFactory) -> PackedImages:
    """A thousand drawn faces of 32x32, packed; training never sees 300 of them."""
    out = tmp_path_factory.mktemp("people") / "people"
    return prepare(PrepareConfig(source="toy", out=str(out), size=32, count=1000, held_out=0.3, workers=1))


@pytest.fixture
def pack(tmp_path: Path) -> Pack:
    """Pack images, uint8 N x H x W x C, under a name."""

    def make(name: str, images: npt.NDArray[np.uint8]) -> PackedImages:
        with PackedWriter(tmp_path / name, images.shape[1], images.shape[3]) as writer:
            writer.append(images)
        return PackedImages.open(tmp_path / name)

    return make


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache folder that starts empty."""
    monkeypatch.setenv("DCGAN_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"
