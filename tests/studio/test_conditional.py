"""The studio with conditional models, grey ones, and ones of other sizes: everything that works with any model."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch
from PIL import Image
from starlette.testclient import TestClient

from dcgan.config import ModelConfig
from dcgan.errors import DcganError
from dcgan.explore import slerp
from dcgan.explore.files import read_latents
from dcgan.explore.latents import walk_of_model
from dcgan.images import encode_image, to_pil
from dcgan.models import Generator
from dcgan.studio.app import create_app
from dcgan.studio.model import StudioModel
from dcgan.studio.recipes import FRAMES_A_STEP, path_between, read_latent, write_latent


@pytest.fixture(scope="module", params=[(32, 1, True), (32, 3, True), (128, 1, False)], ids=["grey", "colour", "128"])
def model(request: pytest.FixtureRequest, untrained: Callable[[int, int, bool], StudioModel]) -> StudioModel:
    return untrained(*request.param)


@pytest.fixture
def client(model: StudioModel) -> Iterator[TestClient]:
    with TestClient(create_app(model, projection_steps=8), base_url="http://127.0.0.1") as client:
        yield client


def picture(data: bytes, model: StudioModel) -> npt.NDArray[np.uint8]:
    with Image.open(io.BytesIO(data)) as image:
        pixels = np.asarray(image)
    return pixels.reshape(*pixels.shape[:2], -1)[..., : model.generator.config.channels]


def test_faces_are_the_generators_to_the_byte(client: TestClient, model: StudioModel) -> None:
    generator, size = model.generator, model.generator.config.latent_size
    a, b = generator.latents([1, 2])
    mixed = torch.cat([slerp(a[:size], b[:size], torch.tensor([0.25])), a[size:] * 0.75 + b[size:] * 0.25])
    expected = generator.render(torch.stack([generator.latents([7], 0.7)[0], mixed]))
    answer = client.get("/api/faces", params={"f": ["7t0.7", "(1~2@0.25)"]}).content
    assert np.array_equal(picture(answer, model), np.concatenate(list(expected), axis=1))
    with Image.open(io.BytesIO(client.get("/api/faces?f=7&quick=1").content)) as quick:
        brightness = np.asarray(quick.convert("L"), float)
    wanted = np.asarray(to_pil(generator.sample([7])[0]).convert("L"), float)
    assert brightness == pytest.approx(wanted, abs=24)


def test_walks_and_downloads(client: TestClient, model: StudioModel, tmp_path: Path) -> None:
    several = {"f": ["1", "2", "3+weights-1:1"]}
    assert client.get("/api/walk", params={**several, "part": 5}).status_code == 200
    size, channels = model.generator.config.size, model.generator.config.channels
    png = client.get("/api/download/png?f=42").content
    assert np.array_equal(picture(png, model), model.generator.sample([42])[0])
    assert picture(client.get("/api/download/large?f=1").content, model).shape == (512, 512, channels)
    assert picture(client.get("/api/download/strip", params=several).content, model).shape[0] > 3 * size
    for kind in ("gif", "webp"):
        assert client.get(f"/api/download/{kind}", params={"f": ["1", "2"]}).status_code == 200
    (tmp_path / "latents.safetensors").write_bytes(client.get("/api/download/latent", params=several).content)
    latents, _ = read_latents(tmp_path / "latents.safetensors", model.generator)
    assert torch.equal(latents[:2], model.generator.latents([1, 2]))


def test_a_photo_is_found(client: TestClient, model: StudioModel) -> None:
    photo = encode_image(model.generator.sample([900])[0], "PNG")
    last = json.loads(client.post("/api/project", content=photo).text.splitlines()[-1])
    face = picture(client.get("/api/faces", params={"f": last["found"]}).content, model)
    error = np.sqrt(((face.astype(float) - model.generator.sample([900])[0]) ** 2).mean())
    assert error == pytest.approx(last["error"])


def test_labels_in_a_faces_text_are_with_condition(told: StudioModel) -> None:
    generator = told.generator

    def read(text: str) -> torch.Tensor:
        return read_latent(text, generator, told.vectors)

    latents = generator.latents([5])
    expected = generator.with_condition(latents, {"hair=red": 1, "smile": 0, "age": 30.5})[0]
    assert torch.equal(read("5!hair%3Dred:1!smile:0!age:30.5"), expected)
    assert generator.labels_of(expected[None])[0].tolist() == pytest.approx([0, 1, 0, 30.5])
    assert torch.equal(read("5!smile:0+weights-1:2"), read("5+weights-1:2!smile:0"))
    assert torch.equal(read(write_latent(expected)), expected)
    assert len(np.unique(generator.render(torch.stack([read("5!smile:0"), read("5!smile:1")])), axis=0)) == 2
    between = generator.labels_of(read("(5!age:30~6!age:50@0.25)")[None])[0, 3]
    assert float(between) == pytest.approx(35)


def test_walks_go_straight_through_labels(told: StudioModel) -> None:
    keys = told.generator.latents([1, 2, 3])
    path = path_between(keys, told.generator.config, loop=True)
    assert torch.equal(path, walk_of_model(keys, FRAMES_A_STEP, told.generator.config, loop=True))
    assert torch.equal(path[::FRAMES_A_STEP], keys)
    once = path_between(
        told.generator.with_condition(keys[:1].repeat(2, 1), {"smile": 1}), told.generator.config, False
    )
    assert torch.allclose(once, once[:1].expand_as(once), atol=1e-6)  # what does not change stays


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("5!smle:1", "did you mean smile"),
        ("5!age:99", "age must be from 21.3 to 79.4"),
        ("5!hair%3Dred:1!hair%3Ddark:1", "only one hair"),
        ("5" + "!smile:1+weights-1:1" * 70, "64 parts"),
        ("zAAAA", "this model's have 12"),
    ],
)
def test_wrong_labels_are_told(told: StudioModel, text: str, wrong: str) -> None:
    with pytest.raises(DcganError, match=wrong):
        read_latent(text, told.generator, told.vectors)


def test_a_model_without_labels_is_told_none() -> None:
    generator = Generator(ModelConfig(size=32, latent_size=8, generator_width=4))
    with pytest.raises(DcganError, match="trained without labels"):
        read_latent("5!smile:1", generator, {})


def test_the_page_is_told_the_labels(told: StudioModel) -> None:
    hair, smile, age = told.describe()["labels"]
    assert hair == {"name": "hair", "kind": "class", "classes": ["hair=dark", "hair=red"]}
    assert smile == {"name": "smile", "kind": "binary"}
    assert age == {"name": "age", "kind": "number", "low": 22, "high": 79, "digits": 0}
    for end in (age["low"], age["high"]):  # within the range, beyond which is refused
        read_latent(f"1!age:{end}", told.generator, told.vectors)
