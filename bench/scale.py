"""What grows with the data set and what does not: preparing, starting to train and random reads at several sizes.

    python bench/scale.py --counts 20000 200000 2000000 --folder /tmp/scale

For each count it writes a tar of small JPEGs (2,000 drawn faces over and over, each file with bytes of its own), packs
it, trains a few steps on it and reads batches from it at random. Each part runs in a process of its own, whose
anonymous memory is watched, its workers' included: pages of mapped files are the system's to drop. Seconds are the
processor's own, so that a busy machine matters little, but for those by the clock, among them reads out of a cold
cache, which wait for the disk. Two million images take about ten minutes of two idle cores, and 12 GB of disk, which
are freed at the end. A small set is also packed in three parts that are joined, and packed again by reusing half of
it. Prints Markdown.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import resource
import shutil
import subprocess
import sys
import tarfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from PIL import Image

if TYPE_CHECKING:
    from dcgan.data import PackedImages

SIZE, BATCH, FACES = 32, 128, 2000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--counts", type=int, nargs="+", default=[20_000, 200_000, 2_000_000])
    parser.add_argument("--folder", type=Path, default=Path("scale"), help="made for the bench, and removed after it")
    parser.add_argument("--parts", type=int, default=20_000, help="images packed in parts, 0 for none")
    parser.add_argument("--workers", type=int, default=os.cpu_count(), help="processes that decode")
    parser.add_argument("--read", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.read:
        use(Path(arguments.read))
        return
    arguments.folder.mkdir(parents=True)
    try:
        faces = draw()
        measured = [bench(arguments.folder, count, faces, arguments.workers) for count in arguments.counts]
        workers = f"prepare by the clock, {arguments.workers} workers"
        table("images", "source", "packed", "prepare, a second of a core", workers, "memory", rows=measured, first=0)
        start = ("start of training, to the end of step 1", "of it data", "memory")
        table("images", *start, "random batches of 128", "cold cache", "memory", rows=measured, first=5)
        if arguments.parts:
            bench_parts(arguments.folder, arguments.parts, faces)
    finally:
        shutil.rmtree(arguments.folder)


def bench(folder: Path, count: int, faces: Sequence[bytes], workers: int) -> list[str]:
    """Measure one count; its row of both tables."""
    start = time.perf_counter()
    source, out = folder / f"{count}.tar", folder / f"set-{count}"
    write_source(source, range(count), faces)
    prepared = watched([*DCGAN, "prepare", str(source), str(out), "--size", str(SIZE), "--workers", str(workers)])
    size = source.stat().st_size / 1e9
    source.unlink()
    used = json.loads(watched([sys.executable, __file__, "--read", str(out)]).printed)
    packed = sum(file.stat().st_size for file in out.iterdir()) / 1e9
    shutil.rmtree(out)
    print(f"{count:,} images: {(time.perf_counter() - start) / 60:.1f} minutes", file=sys.stderr)
    return [
        f"{count:,}",
        f"{size:.2f} GB",
        f"{packed:.2f} GB",
        f"{count / prepared.processor:,.0f}",
        f"{count / prepared.clock:,.0f}",
        f"{prepared.memory:.0f} MB",
        f"{used['start']:.1f} s",
        f"{used['open']:.2f} s",
        f"{used['train_memory']:.0f} MB",
        f"{used['warm']:,.0f} images/s",
        f"{used['cold']:,.0f} images/s",
        f"{used['read_memory']:.0f} MB",
    ]


def bench_parts(folder: Path, count: int, faces: Sequence[bytes]) -> None:
    """Pack in parts and join, and pack with half of it in an earlier set; all must give the digest of one job."""
    half, source = folder / "half.tar", folder / "all.tar"
    write_source(half, range(0, count, 2), faces)
    write_source(source, range(count), faces)
    parts = [str(folder / f"part-{i}") for i in (1, 2, 3)]
    jobs = {
        "in one go": ["prepare", str(source), str(folder / "one"), *PREPARE],
        **{
            f"part {i} of 3": ["prepare", str(source), path, *PREPARE, "--part", f"{i}/3"]
            for i, path in enumerate(parts, 1)
        },
        "merge": ["merge", str(folder / "joined"), *parts],
        "half of it": ["prepare", str(half), str(folder / "half"), *PREPARE],
        "the whole, reusing half": [
            *["prepare", str(source), str(folder / "reused"), *PREPARE],
            *["--reuse", str(folder / "half")],
        ],
    }
    print(f"\n| {count:,} images | seconds of a core |\n|---|---:|")
    for name, job in jobs.items():
        print(f"| {name} | {watched([*DCGAN, *job]).processor:.1f} |", flush=True)
    manifests = [(folder / name / "dataset.json").read_bytes() for name in ("one", "joined", "reused")]
    print("\nidentical manifests and digests:", len(set(manifests)) == 1)


def draw() -> list[bytes]:
    """A few drawn faces as JPEGs."""
    from dcgan.data import toy

    encoded = []
    for image in toy.draw_faces(range(FACES), SIZE).images:
        buffer = io.BytesIO()
        Image.fromarray(image).save(buffer, "jpeg", quality=90)
        encoded.append(buffer.getvalue())
    return encoded


def write_source(path: Path, numbers: range, faces: Sequence[bytes]) -> None:
    """Write a tar of JPEGs; what follows a JPEG's end makes each file's bytes its own."""
    with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as archive:
        for number in numbers:
            data = faces[number % FACES] + number.to_bytes(8, "little")
            member = tarfile.TarInfo(f"faces/{number:09}.jpg")
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
            archive.members.clear()  # type: ignore[attr-defined]  # else it keeps a kilobyte for each


class Watched(NamedTuple):
    """What a command took, and what it printed."""

    processor: float
    """Seconds of processors, workers included."""
    clock: float
    memory: float
    """Peak of anonymous memory in MB, workers included."""
    printed: str


def watched(command: Sequence[str]) -> Watched:
    """Run a command to its end."""
    before, start, peak = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter(), 0.0
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        while process.poll() is None:
            peak = max(peak, memory(process.pid))
            time.sleep(0.05)
        after, clock = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter() - start
        processor = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        assert process.stdout is not None
        if process.returncode:
            raise SystemExit(f"{' '.join(command)} failed")
        return Watched(processor, clock, peak, process.stdout.read())


def memory(process: int) -> float:
    """Anonymous memory of a process and its children in MB; 0 once it has ended."""
    total = 0.0
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{process}/status").read_text().splitlines():
            if line.startswith("RssAnon"):
                total += int(line.split()[1]) / 1024
        total += sum(
            memory(int(child)) for child in Path(f"/proc/{process}/task/{process}/children").read_text().split()
        )
    return total


def use(path: Path) -> None:
    """Read at random before torch is there, then train a little, and print the figures as JSON."""
    from dcgan.data import PackedImages

    forget(path)
    data = PackedImages.open(path)
    cold = cold_rate(data)
    for file in path.glob("images*.npy"):  # into the page cache
        with file.open("rb") as stream:
            while stream.read(16 << 20):
                pass
    warm = warm_rate(data)
    read_memory = memory(os.getpid())

    start = time.process_time()
    import torch

    from dcgan.config import TrainConfig
    from dcgan.train.loop import Trainer

    config = TrainConfig(size=SIZE, channels=3, generator_width=8, discriminator_width=8, batch=BATCH)
    opening = time.process_time()
    data = PackedImages.open(path)
    opened = time.process_time() - opening
    trainer = Trainer(config, data, path, torch.device("cpu"))
    opening = time.process_time()
    trainer.batches.real_images(0)
    opened += time.process_time() - opening
    trainer.train_step()
    started = time.process_time() - start
    for _ in range(20):
        trainer.train_step()
    figures = {"cold": cold, "warm": warm, "read_memory": read_memory}
    print(json.dumps({**figures, "start": started, "open": opened, "train_memory": memory(os.getpid())}))


def forget(path: Path) -> None:
    """Let the system drop the images' pages from its cache, where it can be told to."""
    for file in path.glob("images*.npy"):
        descriptor = os.open(file, os.O_RDONLY)
        os.fsync(descriptor)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(descriptor)


