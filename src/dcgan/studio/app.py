"""The studio as an ASGI application: what can be asked, and within which bounds."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import json
import mimetypes
import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import torch
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response, StreamingResponse
from starlette.routing import Mount, Route
from starlette.types import ASGIApp
from torch import Tensor

from dcgan import __version__
from dcgan.errors import DcganError
from dcgan.images import Pixels, encode_image
from dcgan.studio.answers import PageFiles, encode_faces, encode_frames, read_body, unless_known, whole_number
from dcgan.studio.downloads import KINDS, download
from dcgan.studio.guard import Guard, refusal
from dcgan.studio.model import StudioModel
from dcgan.studio.projector import MOST_BYTES, Found, Projector, Step, distance_between_faces, read_photo
from dcgan.studio.recipes import FRAMES_A_STEP, MOST_KEYS, path_between, read_latent, write_latent
from dcgan.studio.renderer import MOST_WAITING, BusyError, Renderer
from dcgan.studio.runs import Run

STATIC = Path(__file__).parent / "static"
mimetypes.add_type("text/javascript", ".js")  # some systems say otherwise, and browsers then refuse it
MOST_FACES = 64
"""In one answer."""
FRAMES_A_PART = 32
"""Of a walk, in one picture: one full pass of the generator."""
PROJECTION_STEPS = 300
MOST_UPLOADS, UPLOAD_SECONDS = 4, 60
MOST_DOWNLOADS = 8
"""Waiting for the one that is being made."""
_SECONDS_BETWEEN_STEPS = 0.2  # that a visitor is told of
_FRESH = {"Cache-Control": "no-cache"}


def create_app(
    model: StudioModel,
    run: Run | None = None,
    *,
    token: str | None = None,
    most_waiting: int = MOST_WAITING,
    projection_steps: int = PROJECTION_STEPS,
) -> ASGIApp:
    """The application that serves one model, and the run it belongs to; with a `token`, to whoever knows it."""
    studio = Studio(model, run, most_waiting, projection_steps)
    routes = [
        Route("/", studio.page),
        Route("/api/model", studio.about),
        Route("/api/faces", studio.faces),
        Route("/api/walk", studio.walk),
        Route("/api/latents", studio.latents),
        Route("/api/download/{kind}", studio.download),
        Route("/api/project", studio.project, methods=["POST"]),
        Route("/api/run", studio.run_state),
        Route("/api/run/samples/{label}", studio.run_sample),
        Mount("/static", PageFiles(directory=STATIC)),
    ]
    app = Starlette(
        routes=routes,
        lifespan=studio.lifespan,
        exception_handlers={
            DcganError: lambda _, error: refusal(400, str(error)),
            BusyError: lambda _, error: refusal(503, str(error), {"Retry-After": str(error.seconds)}),
            HTTPException: lambda _, error: refusal(error.status_code, error.detail, dict(error.headers or {})),
            Exception: lambda _, error: refusal(500, "something went wrong in the studio; its terminal says what"),
        },
    )
    return Guard(app, token)


class Studio:
    """The endpoints, and what they share."""

    def __init__(self, model: StudioModel, run: Run | None, most_waiting: int, projection_steps: int) -> None:
        self.model, self.run, self.projection_steps = model, run, projection_steps
        self.most_waiting = most_waiting
        # One part of the cores for pictures, one for projection: two teams of threads that spin on the same cores
        # slow each other down a hundredfold.
        self.threads = max(1, torch.get_num_threads() // 2)
        self.distance: float | None = None
        self.uploads = self.downloads = 0
        """Under way."""
        self.reloading = asyncio.Lock()

    @contextlib.asynccontextmanager
    async def lifespan(self, app: Starlette) -> AsyncIterator[None]:
        """Keep the renderer's thread while the application lives."""
        self.renderer = Renderer(self.model.generator, self.threads, self.most_waiting)
        self.exports = asyncio.Semaphore(1)
        self.projector = None
        if self.model.discriminator is not None:
            self.projector = Projector(self.model.generator, self.model.discriminator, self.threads)
        try:
            yield
        finally:
            await asyncio.to_thread(self.renderer.close)

    async def page(self, request: Request) -> Response:
        return FileResponse(STATIC / "index.html", headers=_FRESH)

    async def about(self, request: Request) -> Response:
        """What the page needs to know of the model; of a run that trains, the newest one is taken up here."""
        async with self.reloading:
            if newer := await run_in_threadpool(self.model.newer):
                self._adopt(newer)
        return JSONResponse(
            {
                **self.model.describe(),
                "version": __version__,
                "projects": self.projector is not None,
                "run": self.run is not None,
                "frames_a_step": FRAMES_A_STEP,
                "frames_a_part": FRAMES_A_PART,
                "most_faces": MOST_FACES,
                "most_keys": MOST_KEYS,
            },
            headers=_FRESH,
        )

    def _adopt(self, model: StudioModel) -> None:
        """Go on with another model; pages of the one before are told to reload (409)."""
        self.model, self.distance = model, None
        self.renderer.generator = model.generator
        if self.projector is not None and model.discriminator is not None:
            self.projector.generator, self.projector.discriminator = model.generator, model.discriminator

    async def faces(self, request: Request) -> Response:
        """The faces of all `f`, left to right and top to bottom, 8 a row, without gaps.

        PNG, to the byte what `Generator.render` gives; with `quick=1` a WebP of frames in motion.
        """
        texts = self._texts(request, MOST_FACES)
        if request.query_params.get("quick") == "1":
            started = time.perf_counter()
            latents = await self._latents(texts)
            pixels = await self.renderer.render(latents, quick=True)
            data = await run_in_threadpool(encode_frames, pixels)
            spent = (time.perf_counter() - started) * 1000
            headers = {"Cache-Control": "no-store", "Server-Timing": f"frame;dur={spent:.1f}"}
            return Response(data, media_type="image/webp", headers=headers)

        async def draw() -> bytes:
            pixels = await self.renderer.render(await self._latents(texts))
            return await run_in_threadpool(encode_faces, pixels)

        return await self._kept(request, draw, "image/png", texts)

    async def walk(self, request: Request) -> Response:
        """The frames of part number `part` of a loop through all `f`, as one picture like that of `faces`.

        With `loop=0`, of the path from the first to the last. Lossy, as frames in motion may be.
        """
        texts = self._texts(request, MOST_KEYS)
        loop = request.query_params.get("loop", "1") != "0"
        part = whole_number(request, "part", 0, 10_000)

        async def draw() -> bytes:
            keys = await self._latents(texts)
            path = await run_in_threadpool(path_between, keys, self.model.generator.config, loop)
            frames = path[part * FRAMES_A_PART : (part + 1) * FRAMES_A_PART]
            if not len(frames):
                raise DcganError(f"the walk has no part {part}: its {len(path)} frames end before")
            return await run_in_threadpool(encode_frames, await self.renderer.render(frames))

        return await self._kept(request, draw, "image/webp", [*texts, f"walk {loop} {part}"])

    async def latents(self, request: Request) -> Response:
        """Each `f` as the text of its latent."""
        latents = await self._latents(self._texts(request, MOST_FACES))
        return JSONResponse({"latents": [write_latent(latent) for latent in latents]}, headers=_FRESH)

    async def download(self, request: Request) -> Response:
        """All `f` as a file to keep: png, large (a PNG of 512 pixels), strip, gif, webp or latent."""
        kind = request.path_params["kind"]
        if kind not in KINDS:
            raise HTTPException(404, f"there is no download {kind[:20]!r}: there are {', '.join(KINDS)}")
        texts = self._texts(request, MOST_KEYS)
        self._same_model(request)
        latents = await self._latents(texts)
        if self.downloads > MOST_DOWNLOADS:
            raise BusyError("the studio is busy: too many downloads are being made", seconds=5)
        self.downloads += 1
        try:
            async with self.exports:
                file = await download(kind, texts, latents, self.model, self.renderer)
        finally:
            self.downloads -= 1
        headers = {"Content-Disposition": f'attachment; filename="{file.name}"', "Cache-Control": "no-store"}
        return Response(file.data, media_type=file.media_type, headers=headers)

    async def project(self, request: Request) -> Response:
        """Look for the photo that is the request's body; a stream of JSON lines, of which the last says what was found.

        Nothing of the photo is kept. Closing the connection ends the search.
        """
        if self.projector is None:
            raise HTTPException(404, "this model has no discriminator, which finding a photo needs")
        if self.projector.busy:  # before the upload is read
            raise BusyError("another photo is being looked for: try again in a moment", seconds=3)
        if self.uploads >= MOST_UPLOADS:
            raise BusyError("too many photos are being sent: try again in a moment", seconds=3)
        self.uploads += 1
        try:
            async with asyncio.timeout(UPLOAD_SECONDS):
                data = await read_body(request, MOST_BYTES)
            photo = await run_in_threadpool(read_photo, data, self.model.generator)
        except TimeoutError as error:
            raise HTTPException(408, f"the photo did not arrive within {UPLOAD_SECONDS} seconds") from error
        finally:
            self.uploads -= 1
        fresh = {"Cache-Control": "no-store"}
        return StreamingResponse(self._search(photo), media_type="application/x-ndjson", headers=fresh)

    async def _search(self, photo: Pixels) -> AsyncIterator[bytes]:
        assert self.projector is not None
        yield _line(photo="data:image/png;base64," + base64.b64encode(encode_image(photo, "PNG")).decode())
        told = 0.0
        try:
            async with self.projector.search(photo, self.projection_steps) as news:
                async for item in news:
                    if isinstance(item, Step) and time.monotonic() - told > _SECONDS_BETWEEN_STEPS:
                        told = time.monotonic()
                        yield _line(done=item.done, total=item.total, face=write_latent(item.latent))
                    if isinstance(item, Found):
                        if self.distance is None:
                            self.distance = await run_in_threadpool(distance_between_faces, self.model.generator)
                        yield _line(found=write_latent(item.latent), error=item.error, others=self.distance)
        except (BusyError, DcganError) as error:  # the answer has begun: it can only be told in it
            yield _line(problem=str(error))

    async def run_state(self, request: Request) -> Response:
        """The run's settings, curves and list of samples."""
        state = await run_in_threadpool(self._run().state)
        data = json.dumps(state).encode()
        return unless_known(request, data, "application/json", _FRESH)

    async def run_sample(self, request: Request) -> Response:
        """One sample grid, as the run wrote it."""
        try:
            path = await run_in_threadpool(self._run().sample, request.path_params["label"])
            data = await run_in_threadpool(path.read_bytes)
        except (DcganError, OSError) as error:
            raise HTTPException(404, str(error) if isinstance(error, DcganError) else "the sample is gone") from error
        return unless_known(request, data, "image/png", _FRESH)

    def _run(self) -> Run:
        if self.run is None:
            raise HTTPException(404, "this model does not lie in the folder of a run")
        return self.run

    def _texts(self, request: Request, most: int) -> list[str]:
        texts = request.query_params.getlist("f")
        if not 1 <= len(texts) <= most:
            raise DcganError(f"ask for 1 to {most} faces, not {len(texts)}: f=42&f=(1~2@0.5)")
        return texts

    async def _latents(self, texts: Sequence[str]) -> Tensor:
        """The latents of `texts`, N x Z."""

        def read() -> Tensor:
            return torch.stack([read_latent(text, self.model.generator, self.model.vectors) for text in texts])

        return await run_in_threadpool(read)

    def _same_model(self, request: Request) -> bool:
        """Whether the request names the model; raises if it names another."""
        named = request.query_params.get("m")
        if named is not None and (len(named) < 8 or not self.model.digest.startswith(named)):
            raise HTTPException(409, "the page is of another model than the studio now serves: reload it")
        return named is not None

    async def _kept(self, request: Request, draw: Any, media_type: str, texts: Sequence[str]) -> Response:
        """What `draw` gives, which is a function of the model and `texts`: browsers may keep it."""
        named = self._same_model(request)
        about = json.dumps([self.model.digest, __version__, sorted(self.model.directions), *texts])
        tag = f'"{hashlib.sha256(about.encode()).hexdigest()[:32]}"'
        lasting = "private, max-age=86400, immutable" if named else "private, no-cache"
        headers = {"ETag": tag, "Cache-Control": lasting}
        if request.headers.get("if-none-match") == tag:
            return Response(status_code=304, headers=headers)
        return Response(await draw(), media_type=media_type, headers=headers)


def _line(**values: Any) -> bytes:
    return json.dumps(values).encode() + b"\n"
