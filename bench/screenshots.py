"""The pictures of docs/studio.md, taken of the page itself: run again when the page or the model is better.

    python bench/screenshots.py runs/00000-celeba64-relativistic --photo portrait.png

Needs chromium and playwright. Only generated faces are in them, and the one photo that is given.
"""

from __future__ import annotations

import argparse
import io
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

from PIL import Image
from playwright.sync_api import sync_playwright

DESKTOP, PHONE = (1360, 900), (360, 740)
PICKS = "pick=12,9,5"


def wall(page: Any) -> None:
    page.wait_for_selector("#sheet[aria-busy=false]")
    page.wait_for_selector("#print[data-exact=true]")
    page.wait_for_timeout(1500)


def glide(page: Any) -> None:
    page.locator("#plane[data-drawn]").wait_for()
    box = page.locator("#terrain").bounding_box()
    page.mouse.move(box["x"] + box["width"] * 0.3, box["y"] + box["height"] * 0.36)
    page.wait_for_timeout(3000)


def develop(page: Any) -> None:
    page.locator("#develop[data-sample]").wait_for()
    page.wait_for_timeout(1500)


def find(page: Any, photo: str) -> None:
    page.locator("#file").set_input_files(photo)
    page.locator("#find").click()
    page.locator("#use").wait_for(timeout=600_000)
    page.wait_for_timeout(1000)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="the folder of a run")
    parser.add_argument("--photo", help="a picture that may be published; without one, that screenshot is left out")
    parser.add_argument("--out", default="docs/images", help="folder for studio-*.webp")
    arguments = parser.parse_args()
    out = Path(arguments.out)
    command = [sys.executable, "-m", "dcgan", "studio", arguments.model, "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as studio, sync_playwright() as driver:
        assert studio.stdout is not None
        url = re.search(r"http://\S+", studio.stdout.readline())
        assert url is not None
        chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
        browser = driver.chromium.launch(executable_path=chromium, args=["--no-sandbox"])

        def take(
            view: str, scheme: Literal["light", "dark"], wait: Callable[[Any], None], phone: bool = False
        ) -> Image.Image:
            width, height = PHONE if phone else DESKTOP
            context = browser.new_context(
                viewport={"width": width, "height": height},
                color_scheme=scheme,
                reduced_motion="reduce",
                device_scale_factor=2 if phone else 1.5,
            )
            page = context.new_page()
            page.set_default_timeout(120_000)
            page.goto(f"{url[0]}#{view}")
            page.wait_for_selector("html[data-ready]")
            wait(page)
            picture = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
            context.close()
            return picture

        take(f"tab=wall&{PICKS}&at=0.2&lock=4", "light", wall).save(out / "studio-wall.webp", quality=86)
        take("tab=map&pick=12&x=weights-1&y=weights-3", "dark", glide).save(out / "studio-map.webp", quality=86)
        take("tab=run", "light", develop).save(out / "studio-run.webp", quality=86)
        if arguments.photo:
            picture = take("tab=photo", "dark", lambda page: find(page, arguments.photo))
            picture.save(out / "studio-photo.webp", quality=86)
        phones = [
            take(f"tab=wall&{PICKS}&at=0.2", "dark", wall, phone=True),
            take("tab=map&pick=12&x=weights-1&y=weights-3", "light", glide, phone=True),
            take("tab=run", "dark", develop, phone=True),
        ]
        side_by_side(phones).save(out / "studio-phone.webp", quality=86)
        browser.close()
        studio.terminate()


def side_by_side(pictures: list[Image.Image], gap: int = 40) -> Image.Image:
    """Pictures of one height in a row, on white."""
    width = sum(picture.width + gap for picture in pictures) - gap
    row = Image.new("RGB", (width, pictures[0].height), "white")
    left = 0
    for picture in pictures:
        row.paste(picture, (left, 0))
        left += picture.width + gap
    return row


if __name__ == "__main__":
    main()
