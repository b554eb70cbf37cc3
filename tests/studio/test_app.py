"""The server's answers: faces to the byte, downloads, bounds, and that nothing asked of it stops it."""

from __future__ import annotations

import asyncio
import http.client
import io
import json
import shutil
import socket
import threading
import time
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch
from PIL import Image
from starlette.testclient import TestClient

from dcgan.checkpoint import write_bytes
from dcgan.config import GenerateConfig
from dcgan.explore import slerp
from dcgan.explore.files import read_latents
from dcgan.generate import generate
from dcgan.images import Pixels, encode_image, make_grid
from dcgan.models import Generator
from dcgan.studio.app import MOST_UPLOADS, create_app
from dcgan.studio.model import StudioModel
from dcgan.studio.projector import Found, Projector, Step
from dcgan.studio.recipes import FRAMES_A_STEP, path_between

Serving = Callable[..., TestClient]


def picture(data: bytes) -> npt.NDArray[np.uint8]:
    with Image.open(io.BytesIO(data)) as image:
        return np.asarray(image)


def brightness(pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.float64]:
    """What lossy compression keeps of images N x H x W x 3, N x (H W)."""
    luma: npt.NDArray[np.float64] = pixels.reshape(-1, pixels.shape[-2] ** 2, 3) @ np.array([0.299, 0.587, 0.114])
    return luma


def test_a_face_is_the_generators_to_the_byte(client: TestClient, model: StudioModel) -> None:
    answer = client.get("/api/faces", params={"f": ["7", "(1~2@0.3)"]})
    assert answer.headers["content-type"] == "image/png"
    a, b = model.generator.latents([1, 2])
    mixed = slerp(a, b, torch.tensor([0.3]))
    expected = model.generator.render(torch.stack([model.generator.latents([7])[0], mixed]))
    assert np.array_equal(picture(answer.content), make_grid(expected, 2, gap=0))


def test_visitors_at_once_get_each_their_own(client: TestClient, model: StudioModel) -> None:
    def visit(seed: int) -> bytes:
        return client.get(f"/api/faces?f={seed}").content

    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(visit, range(48)))
    for seed, answer in enumerate(answers):
        assert np.array_equal(picture(answer), model.generator.sample([seed])[0])
    assert visit(5) == answers[5]


def test_a_frame_in_motion_is_the_face_but_for_compression(client: TestClient, model: StudioModel) -> None:
    answer = client.get("/api/faces?f=3&quick=1")
    assert answer.headers["content-type"] == "image/webp"
    assert answer.headers["cache-control"] == "no-store"
    assert "frame;dur=" in answer.headers["server-timing"]
    assert brightness(picture(answer.content)) == pytest.approx(brightness(model.generator.sample([3])), abs=24)


