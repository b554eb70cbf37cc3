"""What several endpoints share: reading requests within bounds, and answers as browsers take and keep them."""

from __future__ import annotations

import hashlib
from typing import Any

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.staticfiles import StaticFiles

from dcgan.errors import DcganError
from dcgan.images import Pixels, encode_image, make_grid

COLUMNS = 8
"""Faces in a row of a picture."""


class PageFiles(StaticFiles):
    """The page's files, sent anew each time: installers give those of every version one time of change."""

    def file_response(self, *arguments: Any, **options: Any) -> Response:
        response = super().file_response(*arguments, **options)
        response.headers["Cache-Control"] = "no-cache"
        return response

    def is_not_modified(self, response_headers: Headers, request_headers: Headers) -> bool:
        return False


def encode_faces(pixels: Pixels) -> bytes:
    """Images N x H x W x C as one PNG, without gaps."""
    return encode_image(make_grid(pixels, min(COLUMNS, len(pixels)), gap=0), "PNG", compress_level=1)


def encode_frames(pixels: Pixels) -> bytes:
    """Images N x H x W x C as one WebP, without gaps: lossy, as frames in motion may be."""
    picture = make_grid(pixels, min(COLUMNS, len(pixels)), gap=0)
    return encode_image(picture, "WEBP", lossless=False, quality=92, method=1)


async def read_body(request: Request, most: int) -> bytes:
    """The request's body, of `most` bytes at most."""
    told = request.headers.get("content-length", "0")
    if told.isdecimal() and int(told) > most:
        raise HTTPException(413, f"the photo is larger than {most >> 20} MB")
    data = bytearray()
    async for chunk in request.stream():
        data += chunk
        if len(data) > most:
            raise HTTPException(413, f"the photo is larger than {most >> 20} MB")
    if not data:
        raise DcganError("there is no photo in the request: send its bytes as the body")
    return bytes(data)


def whole_number(request: Request, name: str, default: int, most: int) -> int:
    """A number from the address; raises `DcganError` for any other text, and beyond `most`."""
    text = request.query_params.get(name, str(default))
    if not (text.isascii() and text.isdecimal() and len(text) < 10 and int(text) <= most):
        raise DcganError(f"{name} must be a whole number from 0 to {most}, not {text[:20]!r}")
    return int(text)


def unless_known(request: Request, data: bytes, media_type: str, headers: dict[str, str]) -> Response:
    """`data`, or 304 if the browser has it already."""
    headers = {**headers, "ETag": f'"{hashlib.sha256(data).hexdigest()[:32]}"'}
    if request.headers.get("if-none-match") == headers["ETag"]:
        return Response(status_code=304, headers=headers)
    return Response(data, media_type=media_type, headers=headers)
