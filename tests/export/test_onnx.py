"""ONNX files compute what the networks do, hold all they need, and are not written if they compute anything else."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from dcgan.cli import main
from dcgan.config import ExportConfig
from dcgan.draws import generator_for
from dcgan.errors import DcganError
from dcgan.export import onnx as exporter
from dcgan.export import write_onnx
from dcgan.images import to_pixels
from dcgan.model_file import read_model
from dcgan.models import Discriminator, Generator

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")


@pytest.fixture(scope="module")
def plain(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The generator's file, as by default."""
    path = tmp_path_factory.mktemp("plain") / "generator.onnx"
    assert main(["export", str(model), str(path)]) == 0
    return path


def run(path: Path, **inputs: Any) -> dict[str, np.ndarray]:
    """The outputs of a file, by name."""
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return dict(zip([output.name for output in session.get_outputs()], session.run(None, inputs), strict=True))


@pytest.mark.parametrize("count", [1, 7])
def test_a_generator_is_the_same_at_any_batch_size(model: Path, plain: Path, count: int) -> None:
    generator = Generator.from_pretrained(model)
    latents = generator.latents(range(100, 100 + count))
    images = run(plain, latents=latents.numpy())["images"]
    with torch.no_grad():
        wanted = generator(latents).numpy()
    assert wanted.std() > 0.3, "the test needs images that show a mistake"
    np.testing.assert_allclose(images, wanted, atol=1e-5)


def test_bytes_in_half_precision_are_the_images_but_for_a_few_levels(model: Path, tmp_path: Path, plain: Path) -> None:
    path = tmp_path / "bytes.onnx"
    assert main(["export", str(model), str(path), "--half", "--layout", "nhwc-uint8"]) == 0
    generator = Generator.from_pretrained(model)
    images = run(path, latents=generator.latents(range(9)).numpy())["images"]
    wanted = generator.sample(range(9))
    assert images.dtype == np.uint8
    assert images.shape == wanted.shape
    assert np.abs(images.astype(int) - wanted).max() <= 3
    weights = [sum(len(tensor.raw_data) for tensor in onnx.load(p).graph.initializer) for p in (path, plain)]
    assert weights[0] < 0.6 * weights[1]


@pytest.mark.parametrize("layout", ["nchw", "nhwc-uint8"])
def test_a_discriminator_gives_its_logits_and_every_layers_features(model: Path, tmp_path: Path, layout: str) -> None:
    path = tmp_path / "discriminator.onnx"
    assert main(["export", str(model), str(path), "--network", "discriminator", "--layout", layout]) == 0
    pixels = Generator.from_pretrained(model).sample(range(6))
    signed = torch.from_numpy(pixels).permute(0, 3, 1, 2) / 127.5 - 1
    outputs = run(path, images=pixels if layout == "nhwc-uint8" else signed.numpy())
    discriminator = Discriminator.from_pretrained(model)
    with torch.no_grad():
        wanted = [discriminator(signed), *discriminator.features(signed)]
    assert list(outputs) == ["logits", "features_16x16", "features_8x8", "features_4x4"]
    for found, true in zip(outputs.values(), wanted, strict=True):
        np.testing.assert_allclose(found, true.numpy(), atol=1e-4 * max(1, float(true.abs().max())))


def test_a_conditional_generator_takes_labels_known_or_not(conditional: Path, tmp_path: Path) -> None:
    path = tmp_path / "generator.onnx"
    assert main(["export", str(conditional), str(path)]) == 0
    generator = Generator.from_pretrained(conditional)
    z = generator.latents(range(4))[:, :8]
    labels = torch.tensor([[1, 70], [0, 25], [torch.nan, 40], [1, torch.nan]])
    images = run(path, latents=z.numpy(), labels=labels.numpy())["images"]
    with torch.no_grad():
        wanted = generator(generator.latents(range(4), condition=labels)).numpy()
        elsewhere = generator(generator.latents(range(4), condition=labels.flip(0))).numpy()
    np.testing.assert_allclose(images, wanted, atol=1e-5)
    assert np.abs(wanted - elsewhere).max() > 0.1


