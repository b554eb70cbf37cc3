"""Our Inception-v3 is pytorch-fid's: same names, same features; its weight file is found and checked."""

import importlib.util
import io
import urllib.request
import zlib
from pathlib import Path
from types import ModuleType
from urllib.error import URLError

import numpy as np
import pytest
import torch

from dcgan.errors import DcganError
from dcgan.evaluate import inception
from dcgan.evaluate.features import load_extractor

FIXTURES = Path(__file__).parent / "fixtures"


@pytest.fixture(scope="module")
def rules() -> ModuleType:
    """The script that made the fixture, for its rules of weights and images."""
    spec = importlib.util.spec_from_file_location("rules", FIXTURES / "make_inception_fixture.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def weights(rules: ModuleType) -> dict[str, torch.Tensor]:
    """Seeded random weights under the names that our network gives them."""
    shapes = {name: value.shape for name, value in inception.InceptionV3().state_dict().items()}
    return rules.random_weights(shapes)


@pytest.fixture
def weight_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file that passes for the public one, and no other place to find it."""
    path = tmp_path / "weights.pth"
    path.write_bytes(b"weights")
    monkeypatch.setattr(inception, "SHA256_PREFIX", inception.file_digest(path)[:8])
    monkeypatch.delenv(inception.VARIABLE, raising=False)
    monkeypatch.setenv("DCGAN_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    return path


def test_names_and_features_equal_pytorch_fid(
    rules: ModuleType, weights: dict[str, torch.Tensor], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    oracle = np.load(FIXTURES / "inception_features.npz")
    names = "\n".join(f"{name} {tuple(value.shape)}" for name, value in sorted(weights.items()))
    assert zlib.crc32(names.encode()) == oracle["state_dict_crc32"]
    path = tmp_path / "random.pth"
    torch.save(weights, path)
    monkeypatch.setattr(inception, "SHA256_PREFIX", "")
    extractor = inception.inception_extractor(path)
    path.unlink()  # 96 MB
    features = extractor(rules.images())
    np.testing.assert_allclose(features, oracle["features"], rtol=1e-4, atol=1e-4)
    assert (extractor.name, extractor.dimensions) == ("inception", 2048)


def test_the_weight_file_is_found(weight_file: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    hub = tmp_path / "torch" / "hub" / "checkpoints" / inception.FILE_NAME
    ours = tmp_path / "cache" / inception.FILE_NAME
    for path in (hub, ours):  # later ones go before earlier ones
        path.parent.mkdir(parents=True)
        path.touch()
        assert inception.find_weights() == path
    monkeypatch.setenv(inception.VARIABLE, str(weight_file))
    assert inception.find_weights() == weight_file


def test_the_weight_file_is_downloaded_once(weight_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def answer(url: str, timeout: float) -> io.BytesIO:
        asked.append(url)
        return io.BytesIO(weight_file.read_bytes())

    monkeypatch.setattr(urllib.request, "urlopen", answer)
    assert inception.find_weights().read_bytes() == weight_file.read_bytes()
    inception.find_weights()
    assert asked == [inception.URL]


def test_without_a_network_the_remedy_is_told(weight_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(url: str, timeout: float) -> io.BytesIO:
        raise URLError("no route to host")

    monkeypatch.setattr(urllib.request, "urlopen", refuse)
    with pytest.raises(DcganError, match=r"no route to host.*fetch https://.*set DCGAN_INCEPTION"):
        load_extractor("inception")


def test_wrong_files_are_told(weight_file: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(inception.VARIABLE, str(tmp_path / "absent.pth"))
    with pytest.raises(DcganError, match=r"absent.pth do not exist"):
        load_extractor("inception")
    other = tmp_path / "other.pth"
    other.write_bytes(b"something else")
    with pytest.raises(DcganError, match="not FID's Inception"):
        inception.inception_extractor(other)
    monkeypatch.delenv(inception.VARIABLE)
    monkeypatch.setattr(urllib.request, "urlopen", lambda url, timeout: io.BytesIO(b"half a file"))
    with pytest.raises(DcganError, match="damaged"):
        load_extractor("inception")
    assert not (tmp_path / "cache").exists()
