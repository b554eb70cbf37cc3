"""Finding an uploaded photo in the latent space: one at a time, watched while it happens, ended when nobody waits."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import NamedTuple

import anyio
import numpy as np
import torch
from torch import Tensor

from dcgan.data.decode import decode
from dcgan.data.trees import UnusableError
from dcgan.errors import DcganError
from dcgan.explore import find_latents
from dcgan.images import Pixels
from dcgan.models import Discriminator, Generator
from dcgan.studio.renderer import BusyError

MOST_BYTES = 10 << 20
MOST_PIXELS = 24_000_000
_OTHERS = 64  # random faces that the distance between two is taken over


class Step(NamedTuple):
    """Where the search is."""

    done: int
    total: int
    latent: Tensor
    """Z: the first start's until the best is chosen, then the best's."""


class Found(NamedTuple):
    """Where it ended."""

    latent: Tensor
    error: float
    """Root mean squared difference of photo and face, in levels of 0 to 255."""


def read_photo(data: bytes, generator: Generator) -> Pixels:
    """The photo as the model's images are, uint8 H x W x C: upright, its centre square, resized.

    Raises `DcganError` for what is no image, or has too many pixels (which is found before they are decoded).
    """
    size, channels = generator.config.size, generator.config.channels
    if channels not in (1, 3):
        raise DcganError(f"photos are grey or RGB, but this model's images have {channels} channels")
    try:
        return decode(data, size, channels, "square", MOST_PIXELS).pixels.copy()  # torch wants it writable
    except UnusableError as error:
        told = f"too large, {MOST_PIXELS // 10**6} million pixels are the most" if str(error) == "too large" else error
        raise DcganError(f"the photo cannot be used: {told}") from error


class _Abandoned(Exception):  # noqa: N818 - nothing went wrong
    """Nobody waits for the search any more."""


class Projector:
    """One search at a time, in a thread of its own."""

    def __init__(self, generator: Generator, discriminator: Discriminator, threads: int) -> None:
        self.generator, self.discriminator, self.threads = generator, discriminator, threads
        self._free = asyncio.Semaphore(1)

    @property
    def busy(self) -> bool:
        """Whether a photo is being projected."""
        return self._free.locked()

    @asynccontextmanager
    async def search(self, photo: Pixels, steps: int) -> AsyncIterator[AsyncIterator[Step | Found]]:
        """Yield the search's progress, which ends in `Found`; leaving the block ends the search.

        `photo` is uint8 H x W x C of the model's own size. Raises `BusyError` while another is under way.
        """
        if self.busy:
            raise BusyError("another photo is being looked for: try again in a moment", seconds=10)
        async with self._free:
            loop = asyncio.get_running_loop()
            news: asyncio.Queue[Step | Found | BaseException] = asyncio.Queue()
            left = threading.Event()

            def tell(item: Step | Found | BaseException) -> None:
                loop.call_soon_threadsafe(news.put_nowait, item)

            def watch(done: int, total: int, latents: Tensor) -> None:
                if left.is_set():
                    raise _Abandoned
                tell(Step(done, total, latents[0].cpu()))

            def work() -> None:
                torch.set_num_threads(self.threads)
                try:
                    found = find_latents(self.generator, self.discriminator, photo[None], steps=steps, watch=watch)
                    tell(Found(found.latents[0], float(found.errors[0])))
                except BaseException as error:
                    tell(error)

            thread = threading.Thread(target=work, name="studio projector", daemon=True)
            thread.start()
            try:
                yield _until_found(news)
            finally:
                left.set()
                with anyio.CancelScope(shield=True):  # it ends within a step; the next search may not start before
                    await asyncio.to_thread(thread.join)


async def _until_found(news: asyncio.Queue[Step | Found | BaseException]) -> AsyncIterator[Step | Found]:
    """What arrives, the newest step only where several wait, until the search has ended."""
    while True:
        item = await news.get()
        while isinstance(item, Step) and not news.empty():
            item = news.get_nowait()
        if isinstance(item, BaseException):
            raise item
        yield item
        if isinstance(item, Found):
            return


def distance_between_faces(generator: Generator) -> float:
    """Root mean squared difference of two random faces of the model, in levels of 0 to 255: what an error is out of."""
    faces = generator.sample(range(_OTHERS)).astype(np.float64)
    return float(np.sqrt((np.diff(faces, axis=0) ** 2).mean((1, 2, 3))).mean())