def warm_rate(data: PackedImages) -> float:
    """Images a second of the processor in random batches, over three seconds."""
    random = np.random.default_rng(1)
    start, images = time.process_time(), 0
    while time.process_time() - start < 3:
        images += len(data.read(random.integers(0, len(data), BATCH)))
    return images / (time.process_time() - start)


def cold_rate(data: PackedImages) -> float:
    """Images a second by the clock in random batches of which none comes twice, for at most ten seconds."""
    batches = np.array_split(np.random.default_rng(0).permutation(len(data)), max(1, len(data) // BATCH))
    start, images = time.perf_counter(), 0
    for batch in batches:
        images += len(data.read(batch))
        if time.perf_counter() - start > 10:
            break
    return images / (time.perf_counter() - start)


def table(*heads: str, rows: Sequence[Sequence[str]], first: int) -> None:
    """Print a Markdown table of the rows' first cells and of those after `first`."""
    print(f"\n| {' | '.join(heads)} |\n|{'---:|' * len(heads)}")
    for cells in rows:
        print(f"| {' | '.join([cells[0], *cells[first + 1 : first + len(heads)]])} |", flush=True)


DCGAN = (sys.executable, "-m", "dcgan")
PREPARE = ("--size", str(SIZE), "--workers", "1")

if __name__ == "__main__":
    main()