def test_a_walk_comes_in_parts_and_ends(client: TestClient, model: StudioModel) -> None:
    frames = []
    for part in range(6):
        sheet = picture(client.get("/api/walk", params={"f": ["1", "2", "3"], "part": part}).content)
        rows = sheet.reshape(-1, 32, sheet.shape[1] // 32, 32, 3)
        frames.append(rows.transpose(0, 2, 1, 3, 4).reshape(-1, 32, 32, 3))
    path = path_between(model.generator.latents([1, 2, 3]), model.generator.config, loop=True)
    assert len(path) == 3 * FRAMES_A_STEP
    expected = model.generator.render(path)
    drawn, wanted = brightness(np.concatenate(frames)[: len(path)]), brightness(expected)
    nearest = [np.abs(wanted - frame).mean(1).argmin() for frame in drawn]
    assert nearest == pytest.approx(range(len(path)), abs=2)
    assert client.get("/api/walk", params={"f": ["1", "2", "3"], "part": 6}).status_code == 400


def test_browsers_may_keep_what_cannot_change(client: TestClient, model: StudioModel) -> None:
    url = f"/api/faces?f=7&m={model.digest[:12]}"
    first = client.get(url)
    assert "immutable" in first.headers["cache-control"]
    again = client.get(url, headers={"If-None-Match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert client.get("/api/faces?f=8").headers["etag"] != first.headers["etag"]
    assert "no-cache" in client.get("/api/faces?f=7").headers["cache-control"]
    other = client.get("/api/faces?f=7&m=0123456789ab")
    assert other.status_code == 409
    assert "reload" in other.json()["error"]


def test_the_latents_of_a_link_can_be_had(client: TestClient) -> None:
    text = client.get("/api/latents", params={"f": "(1~2@0.3)+big%20smile:1"}).json()["latents"][0]
    assert client.get("/api/faces", params={"f": text}).content == (
        client.get("/api/faces", params={"f": "(1~2@0.3)+big%20smile:1"}).content
    )


def test_a_downloaded_png_is_the_file_that_generate_writes(
    client: TestClient, run_folder: Path, tmp_path: Path
) -> None:
    generate(GenerateConfig(model=str(run_folder), seeds="42", out=str(tmp_path)))
    answer = client.get("/api/download/png?f=42")
    assert 'filename="seed00042.png"' in answer.headers["content-disposition"]
    assert answer.content == (tmp_path / "seed00042.png").read_bytes()


def test_other_downloads(client: TestClient, model: StudioModel, tmp_path: Path) -> None:
    several = {"f": ["1", "2", "3+big%20smile:1"]}
    assert picture(client.get("/api/download/large?f=1").content).shape == (512, 512, 3)
    strip = picture(client.get("/api/download/strip", params=several).content)
    assert strip.shape[0] > 3 * 32
    for kind, frames in (("gif", 90), ("webp", 180)):
        with Image.open(io.BytesIO(client.get(f"/api/download/{kind}", params=several).content)) as image:
            assert image.format == kind.upper()
            assert getattr(image, "n_frames", 1) >= frames - 2  # Pillow joins frames that are alike
            assert image.info["loop"] == 0
    answer = client.get("/api/download/latent", params=several)
    (tmp_path / "latents.safetensors").write_bytes(answer.content)
    latents, names = read_latents(tmp_path / "latents.safetensors", model.generator)
    assert torch.equal(latents[:2], model.generator.latents([1, 2]))
    assert names[0] == "seed 1"


WRONG = [
    ("/api/faces", 400, "1 to 64 faces"),
    ("/api/faces?" + "&".join(["f=1"] * 65), 400, "1 to 64 faces"),
    ("/api/faces?f=", 400, "where a seed"),
    ("/api/faces?f=..%2F..%2Fetc%2Fpasswd", 400, "where a seed"),
    ("/api/faces?f=1%2Bnose:2", 400, "no direction"),
    ("/api/faces?f=%00%ff", 400, "where a seed"),
    ("/api/faces?f=1" + "&x=1" * 12_400, 414, "longer than"),
    ("/api/walk?f=1", 400, "two latents"),
    ("/api/walk?f=1&f=2&part=-1", 400, "part must be"),
    ("/api/walk?f=1&f=2&part=1e9", 400, "part must be"),
    ("/api/download/exe?f=1", 404, "no download 'exe'"),
    ("/api/download/gif?f=1", 400, "two faces or more"),
    ("/api/download/png?f=1&f=2", 400, "one face"),
    ("/api/run/samples/..%2F..%2Fconfig.json", 404, ""),
    ("/api/run/samples/000000.999", 404, "no sample grid"),
    ("/api/nothing", 404, ""),
    ("/static/..%2Fapp.py", 404, ""),
    ("/static/%2Fetc%2Fpasswd", 404, ""),
    ("/api/project", 405, ""),
]


@pytest.mark.parametrize(("url", "status", "told"), WRONG)
def test_what_is_wrong_is_told_as_json(client: TestClient, url: str, status: int, told: str) -> None:
    answer = client.get(url)
    assert answer.status_code == status
    assert told in answer.json()["error"]
    assert client.get("/api/faces?f=1").status_code == 200


def bomb() -> bytes:
    """A PNG of a few bytes that says it has 30,000 x 30,000 pixels."""
    header = b"IHDR" + (30_000).to_bytes(4, "big") * 2 + bytes([8, 2, 0, 0, 0])
    end = b"IEND"
    chunks = [
        (len(chunk) - 4).to_bytes(4, "big") + chunk + zlib.crc32(chunk).to_bytes(4, "big") for chunk in (header, end)
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


@pytest.mark.parametrize(
    ("body", "status", "told"),
    [
        (b"", 400, "no photo"),
        (b"hello", 400, "not an image"),
        (bomb(), 400, "too large"),
        (b"x" * (10 << 20) + b"x", 413, "larger than 10 MB"),
    ],
    ids=["empty", "text", "bomb", "large"],
)
def test_a_photo_that_cannot_be_used_is_refused(client: TestClient, body: bytes, status: int, told: str) -> None:
    answer = client.post("/api/project", content=body)
    assert answer.status_code == status
    assert told in answer.json()["error"]
    assert client.get("/api/faces?f=1").status_code == 200


def test_an_upload_without_a_length_is_bounded_too(client: TestClient) -> None:
    def pour() -> object:
        yield from (b"x" * (1 << 20) for _ in range(12))

    assert client.post("/api/project", content=pour()).status_code == 413  # type: ignore[arg-type]


def own_face(model: StudioModel, seed: int) -> Pixels:
    return model.generator.sample([seed])[0]


def test_a_photo_is_found_and_shown_beside(serving: Serving, model: StudioModel) -> None:
    client = serving(projection_steps=120)
    answer = client.post("/api/project", content=encode_image(own_face(model, 900), "PNG"))
    first, *steps, last = [json.loads(line) for line in answer.text.splitlines()]
    assert first["photo"].startswith("data:image/png;base64,")
    assert all(step["done"] <= step["total"] for step in steps)
    assert last["error"] < last["others"] / 3
    face = picture(client.get("/api/faces", params={"f": last["found"]}).content)
    error = np.sqrt(((face.astype(float) - own_face(model, 900)) ** 2).mean())
    assert error == pytest.approx(last["error"])


def test_one_photo_at_a_time_and_a_visitor_who_leaves_ends_the_search(model: StudioModel) -> None:
    assert model.discriminator is not None

    async def visit() -> None:
        projector = Projector(model.generator, model.discriminator, threads=1)  # type: ignore[arg-type]
        async with projector.search(own_face(model, 1), steps=100_000) as news:
            assert isinstance(await anext(aiter(news)), Step)
            assert projector.busy
            with pytest.raises(Exception, match="another photo"):
                async with projector.search(own_face(model, 1), steps=1):
                    pass
        assert not projector.busy
        assert not any(thread.name == "studio projector" for thread in threading.enumerate())
        async with projector.search(own_face(model, 1), steps=2) as news:
            assert isinstance([item async for item in news][-1], Found)

    asyncio.run(asyncio.wait_for(visit(), 30))


def test_a_closed_connection_ends_the_search(
    listening: Callable[..., AbstractContextManager[str]], model: StudioModel
) -> None:
    photo = encode_image(own_face(model, 1), "PNG")
    with listening(projection_steps=1_000_000) as url:
        first = http.client.HTTPConnection(url.split("/")[2], timeout=30)
        first.request("POST", "/api/project", photo)
        answer = first.getresponse()
        assert b"photo" in answer.readline()
        assert b"total" in answer.readline()
        second = http.client.HTTPConnection(url.split("/")[2], timeout=30)
        second.request("POST", "/api/project", photo)
        busy = second.getresponse()
        assert (busy.status, busy.read() != b"") == (503, True)
        answer.close()
        first.close()
        until = time.monotonic() + 20
        while busy.status == 503 and time.monotonic() < until:
            time.sleep(0.1)
            second.request("POST", "/api/project", photo)
            busy = second.getresponse()
            if busy.status == 503:
                busy.read()
        assert busy.status == 200
        busy.close()
        second.close()


def test_uploads_under_way_are_bounded(listening: Callable[..., AbstractContextManager[str]]) -> None:
    with listening() as url:
        place = url.split("/")[2]
        host, port = place.split(":")
        slow = [socket.create_connection((host, int(port))) for _ in range(MOST_UPLOADS)]
        for connection in slow:
            connection.sendall(f"POST /api/project HTTP/1.1\r\nHost: {place}\r\nContent-Length: 99\r\n\r\n".encode())
        client = http.client.HTTPConnection(place, timeout=30)
        statuses = []
        for _ in range(50):  # until all have been taken in
            client.request("POST", "/api/project", b"hello")
            answer = client.getresponse()
            answer.read()
            statuses.append(answer.status)
            if answer.status == 503:
                break
            time.sleep(0.1)
        assert statuses[-1] == 503
        for connection in slow:
            connection.close()
        until = time.monotonic() + 20
        while answer.status == 503 and time.monotonic() < until:
            time.sleep(0.1)
            client.request("POST", "/api/project", b"hello")
            answer = client.getresponse()
            answer.read()
        assert answer.status == 400  # it is read again, and is no photo
        client.close()


def test_overload_is_told_and_passes(serving: Serving) -> None:
    client = serving(most_waiting=10)
    answer = client.get("/api/faces?" + "&".join(f"f={n}" for n in range(11)))
    assert answer.status_code == 503
    assert int(answer.headers["retry-after"]) >= 1
    assert "busy" in answer.json()["error"]
    assert client.get("/api/faces?f=1").status_code == 200


def test_the_page_says_what_it_needs_of_the_model(client: TestClient, model: StudioModel) -> None:
    about = client.get("/api/model").json()
    assert about["digest"] == model.digest
    assert about["settings"]["size"] == 32
    assert [d["name"] for d in about["directions"][:2]] == ["big smile", "weights-1"]
    assert about["projects"]
    assert about["run"]


def test_a_model_that_training_has_replaced_is_taken_up(model: StudioModel, run_folder: Path, tmp_path: Path) -> None:
    shutil.copyfile(run_folder / "model.safetensors", tmp_path / "model.safetensors")
    with TestClient(create_app(StudioModel.load(tmp_path)), base_url="http://127.0.0.1") as client:
        before = client.get("/api/model").json()["digest"]
        assert before == model.digest
        checkpoint = sorted((run_folder / "checkpoints").iterdir())[-1]
        write_bytes(tmp_path / "model.safetensors", (checkpoint / "model.safetensors").read_bytes())
        newer = Generator.from_pretrained(checkpoint)
        assert client.get("/api/model").json()["digest"] == newer.about["digest"]
        assert np.array_equal(picture(client.get("/api/faces?f=1").content), newer.sample([1])[0])
        assert client.get(f"/api/faces?f=1&m={before[:12]}").status_code == 409
        (tmp_path / "model.safetensors").write_bytes(b"no model")
        assert client.get("/api/model").json()["digest"] == newer.about["digest"]


def test_the_page_and_all_it_names_are_there(client: TestClient) -> None:
    page = client.get("/").text
    names = {part.split('"')[0] for part in page.split('"/static/')[1:]}
    assert {"app.js", "style.css", "icon.svg"} <= names
    for name in names:
        answer = client.get(f"/static/{name}")
        assert answer.status_code == 200
        again = client.get(f"/static/{name}", headers={"If-None-Match": answer.headers["etag"]})
        assert again.content == answer.content  # never that of a version before
    assert "http:" not in page.replace("http://www.w3.org", "")
    assert "https:" not in page
