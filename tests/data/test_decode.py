from __future__ import annotations

import contextlib
import io
import struct
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from dcgan.data.decode import decode
from dcgan.data.trees import UnusableError

MakeImage = Callable[..., bytes]


def saved(image: Image.Image, kind: str = "png", **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def pixels(data: bytes, size: int = 8, channels: int = 3, crop: str = "square") -> np.ndarray:
    return decode(data, size, channels, crop).pixels


def reason(data: bytes, crop: str = "square") -> str:
    with pytest.raises(UnusableError) as caught:
        decode(data, 8, 3, crop)
    return str(caught.value)


@pytest.mark.parametrize(("channels", "mode"), [(3, "RGB"), (1, "L")])
@pytest.mark.parametrize("kind", ["png", "jpeg", "bmp", "webp", "tiff", "ppm"])
def test_pixels_are_those_of_the_plain_way(make_image: MakeImage, kind: str, channels: int, mode: str) -> None:
    data = make_image(1, 40, 40, kind)
    plain = Image.open(io.BytesIO(data)).convert(mode).resize((16, 16), Image.Resampling.BICUBIC)
    np.testing.assert_array_equal(pixels(data, 16, channels), np.asarray(plain).reshape(16, 16, channels))


def test_an_image_of_the_wanted_size_is_left_as_it_is(make_image: MakeImage) -> None:
    data = make_image(2, 16, 16)
    np.testing.assert_array_equal(pixels(data, 16), np.asarray(Image.open(io.BytesIO(data))))


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["png", "tiff", "webp"])
def test_exif_rotation_is_undone(kind: str, orientation: int) -> None:
    random = np.random.default_rng(0)
    upright = Image.fromarray(random.integers(0, 256, (12, 20, 3), dtype=np.uint8))
    transpose = Image.Transpose
    undone_by = [None, None, transpose.FLIP_LEFT_RIGHT, transpose.ROTATE_180, transpose.FLIP_TOP_BOTTOM]
    undone_by += [transpose.TRANSPOSE, transpose.ROTATE_90, transpose.TRANSVERSE, transpose.ROTATE_270]
    how = undone_by[orientation]
    stored = upright if how is None else upright.transpose(how)
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = saved(stored, kind, exif=exif, **({"lossless": True} if kind == "webp" else {}))
    for crop in ("square", "none", "16x10"):
        np.testing.assert_array_equal(pixels(data, 8, 3, crop), pixels(saved(upright), 8, 3, crop))


def test_broken_exif_does_not_cost_the_image(make_image: MakeImage) -> None:
    data = make_image(3, kind="jpeg", exif=b"Exif\0\0II*\0\xff\xff\xff\x7f")
    np.testing.assert_array_equal(pixels(data), pixels(make_image(3, kind="jpeg")))


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_transparency_shows_white(mode: str) -> None:
    image = Image.new("RGBA", (8, 8), (0, 0, 0, 255))
    image.paste((255, 0, 0, 0), (0, 0, 4, 8))  # red, but not to be seen
    data = saved(image.quantize(4) if mode == "P" else image.convert(mode))
    assert (pixels(data)[:, :4] == 255).all()
    assert (pixels(data)[:, 4:] == 0).all()
    assert (pixels(data, channels=1)[:, :4] == 255).all()


def test_half_transparency_is_half_white() -> None:
    data = saved(Image.new("RGBA", (8, 8), (200, 100, 0, 128)))
    assert np.abs(pixels(data).astype(int) - [227, 177, 127]).max() <= 1


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        ("png", np.linspace(0, 65535, 64).astype(np.uint16)),
        ("tiff", np.linspace(0, 65535, 64).astype(np.uint16)),
        ("tiff", np.linspace(0, 1, 64).astype(np.float32)),
        ("tiff", np.linspace(0, 255, 64).astype(np.float32)),
        ("tiff", np.linspace(-3, 1e6, 64).astype(np.float32)),
        ("tiff", np.linspace(-70_000, 70_000, 64).astype(np.int32)),
    ],
)
def test_deep_grey_keeps_its_gradient(kind: str, values: np.ndarray) -> None:
    data = saved(Image.fromarray(np.tile(values, (64, 1))), kind)
    row = pixels(data, 64, 1)[0, :, 0].astype(int)
    assert np.abs(row - np.linspace(0, 255, 64)).max() <= 1


def test_dark_16_bit_grey_stays_dark() -> None:
    data = saved(Image.fromarray(np.full((8, 8), 2570, np.uint16)))
    assert (pixels(data) == 10).all()


