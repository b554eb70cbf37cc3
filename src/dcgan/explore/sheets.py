"""Pictures of pictures with words: sheets of rows and columns, numbered grids."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from dcgan.images import Pixels

FONT_SIZE = 11
LINE = 12  # pixels a line of text takes
_GAP = 2


def as_rgb(pixels: Pixels) -> Pixels:
    """Images ... x C of 1 to 4 channels as ... x 3; what is transparent shows white."""
    if pixels.shape[-1] in (2, 4):
        alpha = pixels[..., -1:].astype(np.float32) / 255
        pixels = np.rint(pixels[..., :-1] * alpha + 255 * (1 - alpha)).astype(np.uint8)
    return np.broadcast_to(pixels, (*pixels.shape[:-1], 3))


def numbered(pixels: Pixels, captions: Sequence[object]) -> Pixels:
    """Images, uint8 N x H x W x C, each with its caption below: N x (H + 12) x W x 3."""
    count, height, width, _ = pixels.shape
    tall = np.full((count, height + LINE, width, 3), 255, np.uint8)
    tall[:, :height] = as_rgb(pixels)
    for image, caption in zip(tall, captions, strict=True):
        _write(image[height:], str(caption), centre=True)
    return tall


def sheet(cells: Sequence[Sequence[Pixels | None]], rows: Sequence[str] = (), columns: Sequence[str] = ()) -> Pixels:
    """Images, each uint8 H x W x C or None for a blank, in rows and columns with a word to each.

    Words of `columns` stand above, one under the other; those of `rows` on the left. Rows may differ in length.
    """
    height, width = next(image.shape[:2] for row in cells for image in row if image is not None)
    top = LINE * max((len(title.split()) for title in columns), default=0)
    font = ImageFont.load_default(FONT_SIZE)
    left = int(max((font.getlength(title) for title in rows), default=-2 * _GAP)) + 2 * _GAP
    count = max(len(row) for row in cells)
    picture = np.full((top + len(cells) * (height + _GAP), left + count * (width + _GAP), 3), 255, np.uint8)
    for i, row in enumerate(cells):
        y = top + i * (height + _GAP)
        for j, image in enumerate(row):
            if image is not None:
                x = left + j * (width + _GAP)
                picture[y : y + height, x : x + width] = as_rgb(image)
        if i < len(rows):
            _write(picture[y : y + height, :left], rows[i])
    for j, title in enumerate(columns):
        x = left + j * (width + _GAP)
        _write(picture[:top, x : x + width], "\n".join(title.split()), centre=True)
    return picture[:-_GAP, :-_GAP]


def signed(amount: float) -> str:
    """A title such as +1.5, -2 or 0."""
    return f"{amount:+.3g}" if amount else "0"


def _write(area: Pixels, text: str, centre: bool = False) -> None:
    """Write black text into the middle of the white `area`, H x W x 3, at its left or its centre; too long is cut."""
    image = Image.fromarray(np.ascontiguousarray(area))
    height, width = area.shape[:2]
    place, anchor = ((width / 2, height / 2), "mm") if centre else ((0, height / 2), "lm")
    ImageDraw.Draw(image).text(
        place, text, "black", ImageFont.load_default(FONT_SIZE), anchor, spacing=LINE - FONT_SIZE, align="center"
    )
    area[...] = np.asarray(image)
