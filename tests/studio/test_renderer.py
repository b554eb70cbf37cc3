"""Many visitors, one generator: each gets the bytes that it would get alone, several in one pass."""

from __future__ import annotations

import asyncio
import threading

import numpy as np
import pytest
import torch

from dcgan.images import Pixels
from dcgan.studio.model import StudioModel
from dcgan.studio.renderer import BusyError, Renderer


class Held(Renderer):
    """A renderer whose passes wait until `gate` is opened."""

    gate: threading.Event

    def _render(self, latents: torch.Tensor, quick: bool) -> Pixels:
        assert self.gate.wait(10)
        return super()._render(latents, quick)


@pytest.fixture
def renderer(model: StudioModel) -> Held:
    Held.gate = threading.Event()
    return Held(model.generator, threads=1, most_waiting=100)


def test_requests_are_batched_and_each_is_as_if_alone(renderer: Held, model: StudioModel) -> None:
    async def visit() -> list[Pixels]:
        first = asyncio.create_task(renderer.render(model.generator.latents([99])))
        await asyncio.sleep(0.05)  # it is under way; what comes now waits together
        others = [asyncio.create_task(renderer.render(model.generator.latents(range(n, n + 5)))) for n in range(12)]
        await asyncio.sleep(0.05)
        renderer.gate.set()
        return await asyncio.gather(first, *others)

    _, *others = asyncio.run(visit())
    for n, pixels in enumerate(others):
        assert np.array_equal(pixels, model.generator.sample(range(n, n + 5)))
    assert renderer.passes == 3  # 1, then 6 requests of 5 faces in each pass of 32
    assert renderer.faces == 61
    renderer.close()


def test_more_than_a_pass_comes_whole(renderer: Held, model: StudioModel) -> None:
    renderer.gate.set()
    pixels = asyncio.run(renderer.render(model.generator.latents(range(70))))
    assert np.array_equal(pixels, model.generator.sample(range(70)))
    renderer.close()


def test_frames_in_motion_pass_stills_but_do_not_starve_them(renderer: Held, model: StudioModel) -> None:
    order: list[str] = []

    async def ask(name: str, quick: bool) -> None:
        await renderer.render(model.generator.latents(range(20)), quick)
        order.append(name)

    async def visit() -> None:
        jobs = [asyncio.create_task(ask("under way", False))]
        await asyncio.sleep(0.05)
        for name, quick in (("still", False), ("frame", True), ("frame", True)):
            jobs.append(asyncio.create_task(ask(name, quick)))
            await asyncio.sleep(0.01)
        renderer.gate.set()
        await asyncio.gather(*jobs)

    asyncio.run(visit())
    assert order == ["under way", "frame", "still", "frame"]
    renderer.close()


def test_too_much_is_refused_and_the_rest_is_done(renderer: Held, model: StudioModel) -> None:
    async def visit() -> None:
        waiting = [asyncio.create_task(renderer.render(model.generator.latents(range(32)))) for _ in range(4)]
        await asyncio.sleep(0.1)  # one under way, three of 32 waiting
        with pytest.raises(BusyError):
            await renderer.render(model.generator.latents(range(5)))
        renderer.gate.set()
        await asyncio.gather(*waiting)
        await renderer.render(model.generator.latents(range(5)))

    asyncio.run(visit())
    renderer.close()


def test_who_has_left_is_not_drawn_for(renderer: Held, model: StudioModel) -> None:
    async def visit() -> None:
        first = asyncio.create_task(renderer.render(model.generator.latents([1])))
        await asyncio.sleep(0.05)
        left = asyncio.create_task(renderer.render(model.generator.latents(range(32))))
        await asyncio.sleep(0.05)
        left.cancel()
        await asyncio.sleep(0.05)
        renderer.gate.set()
        await first
        await renderer.render(model.generator.latents([2]))

    asyncio.run(visit())
    assert renderer.faces == 2
    renderer.close()


def test_a_failed_pass_is_told_and_the_next_one_works(renderer: Held, model: StudioModel) -> None:
    renderer.gate.set()
    with pytest.raises(RuntimeError):
        asyncio.run(renderer.render(torch.zeros(1, 3)))  # latents of another size
    asyncio.run(renderer.render(model.generator.latents([2])))
    renderer.close()
