"""The generator at work for many visitors: one thread, a bounded queue, several requests' latents in one pass."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from dataclasses import dataclass, field

import torch
from torch import Tensor

from dcgan.images import Pixels, to_pixels
from dcgan.models import SAMPLE_BATCH, Generator

MOST_WAITING = 2048
"""Faces: a few seconds of work on two cores. Whoever comes later is asked to come again."""


class BusyError(Exception):
    """Too much is waiting already; `seconds` is when to ask again."""

    def __init__(self, message: str, seconds: int) -> None:
        super().__init__(message)
        self.seconds = seconds


@dataclass
class _Job:
    latents: Tensor
    loop: asyncio.AbstractEventLoop
    done: asyncio.Future[Pixels] = field(init=False)

    def __post_init__(self) -> None:
        self.done = self.loop.create_future()

    def finish(self, result: Pixels | BaseException) -> None:
        """Hand over the result from the renderer's thread."""

        def hand_over() -> None:
            if self.done.done():  # the visitor has left
                return
            if isinstance(result, BaseException):
                self.done.set_exception(result)
            else:
                self.done.set_result(result)

        self.loop.call_soon_threadsafe(hand_over)


class Renderer:
    """Renders in a thread of its own; `render` may be awaited by any number of requests at once."""

    def __init__(self, generator: Generator, threads: int, most_waiting: int = MOST_WAITING) -> None:
        """`threads` are torch's, for one pass."""
        self.generator = generator.eval()
        self.most_waiting = most_waiting
        self.passes = self.faces = 0
        """What was done so far."""
        self._threads = threads
        self._exact: deque[_Job] = deque()
        self._quick: deque[_Job] = deque()
        self._waiting = 0
        self._closed = False
        self._wake = threading.Condition()
        self._thread = threading.Thread(target=self._work, name="studio renderer", daemon=True)
        self._thread.start()

    async def render(self, latents: Tensor, quick: bool = False) -> Pixels:
        """Images of latents N x Z, uint8 N x H x W x C: those of `Generator.render`, to the byte.

        `quick` ones skip its padding to a fixed batch, and so come many times sooner; a few pixel values in a
        million may be one level off. Raises `BusyError` if too much is waiting.
        """
        with self._wake:
            if self._closed or self._waiting + len(latents) > self.most_waiting:
                raise BusyError("the studio is busy: too many faces are waiting", seconds=1)
            self._waiting += len(latents)
            queue = self._quick if quick else self._exact
            # An answer comes when its last part is done: parts of one pass each keep long requests from blocking.
            jobs = [_Job(part, asyncio.get_running_loop()) for part in latents.split(SAMPLE_BATCH)]
            queue.extend(jobs)
            self._wake.notify()
        parts = await asyncio.gather(*(job.done for job in jobs))
        return torch.cat([torch.from_numpy(part) for part in parts]).numpy()

    def close(self) -> None:
        """End the thread; what still waits gets `BusyError`."""
        with self._wake:
            self._closed = True
            self._wake.notify()
        self._thread.join()

    def _work(self) -> None:
        torch.set_num_threads(self._threads)  # of this thread, and of those that start later
        quick_last = False
        while True:
            with self._wake:
                self._wake.wait_for(lambda: self._exact or self._quick or self._closed)
                if self._closed:
                    break
                # Frames in motion come first, but never twice while stills are waiting.
                quick_last = bool(self._quick) and not (self._exact and quick_last)
                jobs = self._take(self._quick if quick_last else self._exact)
            self._run(jobs, quick_last)
        for job in [*self._exact, *self._quick]:
            job.finish(BusyError("the studio is closing", seconds=5))

    def _take(self, queue: deque[_Job]) -> list[_Job]:
        """The jobs of one pass; those whose visitors have left are dropped."""
        jobs: list[_Job] = []
        room = SAMPLE_BATCH
        while queue and len(queue[0].latents) <= room:
            job = queue.popleft()
            self._waiting -= len(job.latents)
            if not job.done.cancelled():
                jobs.append(job)
                room -= len(job.latents)
        return jobs

    def _run(self, jobs: list[_Job], quick: bool) -> None:
        if not jobs:
            return
        try:
            pixels = self._render(torch.cat([job.latents for job in jobs]), quick)
        except Exception as error:
            for job in jobs:
                job.finish(error)
            return
        self.passes += 1
        self.faces += len(pixels)
        at = 0
        for job in jobs:
            job.finish(pixels[at : at + len(job.latents)])
            at += len(job.latents)

    @torch.inference_mode()
    def _render(self, latents: Tensor, quick: bool) -> Pixels:
        if not quick:
            return self.generator.render(latents)
        return to_pixels(self.generator(latents.to(next(self.generator.parameters()).device)))
