"""Speed and memory of preparing images and of feeding them, beside a plain Pillow loop in the same run.

    python bench/data.py --data ../shared/data/celeba-13k.zip

Rates are images a second; what counts is the ratio to the plain loop, on a machine with nothing else running.
Memory is that of this process and its workers; pages of files that are mapped or cached are the system's to drop,
so anonymous memory is reported apart.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import tempfile
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from dcgan.config import PrepareConfig
from dcgan.data import PackedImages, PackedWriter, prepare

SIZE, BATCH = 64, 128


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="a .zip of images")
    parser.add_argument("--large", type=int, default=200_000, help="images of the set whose reading is watched")
    parser.add_argument("--batches", type=int, default=2000, help="random batches of 128 read from it")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        packed = bench_prepare(arguments.data, Path(folder))
        bench_feeding(arguments.data, packed)
        bench_large(Path(folder), arguments.large, arguments.batches)


def bench_prepare(data: str, folder: Path) -> PackedImages:
    """Time prepare with one process a core and with one, then the plain loop; the first finds memory still clean."""
    results: list[tuple[str, float, float, float]] = []
    for name, workers in (("prepare, one process a core", 0), ("prepare, one process", 1)):
        config = PrepareConfig(source=data, out=str(folder / f"workers{workers}"), size=SIZE, workers=workers)
        start = time.perf_counter()
        with peak_memory() as peak:
            packed = prepare(config)
        results.append((name, len(packed) / (time.perf_counter() - start), peak[0], peak[1]))
    with zipfile.ZipFile(data) as archive:
        names = sorted(name for name in archive.namelist() if not name.endswith("/"))
        start = time.perf_counter()
        plain = [plain_decode(archive, name) for name in names]
        plain_rate = len(plain) / (time.perf_counter() - start)
    row("preparing", "images/s", "to plain", "peak anonymous MB", "peak resident MB")
    row("plain Pillow loop", f"{plain_rate:.0f}", "1.00")
    for name, rate, anonymous, resident in results:
        row(name, f"{rate:.0f}", f"{rate / plain_rate:.2f}", f"{anonymous:.0f}", f"{resident:.0f}")
    return packed


def bench_feeding(data: str, packed: PackedImages) -> None:
    """Time random batches out of the packed set, and out of the JPEGs."""
    random = np.random.default_rng(0)
    with zipfile.ZipFile(data) as archive:
        names = [name for name in archive.namelist() if not name.endswith("/")]
        plain_rate = rate_of(lambda: np.stack([plain_decode(archive, str(n)) for n in random.choice(names, BATCH)]))
    packed_rate = rate_of(lambda: packed.read(random.integers(0, len(packed), BATCH)))
    print()
    row(f"feeding batches of {BATCH}", "images/s", "to plain")
    row("Pillow", f"{plain_rate:.0f}", "1.00")
    row("PackedImages.read", f"{packed_rate:.0f}", f"{packed_rate / plain_rate:.0f}")


def bench_large(folder: Path, count: int, batches: int) -> None:
    """Watch memory while random batches are read from a set of `count` images."""
    noise = np.random.default_rng(0).integers(0, 256, (1000, SIZE, SIZE, 3), dtype=np.uint8)
    with PackedWriter(folder / "large", SIZE, 3) as writer:
        for start in range(0, count, len(noise)):
            writer.append(noise[: count - start])
    packed = PackedImages.open(folder / "large")
    random = np.random.default_rng(1)
    before = memory(os.getpid())
    for _ in range(batches):
        packed.read(random.integers(0, len(packed), BATCH))
    after = memory(os.getpid())
    print()
    row(f"{batches} batches from {count} images", "anonymous MB", "pages of files MB")
    row("before", f"{before[0]:.0f}", f"{before[1] - before[0]:.0f}")
    row("after", f"{after[0]:.0f}", f"{after[1] - after[0]:.0f}")


def plain_decode(archive: zipfile.ZipFile, name: str) -> npt.NDArray[np.uint8]:
    """Decode one image as most public code does: square centre crop, then resize."""
    image = Image.open(io.BytesIO(archive.read(name))).convert("RGB")
    side = min(image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    square = image.crop((left, top, left + side, top + side))
    return np.asarray(square.resize((SIZE, SIZE), Image.Resampling.BICUBIC))


def rate_of(make_batch: Callable[[], npt.NDArray[np.uint8]], seconds: float = 2.0) -> float:
    """Images a second over at least `seconds`, after one batch to warm up."""
    make_batch()
    start, images = time.perf_counter(), 0
    while time.perf_counter() - start < seconds:
        images += len(make_batch())
    return images / (time.perf_counter() - start)


@contextlib.contextmanager
def peak_memory() -> Iterator[list[float]]:
    """Yield the peaks of anonymous and of all resident memory in MB, of this process and its children together."""
    peak = [0.0, 0.0]
    done = threading.Event()

    def watch() -> None:
        while not done.wait(0.05):
            seen = [memory(process) for process in family(os.getpid())]
            for kind in (0, 1):
                peak[kind] = max(peak[kind], sum(values[kind] for values in seen))

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield peak
    finally:
        done.set()
        watcher.join()


def family(process: int) -> list[int]:
    """A process and all below it."""
    parents: dict[int, int] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # it has just ended
            parents[int(path.parent.name)] = int(path.read_text().rpartition(")")[2].split()[1])
    found = [process]
    for member in found:  # grows while it is walked
        found += [child for child, parent in parents.items() if parent == member]
    return found


def memory(process: int) -> tuple[float, float]:
    """Anonymous and all resident memory of a process in MB; 0 once it has ended."""
    try:
        lines = Path(f"/proc/{process}/status").read_text().splitlines()
    except OSError:
        return 0.0, 0.0
    values = {line.split(":")[0]: line.split()[1] for line in lines if line.startswith(("RssAnon", "VmRSS"))}
    return int(values.get("RssAnon", 0)) / 1024, int(values.get("VmRSS", 0)) / 1024


def row(*cells: str) -> None:
    """Print one row of a table."""
    print(f"{cells[0]:34}" + "".join(f"{cell:>20}" for cell in cells[1:]))


if __name__ == "__main__":
    main()
