"""The web folder draws in a browser what Python draws, and says how to get what it lacks."""

from __future__ import annotations

import functools
import json
import shutil
import tarfile
import threading
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from dcgan.cli import main
from dcgan.errors import DcganError
from dcgan.explore.latents import slerp
from dcgan.export import runtime
from dcgan.models import Generator

pytest.importorskip("onnxruntime")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
SWITCHES = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """A folder in the shape of onnxruntime-web's package."""
    folder = tmp_path / "package"
    (folder / "dist").mkdir(parents=True)
    for name in runtime.FILES:
        (folder / "dist" / name).write_bytes(name.encode())
    (folder / "package.json").write_text('{"version": "9.8.7"}')
    return folder


def test_a_folder_holds_all_it_needs(model: Path, package: Path, tmp_path: Path) -> None:
    out = tmp_path / "web"
    assert main(["export", str(model), str(out), "--format", "web", "--runtime", str(package), "--seeds", "12"]) == 0
    page = (out / "index.html").read_text() + (out / "page.js").read_text() + (out / "worker.js").read_text()
    assert "//" not in page.replace("// ", "").replace("http://localhost", ""), "something is loaded from elsewhere"
    about = json.loads((out / "model.json").read_text())
    assert (about["seeds"], about["runtime"]) == (12, "onnxruntime-web 9.8.7")
    assert about["about"]["terms"] == "Drawn faces: anything goes."
    table = np.fromfile(out / about["table"], "<f4").reshape(12, 8)
    np.testing.assert_array_equal(table, Generator.from_pretrained(model).latents(range(12)).numpy())
    for name in runtime.FILES:
        assert (out / "onnxruntime" / name).read_bytes() == name.encode()


def test_the_runtime_is_taken_from_a_folder_its_dist_or_an_archive(package: Path, tmp_path: Path) -> None:
    archive = tmp_path / "onnxruntime-web.tgz"
    with tarfile.open(archive, "w:gz") as file:
        file.add(package, "package")
    assert (
        runtime.runtime_files(str(package))
        == runtime.runtime_files(str(package / "dist"))
        == runtime.runtime_files(str(archive))
    )


