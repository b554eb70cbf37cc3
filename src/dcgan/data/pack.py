"""Prepare: decode whatever a source holds on all cores, and stream it into a packed data set."""

from __future__ import annotations

import collections
import contextlib
import functools
import hashlib
import json
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from PIL import Image
from tqdm import tqdm

from dcgan.config import Label, PrepareConfig
from dcgan.data import celeba
from dcgan.data.arrays import ArraySet, is_array_set, read_array_set
from dcgan.data.decode import decode, fit
from dcgan.data.packed import Floats, Images, PackedImages
from dcgan.data.sources import Entry, Source
from dcgan.data.trees import UnusableError, read_payload
from dcgan.data.writer import PackedWriter, refuse_existing
from dcgan.errors import DcganError

CHUNK = 64
"""Images handed to a process at once."""
CHUNK_BYTES = 4 << 20
"""A chunk is complete, however few images it has, once this much of an archive is in it."""
FLIGHT_BYTES = 128 << 20
"""No more than this much of an archive is in the hands of all processes together, plus one chunk."""
Job = TypeVar("Job")
Result = TypeVar("Result")


def prepare(config: PrepareConfig) -> PackedImages:
    """Pack images into the folder `config.out` and open it.

    What cannot be decoded is skipped, and listed in the manifest with its reason. Raises `DcganError` if the
    source cannot be read or holds no usable image, or if `out` is taken or cannot be written.
    """
    out = Path(config.out).expanduser()
    refuse_existing(out)
    if config.source == "toy":
        _pack_toy(config, out)
    elif is_array_set(config.source):
        _pack_arrays(config, out, read_array_set(config.source).part(config.split))
    else:
        with Source(Path(config.source).expanduser(), config.split) as source:
            _pack_source(config, out, source)
    return PackedImages.open(out)


def deciding_settings(config: PrepareConfig) -> dict[str, Any]:
    """Those settings that decide what the packed images are."""
    names = ["size", "channels", "held_out", "seed"]
    names += ["count"] if config.source == "toy" else ["crop", "split"]
    return {name: getattr(config, name) for name in names}


def _pack_source(config: PrepareConfig, out: Path, source: Source) -> None:
    official = source.has_partition and config.split == "all" and config.held_out == PrepareConfig.held_out
    work = functools.partial(_decode_chunk, config)
    chunks = _in_order(work, _chunks(source), _workers(config, len(source)), weigh=_weight)
    digest = hashlib.sha256()
    with (
        _writer(config, out, source.name, source.labels, source.landmarks) as writer,
        tqdm(total=len(source), unit="image", desc="preparing", disable=None) as progress,
        contextlib.closing(chunks),
    ):
        writer.skipped += source.skipped
        writer.terms = config.terms or source.terms
        for entries, result in chunks:
            for entry, file_digest, reason in zip(entries, result.digests, result.reasons, strict=True):
                digest.update(f"{entry.name}\n{file_digest}\n".encode("utf-8", "surrogateescape"))
                if reason is not None:
                    writer.skipped.append((entry.name, reason))
            kept = [entry for entry, reason in zip(entries, result.reasons, strict=True) if reason is None]
            writer.append(
                result.pixels,
                _stack([entry.labels for entry in kept], (len(source.labels),)),
                _stack(result.landmarks, (len(source.landmarks), 2)),
                np.array([entry.held_out for entry in kept], bool) if official else None,
            )
            progress.update(len(entries))
        if not writer.count:
            raise DcganError(f"{config.source} holds no usable image{_counted(writer.skipped)}")
        writer.source = {"name": source.name, "digest": digest.hexdigest()}


def _pack_arrays(config: PrepareConfig, out: Path, arrays: ArraySet) -> None:
    official = arrays.test is not None and config.held_out == PrepareConfig.held_out
    rows = np.eye(len(arrays.classes), dtype=np.float32)
    with _writer(config, out, arrays.name, [Label(name, "class") for name in arrays.classes], ()) as writer:
        for start in tqdm(range(0, len(arrays.images), CHUNK), unit="chunk", desc="preparing", disable=None):
            chunk = slice(start, start + CHUNK)
            images = [Image.fromarray(image.squeeze()) for image in arrays.images[chunk]]
            try:
                pixels = np.stack([fit(image, config.size, config.channels, config.crop).pixels for image in images])
            except UnusableError as error:
                raise DcganError(f"the images of {arrays.name} are {error}") from error
            test = arrays.test[chunk] if arrays.test is not None and official else None
            writer.append(pixels, rows[arrays.targets[chunk]], None, test)
        writer.terms = config.terms or arrays.terms
        writer.source = {"name": arrays.name, "digest": arrays.digest}


def _pack_toy(config: PrepareConfig, out: Path) -> None:
    from dcgan.data import toy

    jobs = (range(start, min(start + CHUNK, config.count)) for start in range(0, config.count, CHUNK))
    chunks = _in_order(functools.partial(_draw_chunk, config), jobs, _workers(config, config.count))
    with (
        _writer(config, out, "toy", [Label(*label) for label in toy.LABELS], toy.LANDMARKS) as writer,
        tqdm(total=config.count, unit="image", desc="drawing", disable=None) as progress,
        contextlib.closing(chunks),
    ):
        for indices, drawn in chunks:
            writer.append(*drawn)
            progress.update(len(indices))
        writer.terms = config.terms
        identity = json.dumps(["toy", config.count, config.seed])
        writer.source = {"name": "toy", "digest": hashlib.sha256(identity.encode()).hexdigest()}


