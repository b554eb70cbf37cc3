"""The page in a real browser: Debian's chromium, driven headless."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest

from dcgan.data import PackedImages
from dcgan.images import save_image
from dcgan.studio.model import StudioModel

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: pip install 'dcgan[dev]'")
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium: apt-get install chromium")

Listening = Callable[..., AbstractContextManager[str]]

# The face on a canvas in short, as it came from the server: equal for equal faces, and no others that a test sees.
LOOK = """({face}) => { const data = face.getContext('2d').getImageData(0, 0, face.width, face.height).data;
  let sum = 0; for (let i = 0; i < data.length; i++) sum = (sum * 31 + data[i]) % 2147483647; return sum; }"""


@pytest.fixture(scope="module")
def url(listening: Listening) -> Iterator[str]:
    with listening(projection_steps=60) as address:
        yield address


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])  # containers run as root
        yield browser
        browser.close()


@pytest.fixture
def visit(browser: Any, url: str) -> Iterator[Callable[..., Any]]:
    """`visit("#tab=map", width=360, ...)` opens the page and waits for its wall; it must log no error at all."""
    contexts, errors = [], []

    def go(
        fragment: str = "", width: int = 1280, height: int = 860, at: str = url, forgive: str = "none", **options: Any
    ) -> Any:
        options = {"reduced_motion": "reduce", **options}
        context = browser.new_context(viewport={"width": width, "height": height}, **options)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(20_000)
        page.on("pageerror", lambda error: errors.append(str(error)))

        def hear(message: Any) -> None:
            if message.type == "error" and forgive not in message.text:
                errors.append(message.text)

        page.on("console", hear)
        page.goto(at + fragment)
        page.wait_for_selector("html[data-ready]")
        return page

    yield go
    for context in contexts:
        context.close()
    assert not errors


def look(page: Any, selector: str) -> int:
    return int(page.locator(selector).evaluate(LOOK))


def rested(page: Any) -> tuple[str, int]:
    """The face on the print once it no longer moves: its text, and its looks."""
    page.wait_for_function(
        "() => { const { wanted, face, exact } = document.getElementById('print').dataset;"
        " return wanted && face === wanted && exact === 'true'; }"
    )
    return str(page.locator("#print").get_attribute("data-face")), look(page, "#print")


def faces(page: Any) -> list[int]:
    """The looks of all faces on the wall, once drawn."""
    page.wait_for_selector("#sheet[aria-busy=false]")
    looks: list[int] = page.locator(".face canvas").evaluate_all(f"canvases => canvases.map({LOOK})")
    return looks


def test_the_wall_appears_and_new_faces_come_but_for_locked_ones(visit: Callable[..., Any]) -> None:
    page = visit()
    before = faces(page)
    assert len(before) == len(set(before)) == 30
    page.locator(".lock").nth(4).click()
    page.locator("#refresh").click()
    after = faces(page)
    assert after[4] == before[4]
    assert sum(a != b for a, b in zip(after, before, strict=True)) == 29
    page.keyboard.press("r")
    assert faces(page)[0] != after[0]


def test_two_faces_morph_and_the_slider_changes_the_picture(visit: Callable[..., Any]) -> None:
    page = visit()
    page.locator(".face").nth(3).click()
    assert rested(page)[0] == "3"
    page.locator(".face").nth(7).click()
    middle, middle_look = rested(page)
    assert middle == "(3~7@0.5)"
    page.locator("#share").fill("0.9")
    later, later_look = rested(page)
    assert later == "(3~7@0.9)"
    assert later_look != middle_look
    page.locator("#share").fill("0.5")
    assert rested(page) == (middle, middle_look)
    page.keyboard.press("Escape")
    assert rested(page)[0] == "0"


def test_several_faces_loop_at_thirty_frames_a_second(visit: Callable[..., Any]) -> None:
    page = visit()
    for face in (2, 5, 9):
        page.locator(".face").nth(face).click()
    page.locator("#play").click()
    page.wait_for_function("() => (document.getElementById('print').dataset.face || '').startsWith('frame')")
    at = "() => Number(document.getElementById('print').dataset.face.split(' ')[1])"
    page.wait_for_timeout(800)  # parts arrive while it plays
    first = page.evaluate(at)
    page.wait_for_timeout(1000)
    frames = (page.evaluate(at) - first) % 180
    assert 10 <= frames <= 45  # 30 where nothing else runs
    page.keyboard.press("p")
    text, _ = rested(page)
    assert text.startswith("(2~5~9@")


def test_dragging_one_face_onto_another_mixes_them(visit: Callable[..., Any]) -> None:
    page = visit()
    before = faces(page)
    start, end = (page.locator(".face").nth(i).bounding_box() for i in (1, 8))
    page.mouse.move(start["x"] + 40, start["y"] + 40)
    page.mouse.down()
    page.mouse.move(end["x"] + end["width"] / 2 + 9, end["y"] + end["height"] / 2, steps=6)
    page.locator(".ghost").wait_for()
    page.wait_for_timeout(300)
    page.mouse.up()
    page.locator("#toast button").wait_for()
    after = faces(page)
    assert [i for i in range(30) if after[i] != before[i]] == [8]
    page.wait_for_function("() => location.hash.includes('(8~1@')")
    page.locator("#toast button").click()
    assert faces(page) == before


def test_sliders_move_the_face_along_directions(visit: Callable[..., Any]) -> None:
    page = visit("#tab=wall&pick=3")
    _, plain = rested(page)
    page.locator("[data-direction='big smile']").fill("1.5")
    text, moved = rested(page)
    assert text == "3+big%20smile:1.5"
    assert moved != plain
    page.locator("#level").click()
    assert rested(page) == ("3", plain)


def test_labels_are_set_beside_the_directions_and_stay_in_the_link(
    visit: Callable[..., Any], listening: Listening, told: StudioModel
) -> None:
    with listening(served=told) as address:
        page = visit("#tab=wall&pick=3", at=address)
        _, plain = rested(page)
        page.locator("select[data-label=hair]").select_option("hair=red")
        page.locator("[data-label=smile] [value='0']").check()
        page.locator("input[data-label=age]").fill("70")
        page.locator("[data-direction='weights-1']").fill("1")
        text, moved = rested(page)
        assert text == "3!hair%3Dred:1!smile:0!age:70+weights-1:1"
        assert moved != plain
        assert page.locator("#caption").inner_text() == "Seed 3, red, no smile, age 70, 1 direction moved"
        page.wait_for_function("() => location.hash.includes('weights')")
        other = visit("", at=page.evaluate("location.href"))
        assert rested(other) == (text, moved)
        assert other.locator("select[data-label=hair]").input_value() == "hair=red"
        assert other.locator("[data-label=smile] :checked").input_value() == "0"
        assert other.locator("input[data-label=age]").input_value() == "70"
        other.locator("[data-label=smile] [value='']").check()
        assert rested(other)[0] == "3!hair%3Dred:1!age:70+weights-1:1"
        other.locator("#tab-map").click()
        other.locator("#plane[data-drawn]").wait_for()
        assert rested(other)[0] == "3!hair%3Dred:1!age:70+weights-1:1"
        other.locator("#level").click()
        assert rested(other) == ("3", plain)
        kept = visit("#tab=wall&pick=3!smile:0&calm=0.7", at=address)
        assert rested(kept)[0] == "3t0.7!smile:0"
        for opened in (page, other, kept):  # before the server does
            opened.context.close()


def test_the_map_follows_the_pointer(visit: Callable[..., Any]) -> None:
    page = visit("#tab=map&pick=3")
    page.locator("#plane[data-drawn]").wait_for()
    _, middle = rested(page)
    box = page.locator("#terrain").bounding_box()
    seen = set()
    for across in (0.1, 0.4, 0.8):
        page.mouse.move(box["x"] + box["width"] * across, box["y"] + box["height"] * 0.2)
        text, looks = rested(page)
        seen.add(looks)
        assert text == f"3+weights-1:1.8+big%20smile:{round((across * 2 - 1) * 3, 2)}"
        assert page.locator("#loupe").is_visible()
    assert len(seen | {middle}) == 4
    page.mouse.click(box["x"] + box["width"] * 0.8, box["y"] + box["height"] * 0.2)
    page.mouse.move(5, 5)
    assert rested(page)[1] == looks  # it stays where it was left
    page.locator("#plane").focus()
    page.keyboard.press("Home")
    assert rested(page) == ("3", middle)
    page.keyboard.press("ArrowRight")
    assert rested(page)[0] == "3+big%20smile:0.2"


def test_a_link_reproduces_the_view(visit: Callable[..., Any]) -> None:
    page = visit()
    page.locator("#refresh").click()
    for face in (11, 4):
        page.locator(".face").nth(face).click()
    page.locator("#share").fill("0.25")
    page.locator("[data-direction='weights-2']").fill("-1")
    page.locator(".lock").nth(2).click()
    page.locator("#variety").fill("0.8")
    face, wall = rested(page), faces(page)
    page.wait_for_function("() => location.hash.includes('calm=0.8')")
    link = page.evaluate("location.href")
    other = visit("", at=link)
    assert (rested(other), faces(other)) == (face, wall)
    assert other.locator(".lock[aria-pressed=true]").count() == 1
    assert other.locator("#notice").is_hidden()
    assert unquote(other.evaluate("location.hash")) == unquote(link.split("/")[-1])


def test_a_link_of_another_model_or_of_nonsense_is_told(visit: Callable[..., Any]) -> None:
    page = visit("#tab=nope&f=1,<b>,..&lock=x,99&pick=1&at=7&edit=nose:1&calm=no&m=0123456789ab", forgive="400")
    assert page.locator("#notice").is_visible()
    assert len(faces(page)) == 30
    assert rested(page)[0] == "1"


def test_an_upload_is_found_and_can_be_played_with(
    visit: Callable[..., Any], model: StudioModel, tmp_path: Path
) -> None:
    save_image(tmp_path / "photo.png", model.generator.sample([123])[0])
    page = visit("#tab=photo")
    page.locator("#file").set_input_files(tmp_path / "photo.png")
    page.locator("#find").click()
    page.locator("#use").wait_for()
    assert "of 255 levels" in page.locator("#verdict").inner_text()
    assert page.locator("#asked").evaluate("image => image.naturalWidth") == 32
    latent = page.locator("#answer").get_attribute("data-face")
    page.locator("#use").click()
    assert rested(page)[0] == latent
    (tmp_path / "text.png").write_text("no picture")
    page.locator("#tab-photo").click()
    page.locator("#file").set_input_files(tmp_path / "text.png")
    page.locator("#toast.on").wait_for()
    assert "cannot read" in page.locator("#toast").inner_text()


def test_downloads_arrive(visit: Callable[..., Any]) -> None:
    page = visit("#tab=wall&pick=3")
    page.locator("#downloads summary").click()
    assert page.locator("[data-kind=gif]").is_disabled()
    with page.expect_download() as download:
        page.locator("[data-kind=png]").click()
    assert download.value.suggested_filename == "seed00003.png"


def test_the_run_tab_follows_a_run_while_it_trains(
    visit: Callable[..., Any], listening: Listening, faces32: PackedImages, tmp_path: Path
) -> None:
    settings = {
        "kimg": 1000, "batch": 8, "generator-width": 4, "discriminator-width": 4, "latent-size": 8, "device": "cpu",
        "log-every": 0.016, "sample-every": 0.064, "sample-count": 4, "run-dir": tmp_path, "name": "live",
    }  # fmt: skip
    flags = [str(word) for name, value in settings.items() for word in (f"--{name}", value)]
    command = [sys.executable, "-m", "dcgan", "train", str(faces32.path), "--no-tensorboard", *flags]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as training:
        try:
            folder = tmp_path / "00000-live"
            while not list(folder.glob("samples/*.png")) or not (folder / "metrics.jsonl").read_text():
                assert training.poll() is None
                time.sleep(0.1)
            with listening(folder) as address:
                page = visit("#tab=run", at=address)
                page.locator("#develop[data-sample]").wait_for()
                assert page.locator("#run-status").inner_text() == "Training"
                assert page.locator(".chart path").count() >= 5
                kimg = page.locator("#run-tiles b").first.inner_text()
                sample = page.locator("#develop").get_attribute("data-sample")
                page.wait_for_function(
                    "([kimg, sample]) => document.querySelector('#run-tiles b').textContent !== kimg"
                    " && document.getElementById('develop').dataset.sample !== sample",
                    arg=[kimg, sample],
                )
                page.locator("#develop-at").fill("0")
                page.wait_for_function("() => document.getElementById('develop').dataset.sample === '000000'")
                page.context.close()  # before the server does
        finally:
            training.send_signal(signal.SIGTERM)


def test_the_keyboard_alone_does_it(visit: Callable[..., Any]) -> None:
    page = visit()
    faces(page)
    page.locator(".face").first.focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowDown")
    label = page.evaluate("document.activeElement.getAttribute('aria-label')")
    assert label == "Face 8, seed 7"
    page.keyboard.press("Enter")
    assert rested(page)[0] == "7"
    page.keyboard.press("l")
    assert page.locator(".lock").nth(7).get_attribute("aria-pressed") == "true"
    page.keyboard.press("ArrowRight")
    page.keyboard.press("m")
    page.locator("#toast.on").wait_for()
    assert page.locator(".number").nth(7).inner_text() == "7 × 8"
    outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    assert outline == "solid"
    page.keyboard.press("?")
    assert page.locator("#about").is_visible()
    page.keyboard.press("Escape")
    assert page.locator("#about").is_hidden()


@pytest.mark.parametrize("tab", ["wall", "map", "photo", "run"])
def test_a_phone_is_wide_enough(visit: Callable[..., Any], tab: str) -> None:
    page = visit(f"#tab={tab}&pick=3,7", width=360, height=740, has_touch=True, color_scheme="dark")
    page.wait_for_timeout(500)
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    small = page.evaluate(
        "() => [...document.querySelectorAll('button, input, select, summary')].filter(e => e.offsetParent &&"
        " e.getBoundingClientRect().right > 361).map(e => e.id || e.className)"
    )
    assert small == []


def test_everything_comes_from_the_studio_itself(visit: Callable[..., Any], url: str, browser: Any) -> None:
    page = visit()
    faces(page)
    names = json.loads(page.evaluate("JSON.stringify(performance.getEntriesByType('resource').map(e => e.name))"))
    assert len(names) > 8
    assert all(name.startswith(url) for name in names)
