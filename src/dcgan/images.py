"""Images between their forms: uint8 arrays N x H x W x C, float tensors N x C x H x W in [-1, 1], grids, files."""

from __future__ import annotations

import io
import math
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from PIL import Image, PngImagePlugin

from dcgan.checkpoint import write_bytes
from dcgan.errors import DcganError

Pixels = npt.NDArray[np.uint8]
GRID_GAP = 2  # pixels between the images of a grid
_GREY = (0.299, 0.587, 0.114)  # ITU-R 601-2, as in Pillow's conversion
_FILE_TYPES = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP"}


def to_signed(pixels: torch.Tensor) -> torch.Tensor:
    """uint8 N x H x W x C to float32 N x C x H x W in [-1, 1]; the result is channels_last, without a copy."""
    return pixels.permute(0, 3, 1, 2).float().div_(127.5).sub_(1.0)


def to_levels(images: torch.Tensor) -> torch.Tensor:
    """Floats N x C x H x W in [-1, 1] to uint8 N x H x W x C, rounded to the nearest level and clipped."""
    levels = images.float().add(1.0).mul_(127.5).round_().clamp_(0, 255)
    return levels.to(torch.uint8).permute(0, 2, 3, 1)


def to_input(pixels: torch.Tensor, size: int, channels: int) -> torch.Tensor:
    """uint8 N x H x W x C, grey or RGB and of any size, as a network's input N x channels x size x size in [-1, 1].

    Colours become grey as the eye weighs them, grey becomes three equal channels; sizes change bilinearly, with
    antialiasing. Raises `DcganError` for other numbers of channels.
    """
    images, found = to_signed(pixels), pixels.shape[-1]
    if found != channels:
        if {found, channels} != {1, 3}:
            raise DcganError(f"a network for grey or RGB images reads these alone, not ones of {found} channels")
        weights = torch.tensor(_GREY, device=images.device).view(3, 1, 1)
        images = images.expand(-1, 3, -1, -1) if found == 1 else (images * weights).sum(1, keepdim=True)
    if images.shape[2:] != (size, size):
        images = F.interpolate(images, (size, size), mode="bilinear", antialias=True)
    return images


def to_pixels(images: torch.Tensor) -> Pixels:
    """`to_levels` as a contiguous array."""
    return to_levels(images.detach()).contiguous().cpu().numpy()


def grid_columns(count: int) -> int:
    """Images in a row of a grid of `count` that is as near to square as can be."""
    return math.ceil(math.sqrt(count))


def make_grid(pixels: Pixels, columns: int | None = None, gap: int = GRID_GAP) -> Pixels:
    """Tile uint8 N x H x W x C into one H' x W' x C picture, row by row, `gap` white pixels apart.

    `columns` is by default what `grid_columns` says. Raises `DcganError` for no images.
    """
    count, height, width, channels = pixels.shape
    if count == 0:
        raise DcganError("there is no image to put into a grid")
    columns = columns or grid_columns(count)
    rows = math.ceil(count / columns)
    sheet = np.full((rows, columns, height + gap, width + gap, channels), 255, np.uint8)
    sheet.reshape(rows * columns, height + gap, width + gap, channels)[:count, :height, :width] = pixels
    picture = sheet.transpose(0, 2, 1, 3, 4).reshape(rows * (height + gap), columns * (width + gap), channels)
    return picture[: -gap or None, : -gap or None]


def to_pil(pixels: Pixels) -> Image.Image:
    """A uint8 H x W x C array as a Pillow image (1 channel: grey, 2: grey and alpha, 3: RGB, 4: RGBA)."""
    return Image.fromarray(pixels.squeeze(2) if pixels.shape[2] == 1 else pixels)


def encode_image(pixels: Pixels, file_type: str, about: str | None = None, **options: Any) -> bytes:
    """One uint8 H x W x C image as the bytes of a PNG, JPEG or WEBP file, lossless where the type allows.

    `about` becomes a PNG's Description text; `options` are further ones of Pillow's for the type.
    """
    image = to_pil(pixels)
    if file_type == "PNG":
        options["pnginfo"] = info = PngImagePlugin.PngInfo()
        if about is not None:
            info.add_text("Description", about)
    elif file_type == "JPEG":
        image = image.convert("L" if pixels.shape[2] <= 2 else "RGB")
        options = {"quality": 95, "subsampling": 0, **options}
    else:
        options = {"lossless": True, **options}
    buffer = io.BytesIO()
    image.save(buffer, file_type, **options)
    return buffer.getvalue()


def save_image(path: Path, pixels: Pixels, about: str | None = None) -> None:
    """Write one uint8 H x W x C image as .png, .jpg or .webp (lossless where the type allows), atomically.

    `about` becomes the PNG's Description text. Raises `DcganError` for another ending or an unwritable place.
    """
    write_bytes(path, encode_image(pixels, image_type(path), about))


def image_type(path: Path) -> str:
    """The file type that a name's ending means, PNG, JPEG or WEBP; `DcganError` for another ending."""
    file_type = _FILE_TYPES.get(path.suffix.lower())
    if file_type is None:
        raise DcganError(f"{path}: the name of an image must end in {', '.join(_FILE_TYPES)}")
    return file_type
