"""Prepare: decode whatever a source holds on all cores, and stream it into a packed data set."""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import functools
import hashlib
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import numpy as np
from PIL import Image
from tqdm import tqdm

from dcgan import __version__
from dcgan.checkpoint import json_digest
from dcgan.config import Label, PrepareConfig, parse_part
from dcgan.data import celeba
from dcgan.data.arrays import ArraySet, is_array_set, read_array_set
from dcgan.data.decode import decode, fit
from dcgan.data.entries import Listed
from dcgan.data.packed import Floats, Images, PackedImages
from dcgan.data.reuse import Earlier, Reuse
from dcgan.data.sources import Entry, Source, block_of
from dcgan.data.trees import UnusableError, fingerprint, read_payload
from dcgan.data.writer import PackedWriter, refuse_existing
from dcgan.errors import DcganError

CHUNK = 64
"""Images handed to a process at once."""
CHUNK_BYTES = 4 << 20
"""A chunk is complete, however few images it has, once this much of an archive is in it."""
FLIGHT_BYTES = 128 << 20
"""No more than this much of an archive is in the hands of all processes together, plus one chunk."""
Candidate = tuple[Entry, Earlier | None]
"""A file that may be packed, and what an earlier set says of the file of that name."""
Job = TypeVar("Job")
Result = TypeVar("Result")


def prepare(config: PrepareConfig) -> PackedImages:
    """Pack images into the folder `config.out` and open it.

    What cannot be decoded is skipped, and listed in the manifest with its reason. A call that was interrupted or
    killed goes on where it was if it is made again. Raises `DcganError` if the source cannot be read or holds no
    usable image, if `out` is taken or cannot be written, or if what a killed call left there is of another job.
    """
    out = Path(config.out).expanduser()
    refuse_existing(out)
    if config.source == "toy":
        _pack_toy(config, out)
    elif is_array_set(config.source):
        _pack_arrays(config, out, read_array_set(config.source).part(config.split))
    else:
        reuse = None if config.reuse is None else Reuse(PackedImages.open(config.reuse), deciding_settings(config))
        with Source(Path(config.source).expanduser(), config.split, parse_part(config.part)) as source:
            _pack_source(config, out, source, reuse)
    return PackedImages.open(out)


def deciding_settings(config: PrepareConfig) -> dict[str, Any]:
    """Those settings that decide what the packed images are."""
    names = ["size", "channels", "held_out", "seed"]
    names += ["count"] if config.source == "toy" else ["crop", "split"]
    return {name: getattr(config, name) for name in names}


def _pack_source(config: PrepareConfig, out: Path, source: Source, reuse: Reuse | None) -> None:
    official = source.has_partition and config.split == "all" and config.held_out == PrepareConfig.held_out
    identity = {"source": fingerprint(Path(config.source).expanduser())}
    digest = source.names_digest
    with (
        _writer(config, out, source.name, source.labels, source.landmarks, identity, digest) as writer,
        _progress(writer, len(source), writer.entries.count, "preparing") as progress,
    ):
        writer.skipped += source.skipped
        writer.terms = config.terms or source.terms
        chunks = _chunks(source.entries(writer.entries.count), reuse)
        work = functools.partial(_decode_chunk, config)
        results = _in_order(work, chunks, _workers(config, len(source)), weigh=_weight)
        with contextlib.closing(results):
            for known, result in results:
                _append(writer, [entry for entry, _ in known], result, official, reuse)
                progress.update(len(known))
        if not writer.count and writer.part is None:
            skipped = writer.skipped + writer.entries.skipped
            raise DcganError(f"{config.source} holds no usable image{_counted(skipped)}")
        writer.source = {"name": source.name, "digest": writer.entries.source_digest}


def _append(
    writer: PackedWriter, entries: Sequence[Entry], result: _Chunk, official: bool, reuse: Reuse | None
) -> None:
    """Write what became of some entries."""
    pixels, landmarks = result.pixels, result.landmarks
    if reuse is not None and result.copied:
        pixels, landmarks = reuse.fill(pixels, landmarks, result.copied)
    kept = [entry for entry, reason in zip(entries, result.reasons, strict=True) if reason is None]
    listed = zip(entries, result.digests, result.reasons, strict=True)
    writer.append(
        pixels,
        _stack([entry.labels for entry in kept], (len(writer.labels),)),
        _stack(landmarks, (len(writer.landmarks), 2)),
        np.array([entry.held_out for entry in kept], bool) if official else None,
        [Listed(entry.name, digest, reason) for entry, digest, reason in listed],
    )