def test_without_the_runtime_one_is_told_how_to_get_it(
    package: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (package / "dist" / runtime.FILES[2]).unlink()
    with pytest.raises(DcganError, match=r"ort-wasm-simd-threaded\.wasm is missing.*registry\.npmjs\.org"):
        runtime.runtime_files(str(package))
    (tmp_path / "other.tgz").write_bytes(b"no archive")
    with pytest.raises(DcganError, match=r"no archive of onnxruntime-web.*registry\.npmjs\.org"):
        runtime.runtime_files(str(tmp_path / "other.tgz"))
    monkeypatch.setenv("DCGAN_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(shutil, "which", lambda _: None)
    with pytest.raises(DcganError, match=r"install Node\.js, or download https.*--runtime"):
        runtime.runtime_files(None)


@pytest.mark.parametrize(
    ("script", "word"),
    [
        (f"echo other > $4/onnxruntime-web-{runtime.VERSION}.tgz", "not onnxruntime-web"),
        ("echo 'npm error 404' >&2; exit 1", "npm error 404"),
    ],
)
def test_what_npm_brings_is_not_trusted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, word: str
) -> None:
    npm = tmp_path / "npm"
    npm.write_text(f"#!/bin/sh\n{script}\n")
    npm.chmod(0o755)
    monkeypatch.setattr(shutil, "which", lambda _: str(npm))
    monkeypatch.setenv("DCGAN_CACHE", str(tmp_path / "cache"))
    with pytest.raises(DcganError, match=word):
        runtime.runtime_files(None)
    assert not (tmp_path / "cache").exists()


@pytest.fixture(scope="module", params=["model", "conditional"])
def shown(request: pytest.FixtureRequest) -> Path:
    """The model that the page shows."""
    path: Path = request.getfixturevalue(request.param)
    return path


@pytest.fixture(scope="module")
def address(shown: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a served web folder, with the true runtime."""
    if CHROMIUM is None:
        pytest.skip("chromium is not installed")
    try:
        runtime.fetch()
    except DcganError as error:
        pytest.skip(str(error))
    folder = tmp_path_factory.mktemp("served") / "web"
    assert main(["export", str(shown), str(folder), "--format", "web"]) == 0
    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(_QuietHandler, directory=folder))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    server.server_close()
    thread.join()


class _QuietHandler(SimpleHTTPRequestHandler):
    def log_message(self, *_: Any) -> None: ...


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Chromium, without a window."""
    playwright = pytest.importorskip("playwright.sync_api")
    if CHROMIUM is None:
        pytest.skip("chromium is not installed")
    with playwright.sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=CHROMIUM, args=SWITCHES)
        yield chromium
        chromium.close()


@pytest.fixture
def page(browser: Any, address: str) -> Iterator[Any]:
    """The open page, on which nothing may go wrong, and which may ask nobody else for anything."""
    page = browser.new_page()
    wrong: list[str] = []
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("request", lambda request: None if request.url.startswith(address) else wrong.append(request.url))
    show(page, address)
    yield page
    page.close()
    assert wrong == []


def show(page: Any, address: str) -> None:
    """Open an address and wait until the wall is full."""
    page.goto(address)
    page.wait_for_selector("#wall[data-done]", timeout=60_000)


def pixels(page: Any, selector: str) -> np.ndarray:
    """What a canvas shows: integers H x W x 3."""
    script = "canvas => [canvas.height, canvas.width, Array.from(canvas.getContext('2d')" + (
        ".getImageData(0, 0, canvas.width, canvas.height).data)]"
    )
    height, width, data = page.eval_on_selector(selector, script)
    image = np.array(data).reshape(height, width, 4)
    assert (image[..., 3] == 255).all()
    return image[..., :3]


def halfway(page: Any) -> None:
    """Put the slider into the middle, and wait for its face."""
    page.fill("#place", "0.5")
    page.wait_for_selector('#face[data-place="0.5"]')


def test_the_browser_draws_the_faces_that_python_draws(page: Any, shown: Path) -> None:
    wanted = Generator.from_pretrained(shown).sample(range(36))
    assert wanted.std() > 30
    for seed in (0, 7, 35):
        assert np.abs(pixels(page, f'[data-face="{seed}"] canvas') - wanted[seed].astype(int)).max() <= 1


def test_the_slider_walks_from_face_to_face_as_interpolate_does(page: Any, shown: Path) -> None:
    page.click('[data-face="3"]')
    page.click('[data-face="11"]')
    halfway(page)
    generator = Generator.from_pretrained(shown)
    a, b = generator.latents([3, 11])
    middle = torch.cat([slerp(a[:8], b[:8], torch.tensor([0.5])), (a[8:] + b[8:]) / 2])
    wanted = generator.render(middle[None])[0]
    assert np.abs(pixels(page, "#face") - wanted.astype(int)).max() <= 1


def test_new_faces_are_other_faces_and_a_link_brings_them_back(page: Any, address: str) -> None:
    old = pixels(page, '[data-face="0"] canvas')
    page.eval_on_selector("#wall", "wall => delete wall.dataset.done")
    page.click("#fresh")
    page.wait_for_selector("#wall[data-done]")
    names = page.eval_on_selector_all("#wall button", "faces => faces.map((face) => face.dataset.face)")
    assert len(set(names)) == 36
    assert all(name.startswith("r") for name in names)
    page.click(f'[data-face="{names[0]}"]')
    page.click(f'[data-face="{names[1]}"]')
    halfway(page)
    page.click("#link")
    page.wait_for_function("location.hash.includes('t=0.5')")
    face, link = pixels(page, "#face"), page.url
    page.goto("about:blank")
    show(page, link)
    page.wait_for_selector('#face[data-place="0.5"]')
    np.testing.assert_array_equal(pixels(page, "#face"), face)
    assert np.abs(face - old).max() > 30


def test_the_browsers_own_draws_are_normal(page: Any) -> None:
    numbers = np.array(
        page.evaluate(
            "import('./latents.js').then(({ Latents }) => "
            "Array.from(new Latents(new Float32Array(), 20000, 'normal').draw(7)))"
        )
    )
    assert abs(numbers.mean()) < 0.03
    assert abs(numbers.std() - 1) < 0.03
    assert abs((np.abs(numbers) < 0.6745).mean() - 0.5) < 0.02