def test_a_conditional_discriminator_judges_by_labels(conditional: Path, tmp_path: Path) -> None:
    path = tmp_path / "discriminator.onnx"
    assert main(["export", str(conditional), str(path), "--network", "discriminator"]) == 0
    code, discriminator = Generator.from_pretrained(conditional).code, Discriminator.from_pretrained(conditional)
    assert code is not None
    images = torch.rand(3, 3, 32, 32, generator=generator_for(0, "test", 0)) * 2 - 1
    labels = torch.tensor([[1, 70], [0, torch.nan], [torch.nan, torch.nan]])
    logits = run(path, images=images.numpy(), labels=labels.numpy())["logits"]
    with torch.no_grad():
        wanted, unlabelled = discriminator(images, code.encode(labels)), discriminator(images)
    np.testing.assert_allclose(logits, wanted.numpy(), rtol=1e-4, atol=1e-4)
    assert abs(wanted[0] - unlabelled[0]) > 0.01
    assert wanted[2] == pytest.approx(unlabelled[2])


def test_one_file_holds_everything_and_says_what_the_model_says(model: Path, plain: Path) -> None:
    assert [path.name for path in plain.parent.iterdir()] == ["generator.onnx"]
    proto = onnx.load(plain, load_external_data=False)
    onnx.checker.check_model(proto, full_check=True)
    (entry,) = proto.metadata_props
    description = json.loads(entry.value)
    _, _, about = read_model(model)
    assert (entry.key, description["about"], description["model"]["size"]) == ("dcgan", about, 32)
    assert description["export"] == {"network": "generator", "half": False, "layout": "nchw"}
    assert str(Path.cwd()).encode() not in plain.read_bytes(), "the exporter's notes of this machine's paths"


def test_the_same_model_gives_the_same_bytes(model: Path, plain: Path, tmp_path: Path) -> None:
    write_onnx(tmp_path / "again.onnx", Generator.from_pretrained(model))
    assert (tmp_path / "again.onnx").read_bytes() == plain.read_bytes()


@pytest.mark.parametrize("layout", ["nchw", "nhwc-uint8"])
def test_what_differs_from_torch_is_not_written(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, layout: str
) -> None:
    path = tmp_path / "generator.onnx"
    path.write_bytes(b"what was there")
    translate = exporter.translate

    def wrongly(graph: Any) -> Any:
        with torch.no_grad():
            graph.network.last[0].weight[0] *= 1.02
        return translate(graph)

    monkeypatch.setattr(exporter, "translate", wrongly)
    with pytest.raises(DcganError, match="nothing was written"):
        write_onnx(path, Generator.from_pretrained(model), layout=layout)
    assert path.read_bytes() == b"what was there"
    assert list(tmp_path.iterdir()) == [path]


def test_numbers_too_large_for_half_are_refused_with_a_remedy(model: Path, tmp_path: Path) -> None:
    generator = Generator.from_pretrained(model)
    with torch.no_grad():
        generator.first[0].weight *= 1e6
    with pytest.raises(DcganError, match="leave out --half"):
        write_onnx(tmp_path / "half.onnx", generator, half=True)
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("settings", "word"),
    [
        ({"runtime": "x"}, "--format web"),
        ({"format": "web", "layout": "nhwc-uint8"}, "layout"),
        ({"format": "huggingface", "half": True}, "half"),
        ({"format": "huggingface", "network": "discriminator"}, "network"),
        ({"push": "user/name"}, "--format huggingface"),
        ({"format": "web", "seeds": 0}, "seeds"),
    ],
)
def test_settings_that_mean_nothing_are_refused(settings: dict[str, Any], word: str) -> None:
    with pytest.raises(DcganError, match=word):
        ExportConfig(model="model", **settings)


def test_another_ending_is_refused(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export", str(model), "model.bin"]) == 2
    assert "must end in .onnx" in capsys.readouterr().err


def test_bytes_are_rounded_as_image_files_are(model: Path) -> None:
    generator = Generator.from_pretrained(model)
    graph = exporter.make_graph(generator, None, half=False, layout="nhwc-uint8")
    latents = generator.latents(range(4))
    with torch.no_grad():
        np.testing.assert_array_equal(graph(latents).numpy(), to_pixels(generator(latents)))