def test_grey_cmyk_bilevel_and_animation_become_rgb(make_image: MakeImage) -> None:
    grey = pixels(make_image(4, mode="L"))
    assert (grey == grey[..., :1]).all()
    red = saved(Image.new("CMYK", (8, 8), (0, 255, 255, 0)), "tiff")
    assert pixels(red)[0, 0].tolist() == [255, 0, 0]
    assert (pixels(saved(Image.new("1", (8, 8), 1))) == 255).all()
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("blue", "red")]
    animation = saved(frames[0], "gif", save_all=True, append_images=frames[1:])
    assert pixels(animation)[0, 0].tolist() == [0, 0, 255]


def test_crops_keep_the_middle() -> None:
    image = Image.new("RGB", (30, 20), "black")
    image.paste("red", (5, 0, 25, 20))
    image.paste("lime", (11, 6, 19, 14))
    data = saved(image)
    assert (pixels(data, 8, 3, "8x8") == [0, 255, 0]).all()
    square = pixels(data, 20, 3, "square")
    assert (square[0] == [255, 0, 0]).all(), "the black sides are cut off"
    assert square[10, 10].tolist() == [0, 255, 0]
    squeezed = pixels(data, 20, 3, "none")
    assert (squeezed[10, [0, 19]] == 0).all(), "the black sides are kept"
    assert reason(data, "31x5") == reason(data, "5x21") == "smaller than the crop"


@pytest.mark.parametrize("orientation", [1, 3, 6])
@pytest.mark.parametrize("shape", [(331, 205), (320, 208)])
@pytest.mark.parametrize("crop", ["square", "none", "160x150"])
def test_early_shrinking_of_jpegs_shows_the_same_picture(
    make_image: MakeImage, crop: str, shape: tuple[int, int], orientation: int
) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = make_image(5, *shape, "jpeg", quality=95, exif=exif)
    full = Image.open(io.BytesIO(data))
    full.load()  # whole, so that no decoder can shrink it
    shrunk = decode(data, 16, 3, crop)
    whole = decode(saved(full, exif=exif), 16, 3, crop)
    assert np.abs(shrunk.pixels.astype(int) - whole.pixels).mean() < 1
    assert shrunk[1:] == whole[1:], "landmarks are placed by these"


def bomb(width: int, height: int) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    data = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(999))) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + data


@pytest.mark.parametrize("side", [9_500, 20_000, 2_000_000])
def test_bombs_are_refused_by_their_header(side: int) -> None:
    assert reason(bomb(side, side)) == "too large"


def test_a_caller_may_allow_fewer_pixels() -> None:
    decode(bomb(3, 3), 8, 3, "square", 9)
    with pytest.raises(UnusableError, match="too large"):
        decode(bomb(3, 3), 8, 3, "square", 8)


def test_what_is_no_image_says_so() -> None:
    assert reason(b"") == "empty file"
    assert reason(b"Dear diary") == "not an image"
    assert reason(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\nshowpage\n") == "not an image"


@pytest.mark.parametrize("kind", ["jpeg", "png", "webp", "gif", "bmp", "tiff"])
def test_a_truncated_image_is_never_taken(make_image: MakeImage, kind: str) -> None:
    whole = make_image(6, 64, 64, kind)
    for share in (0.01, 0.3, 0.6, 0.9):
        assert reason(whole[: int(len(whole) * share)]) in ("not an image", "truncated", "damaged")


@given(
    st.binary(max_size=200), st.sampled_from([b"", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF89a", b"II*\0", b"BM"])
)
def test_random_bytes_raise_nothing_else(data: bytes, start: bytes) -> None:
    with contextlib.suppress(UnusableError):
        decode(start + data, 8, 3, "square")


@pytest.mark.parametrize("crop", ["square", "none", "70x90"])
@pytest.mark.parametrize("scale", [1.0, 0.5])
def test_landmarks_move_with_the_pixels(crop: str, scale: float) -> None:
    frame = (178, 218)
    points = np.array([[69, 109], [106, 113], [77, 142]], np.float32)
    width, height = round(frame[0] * scale), round(frame[1] * scale)
    for point in points:
        y, x = np.mgrid[: frame[1], : frame[0]]
        blob = 255 * np.exp(-((x - point[0]) ** 2 + (y - point[1]) ** 2) / 20)
        image = Image.fromarray(blob.round().astype(np.uint8)).resize((width, height), Image.Resampling.BICUBIC)
        decoded = decode(saved(image), 64, 1, crop)
        weights = decoded.pixels[..., 0].astype(float)
        rows, columns = np.mgrid[:64, :64]
        found = [(columns * weights).sum() / weights.sum(), (rows * weights).sum() / weights.sum()]
        np.testing.assert_allclose(decoded.transform(point[None], frame)[0], found, atol=0.05)
