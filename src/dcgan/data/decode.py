"""One image file's bytes to packed pixels: every format, mode and rotation that photographs come in."""

from __future__ import annotations

import functools
import io
import warnings
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image, UnidentifiedImageError

from dcgan.config import check_crop
from dcgan.data.trees import UnusableError

MAX_PIXELS = 89_478_485
"""Larger images are refused as decompression bombs before they are decoded: Pillow's own limit."""
_ORIENTATION = 0x0112
_UPRIGHT = {  # EXIF orientation to the transposition that undoes it
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


class Decoded(NamedTuple):
    """Pixels, and where in the upright original they come from."""

    pixels: npt.NDArray[np.uint8]
    """size x size x channels."""
    width: int
    """Width of the upright original."""
    height: int
    box: tuple[int, int, int, int]
    """Left, top, right and bottom edge of what was kept, in pixels of the upright original."""

    def transform(self, points: npt.NDArray[np.float32], frame: tuple[int, int]) -> npt.NDArray[np.float32]:
        """Points (K x 2, given for an original of width x height `frame`) in packed pixels.

        Pixel centres are at whole numbers on both sides, so scaling goes by way of edges, half a pixel off.
        """
        left, top, right, bottom = self.box
        size = self.pixels.shape[0]
        scale = np.array([self.width / frame[0], self.height / frame[1]])
        edges = (points + 0.5) * scale - (left, top)
        return np.asarray(edges * (size / (right - left), size / (bottom - top)) - 0.5, np.float32)


def decode(data: bytes, size: int, channels: int, crop: str, most_pixels: int = MAX_PIXELS) -> Decoded:
    """Decode an image to size x size pixels: upright, on white, cropped, resized with antialiasing, 8 bits.

    `crop` is square (centre), none (all of it, squeezed) or WxH (centre, in original pixels). An animation
    gives its first frame. Raises `UnusableError` with the reason, whatever is wrong with the data; `most_pixels`
    are checked before any is decoded.
    """
    if not data:
        raise UnusableError("empty file")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about metadata, mostly; what matters is raised
            with Image.open(io.BytesIO(data), formats=_formats()) as image:
                return fit(image, size, channels, crop, most_pixels)
    except UnusableError:
        raise
    except UnidentifiedImageError as error:
        raise UnusableError("not an image") from error
    except (Image.DecompressionBombError, MemoryError) as error:
        raise UnusableError("too large") from error
    except Exception as error:  # on damaged data, decoders raise whatever they like
        raise UnusableError("truncated" if "truncated" in str(error) else "damaged") from error


def fit(image: Image.Image, size: int, channels: int, crop: str, most_pixels: int = MAX_PIXELS) -> Decoded:
    """An image as `decode` makes it of a file; `UnusableError` if it is too large, or smaller than the crop."""
    width, height = image.size
    if width * height > most_pixels:
        raise UnusableError("too large")
    shrink = _shrink(image, size, crop)
    image.load()
    upright = _eight_bits(image, channels)
    orientation = _orientation(image)
    if orientation in _UPRIGHT:
        upright = upright.transpose(_UPRIGHT[orientation])
        if orientation >= 5:
            width, height = height, width
    box = _crop_box(width, height, crop)
    left, top, right, bottom = (edge / shrink for edge in box)
    resized = upright.resize((size, size), Image.Resampling.BICUBIC, box=(left, top, right, bottom))
    return Decoded(np.asarray(resized).reshape(size, size, channels), width, height, box)


def _shrink(image: Image.Image, size: int, crop: str) -> int:
    """Let the JPEG decoder shrink to no less than twice the wanted size, and return by how much it will."""
    width, height = image.size
    factor = min(check_crop(crop) or (width, height)) // (2 * size)
    # Were the image turned, a last column that is only part of a shrunk pixel would come first and shift it.
    if factor < 2 or (_orientation(image) in _UPRIGHT and (width % 8 or height % 8)):
        return 1
    drafted = image.draft(None, (-(-width // factor), -(-height // factor)))
    return 1 if drafted is None else round(width / drafted[1][2])


def _orientation(image: Image.Image) -> int:
    """The EXIF orientation, 1 (upright) where it cannot be read."""
    try:
        return int(image.getexif().get(_ORIENTATION, 1))
    except Exception:  # broken metadata is no reason to lose the image
        return 1


def _crop_box(width: int, height: int, crop: str) -> tuple[int, int, int, int]:
    side = min(width, height)
    crop_width, crop_height = check_crop(crop) or ((width, height) if crop == "none" else (side, side))
    if crop_width > width or crop_height > height:
        raise UnusableError("smaller than the crop")
    left, top = (width - crop_width) // 2, (height - crop_height) // 2
    return left, top, left + crop_width, top + crop_height


def _eight_bits(image: Image.Image, channels: int) -> Image.Image:
    """The image as 8-bit grey or RGB, whatever its mode; transparency shows white."""
    mode = "L" if channels == 1 else "RGB"
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        image = _scaled_to_bytes(image)
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        image = Image.new("RGB", image.size, "white")
        image.paste(layer, mask=layer.getchannel("A"))
    return image if image.mode == mode else image.convert(mode)


def _scaled_to_bytes(image: Image.Image) -> Image.Image:
    """Grey of 16 or 32 bits or of floats, scaled to 8 bits; Pillow's own conversion clips it to white."""
    values = np.asarray(image, np.float32)
    low, high = float(values.min()), float(values.max())
    if not np.isfinite(low + high):
        raise UnusableError("damaged")
    usual = (1.0, 255.0, 65535.0) if image.mode == "F" else (65535.0,)
    full = [top for top in usual if low >= 0 and high <= top]
    bottom, top = (0.0, full[0]) if full else (low, high)  # in no usual range: stretch what is there
    return Image.fromarray(np.round((values - bottom) * (255 / (top - bottom))).astype(np.uint8))


@functools.cache
def _formats() -> tuple[str, ...]:
    """Formats that are read: those of photographs; none that runs a program (EPS) or is easily mistaken (TGA)."""
    Image.init()
    wanted = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "JPEG2000", "AVIF")
    return tuple(name for name in wanted if name in Image.OPEN)  # Pillow may be built without some