def _pack_arrays(config: PrepareConfig, out: Path, arrays: ArraySet) -> None:
    if config.reuse is not None or parse_part(config.part) != (1, 1):
        raise DcganError(f"{arrays.name} is read in one go: --part and --reuse are for image files")
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

    if config.reuse is not None:
        raise DcganError("reuse is for files: drawn faces are drawn anew")
    digest = json_digest(["toy", config.count, config.seed])
    block = block_of(config.count, parse_part(config.part))
    labels = [Label(*label) for label in toy.LABELS]
    with (
        _writer(config, out, "toy", labels, toy.LANDMARKS, {"source": "toy"}, digest) as writer,
        _progress(writer, len(block), writer.count, "drawing") as progress,
    ):
        left = block[writer.count :]
        jobs = (left[start : start + CHUNK] for start in range(0, len(left), CHUNK))
        results = _in_order(functools.partial(_draw_chunk, config), jobs, _workers(config, len(left)))
        with contextlib.closing(results):
            for indices, drawn in results:
                writer.append(*drawn)
                progress.update(len(indices))
        writer.terms = config.terms
        writer.source = {"name": "toy", "digest": digest}


def _writer(
    config: PrepareConfig,
    out: Path,
    name: str,
    labels: Sequence[Label],
    landmarks: Sequence[str],
    source: Mapping[str, str] | None = None,
    whole: str = "",
) -> PackedWriter:
    """The writer of a data set.

    `source` tells the state of the source from any other: with it, a killed writer's work is gone on with. `whole`
    identifies what a part is a part of.
    """
    settings = deciding_settings(config)
    number, parts = parse_part(config.part)
    job = {"version": __version__, "settings": settings, "part": config.part, "terms": config.terms, **(source or {})}
    return PackedWriter(
        out,
        config.size,
        config.channels,
        labels=labels,
        landmarks=landmarks,
        held_out=config.held_out,
        seed=config.seed,
        name=name,
        settings=settings,
        part=None if parts == 1 else {"number": number, "of": parts, "whole": whole},
        job=None if source is None else job,
    )


def _progress(writer: PackedWriter, total: int, done: int, verb: str) -> tqdm[NoReturn]:
    """The progress bar; says so when there is something done already."""
    if done:
        tqdm.write(f"dcgan: going on with {writer.path}: {done} of {total} are done", file=sys.stderr)
    return tqdm(total=total, initial=done, unit="image", desc=verb, disable=None)


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
    """What identifies each (`entries.Listed`)."""
    reasons: list[str | None]
    """Why each cannot be used, None if it can."""
    copied: list[tuple[int, int]]
    """Places among the usable ones that are still to be filled, each with the image of an earlier set to fill it."""


def _decode_chunk(config: PrepareConfig, chunk: Sequence[Candidate]) -> _Chunk:
    blank = np.zeros((config.size, config.size, config.channels), np.uint8)
    result = _Chunk(np.empty(0, np.uint8), [], [], [], [])
    pixels: list[Images] = []
    for entry, earlier in chunk:
        digest = hashlib.sha256()
        reason, marks, image = None, None, blank
        try:
            data = read_payload(entry.payload)
            digest.update(data)
            if entry.landmarks is not None:
                digest.update(entry.landmarks.tobytes())
            if earlier is not None and earlier.digest == digest.hexdigest():
                reason = earlier.reason
                if reason is None:
                    result.copied.append((len(pixels), earlier.image))
            else:
                decoded = decode(data, config.size, config.channels, config.crop)
                image = decoded.pixels
                if entry.landmarks is not None:
                    marks = decoded.transform(entry.landmarks, celeba.FRAME)
        except UnusableError as error:
            reason = str(error)
        result.digests.append(digest.hexdigest())
        result.reasons.append(reason)
        if reason is None:
            pixels.append(image)
            result.landmarks.append(marks)
    shape = (len(pixels), *blank.shape)
    return dataclasses.replace(result, pixels=np.array(pixels, np.uint8).reshape(shape))


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


def _chunks(entries: Iterable[Entry], reuse: Reuse | None) -> Iterator[list[Candidate]]:
    """Entries by the chunk; large ones make chunks of few, so that what waits in memory stays bounded."""
    chunk: list[Candidate] = []
    weight = 0
    for entry in entries:
        chunk.append((entry, reuse.find(entry.name) if reuse is not None else None))
        weight += _weight(chunk[-1:])
        if len(chunk) == CHUNK or weight >= CHUNK_BYTES:
            yield chunk
            chunk, weight = [], 0
    if chunk:
        yield chunk


def _weight(chunk: Sequence[Candidate]) -> int:
    """Bytes of an archive that a chunk holds."""
    return sum(len(entry.payload) for entry, _ in chunk if isinstance(entry.payload, bytes))


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