def _writer(
    config: PrepareConfig, out: Path, name: str, labels: Sequence[Label], landmarks: Sequence[str]
) -> PackedWriter:
    return PackedWriter(
        out,
        config.size,
        config.channels,
        labels=labels,
        landmarks=landmarks,
        held_out=config.held_out,
        seed=config.seed,
        name=name,
        settings=deciding_settings(config),
    )


def _counted(skipped: Sequence[tuple[str, str]]) -> str:
    """The end of a message: each reason with how often it was met, the most frequent first."""
    counts = collections.Counter(reason for _, reason in skipped).most_common()
    return ": " + ", ".join(f"{count} {reason}" for reason, count in counts) if counts else ""


@dataclass(frozen=True)
class _Chunk:
    """What became of some entries."""

    pixels: Images
    """Those of the usable ones."""
    landmarks: list[Floats | None]
    """Those of the usable ones, in packed pixels."""
    digests: list[str]
    """Each file's SHA-256."""
    reasons: list[str | None]
    """Why each cannot be used, None if it can."""


def _decode_chunk(config: PrepareConfig, entries: Sequence[Entry]) -> _Chunk:
    pixels: list[Images] = []
    landmarks: list[Floats | None] = []
    digests: list[str] = []
    reasons: list[str | None] = []
    for entry in entries:
        data = b""
        try:
            data = read_payload(entry.payload)
            decoded = decode(data, config.size, config.channels, config.crop)
        except UnusableError as error:
            reasons.append(str(error))
        else:
            reasons.append(None)
            pixels.append(decoded.pixels)
            points = entry.landmarks
            landmarks.append(None if points is None else decoded.transform(points, celeba.FRAME))
        digests.append(hashlib.sha256(data).hexdigest())
    shape = (len(pixels), config.size, config.size, config.channels)
    return _Chunk(np.array(pixels, np.uint8).reshape(shape), landmarks, digests, reasons)


def _draw_chunk(config: PrepareConfig, indices: range) -> tuple[Images, Floats, Floats]:
    from dcgan.data import toy

    drawn = toy.draw_faces(indices, config.size, config.seed)
    images = drawn.images
    if config.channels == 1:
        images = np.stack([np.asarray(Image.fromarray(image).convert("L"))[..., None] for image in images])
    return images, drawn.labels, drawn.landmarks


def _stack(rows: Sequence[Floats | None], shape: tuple[int, ...]) -> Floats:
    """Rows of one shape as one array; NaN where there is none."""
    stacked = np.full((len(rows), *shape), np.nan, np.float32)
    for number, row in enumerate(rows):
        if row is not None:
            stacked[number] = row
    return stacked


def _chunks(source: Source) -> Iterator[list[Entry]]:
    """Entries by the chunk; large ones make chunks of few, so that what waits in memory stays bounded."""
    chunk: list[Entry] = []
    weight = 0
    for entry in source:
        chunk.append(entry)
        weight += _weight([entry])
        if len(chunk) == CHUNK or weight >= CHUNK_BYTES:
            yield chunk
            chunk, weight = [], 0
    if chunk:
        yield chunk


def _weight(chunk: Sequence[Entry]) -> int:
    """Bytes of an archive that a chunk holds."""
    return sum(len(entry.payload) for entry in chunk if isinstance(entry.payload, bytes))


def _workers(config: PrepareConfig, count: int) -> int:
    """Processes to use: no more than there are chunks of images."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(config.workers or cores, -(-count // CHUNK)))


def _in_order(
    work: Callable[[Job], Result],
    jobs: Iterable[Job],
    workers: int,
    weigh: Callable[[Job], int] = lambda _: 0,
) -> Generator[tuple[Job, Result], None, None]:
    """Each job with its result, in order, with few in flight; in this process if `workers` is 1."""
    if workers == 1:
        for job in jobs:
            yield job, work(job)
        return
    # Spawned, not forked: the caller may hold threads (torch's), which a fork would copy in mid-step.
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(workers, context, initializer=_start_worker)
    waiting: collections.deque[tuple[Job, Future[Result]]] = collections.deque()
    try:
        for job in jobs:
            waiting.append((job, pool.submit(work, job)))
            while len(waiting) > 2 * workers or sum(weigh(job) for job, _ in waiting) > FLIGHT_BYTES:
                first, future = waiting.popleft()
                yield first, future.result()
        while waiting:
            first, future = waiting.popleft()
            yield first, future.result()
    except BrokenProcessPool as error:
        raise DcganError(
            "a process that prepares images died: memory may be short, or a script of yours may lack "
            "`if __name__ == '__main__':`; with workers 1 there are no processes"
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)


def _start_worker() -> None:
    """Leave Ctrl-C to the parent, and die with it: a parent that is killed cannot end its pool."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    assert parent is not None

    def follow() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=follow, daemon=True).start()
