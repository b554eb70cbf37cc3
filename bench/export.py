"""Faces a second of one generator in torch, in onnxruntime and in a browser, side by side.

    python bench/export.py runs/00000-celeba-paper

Every way makes the same bytes from the same latents, N x Z to uint8 N x H x W x C. The ways take turns, round after
round, so that other work on the machine weighs on all alike; the table shows the median round. The browser is chromium
without a window, on WebAssembly with one thread, as static hosts serve it; it is left out where chromium, playwright
or onnxruntime-web is missing. Threads are those of OMP_NUM_THREADS. Only ratios taken in one run mean something.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import http.server
import os
import shutil
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import onnxruntime
import torch

from dcgan.config import ExportConfig
from dcgan.errors import DcganError
from dcgan.export import export, write_onnx
from dcgan.images import to_pixels
from dcgan.models import Generator

BATCHES = (1, 16, 256)
Way = Callable[[int], float]
"""Seconds that one batch of a size takes."""
SWITCHES = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]
TIMED = """async ([count, size]) => {
  const latents = Array.from({ length: count }, () => Float32Array.from({ length: size }, () => Math.random() * 2 - 1));
  const start = performance.now();
  await window.generator.images(latents);
  return (performance.now() - start) / 1000;
}"""
LOADED = """async (size) => {
  const { Generator } = await import("./generator.js");
  window.generator = new Generator("model.onnx", size);
  await window.generator.ready;
}"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="a model file, or the folder of a run")
    parser.add_argument("--rounds", type=int, default=7)
    arguments = parser.parse_args()
    generator = Generator.from_pretrained(arguments.model)
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        ways: dict[str, Way] = {
            "torch float32": torch_way(generator, torch.float32),
            "torch bf16": torch_way(generator, torch.bfloat16),
            "onnxruntime": onnx_way(generator, Path(folder, "single.onnx"), half=False),
            "onnxruntime, half": onnx_way(generator, Path(folder, "half.onnx"), half=True),
        }
        try:
            ways["browser"] = stack.enter_context(browser_way(arguments.model, Path(folder, "web")))
        except (DcganError, ImportError) as missing:
            print(f"without the browser: {missing}")
        print(f"{torch.get_num_threads()} threads, {arguments.rounds} rounds")
        report(ways, arguments.rounds)


def torch_way(generator: Generator, number: torch.dtype) -> Way:
    """The generator as `dcgan generate` runs it, but for the batch; bf16 by autocast, as in training."""

    @torch.inference_mode()
    def seconds(count: int) -> float:
        latents = torch.randn(count, generator.config.latent_size)
        start = time.perf_counter()
        with torch.autocast("cpu", torch.bfloat16, enabled=number is torch.bfloat16):
            to_pixels(generator(latents))
        return time.perf_counter() - start

    return seconds


def onnx_way(generator: Generator, path: Path, half: bool) -> Way:
    """The exported file in onnxruntime on the CPU, with torch's number of threads."""
    write_onnx(path, generator, half=half, layout="nhwc-uint8")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])

    def seconds(count: int) -> float:
        latents = torch.randn(count, generator.config.latent_size).numpy()
        start = time.perf_counter()
        session.run(None, {"latents": latents})
        return time.perf_counter() - start

    return seconds


@contextlib.contextmanager
def browser_way(model: str, folder: Path) -> Iterator[Way]:
    """The web folder's own generator, in chromium."""
    from playwright.sync_api import sync_playwright

    chromium = shutil.which("chromium")
    if chromium is None:
        raise DcganError("chromium is not installed")
    export(ExportConfig(model=model, out=str(folder), format="web"))
    size = Generator.from_pretrained(model).config.latent_size
    handler = functools.partial(_QuietHandler, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server, sync_playwright() as driver:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        browser = driver.chromium.launch(executable_path=chromium, args=SWITCHES)
        page = browser.new_page()
        page.goto(f"http://127.0.0.1:{server.server_port}/style.css")  # the page itself would compute a wall
        page.evaluate(LOADED, size)
        yield lambda count: float(page.evaluate(TIMED, [count, size]))
        browser.close()
        server.shutdown()


class _QuietHandler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: Any) -> None: ...


def report(ways: dict[str, Way], rounds: int) -> None:
    """Print faces a second of each way and batch, and each as a multiple of torch's float32."""
    row("faces a second", *(f"batch {count}" for count in BATCHES))
    speeds: dict[tuple[str, int], list[float]] = {}
    for count in BATCHES:
        for _ in range(rounds + 1):
            for name, seconds in ways.items():
                speeds.setdefault((name, count), []).append(count / seconds(count))
    median = {key: statistics.median(values[1:]) for key, values in speeds.items()}  # the first round warms up
    for name in ways:
        row(name, *(f"{median[name, n]:.0f} ({median[name, n] / median['torch float32', n]:.2f})" for n in BATCHES))
    print(f"load average {os.getloadavg()[0]:.1f}")


def row(*cells: str) -> None:
    """Print one row of a table."""
    print(f"{cells[0]:20}" + "".join(f"{cell:>16}" for cell in cells[1:]))


if __name__ == "__main__":
    main()
