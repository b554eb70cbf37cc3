"""Break things on purpose, and count what survives.

    python bench/faults.py --kills 100 --disks 30 --damage 600 --hostile 2000 --seed 0

Training is killed at random moments and gone on with; disks fill up, and folders turn read-only; every kind of our
files is cut short and has bits flipped; mutated images and archives are prepared. Something survives if what
follows ends bit for bit as if nothing had happened, or stops with one clear line that names the file: no traceback,
no hang, no lost checkpoint, nothing written outside the output folder. Every trial is a fork of this process, which
imported torch once. Small disks are tmpfs mounts and need root; without it they are left out, and that is said.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import damage
import hostile
from trials import TINY, Bench, Tally, attempt, newest_run

from dcgan.data import writer
from dcgan.errors import DcganError
from dcgan.train.run import checkpoints
from dcgan.train.state import check_checkpoint

PARTS = ("kills", "disks", "damage", "hostile")


def kill_training(bench: Bench, count: int, draw: random.Random, tally: Tally) -> None:
    """Kill training at random moments, up to three times a run, and go on until it is done."""
    signals = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
    number, kills = 0, 0
    while kills < count:
        runs = bench.folder / f"killed-{number}"
        number += 1
        pending: list[tuple[str, str]] = []
        fault = None
        for _ in range(3):
            sent = signals[kills % 3]
            moment = draw.uniform(0, bench.duration * 1.1)
            outcome = bench.train(runs, (moment, sent))
            if outcome.status == 0 or kills == count:
                break
            kills += 1
            pending.append((sent.name, f"{sent.name} after {moment:.3f} s of {runs.name}"))
            fault = fault or outcome.fault or _lost_checkpoint(runs)
        last = bench.train(runs)
        fault = fault or last.fault or (None if last.status == 0 else last.output)
        fault = fault or bench.differing(newest_run(runs))
        for name, what in pending:
            tally.count(f"training, {name}", "went on to the same bits", fault, what)
        if fault is None:
            shutil.rmtree(runs)


def _lost_checkpoint(runs: Path) -> str | None:
    """Whether a checkpoint is there that is not whole."""
    for run in runs.glob("[0-9]*-tiny"):
        for checkpoint in checkpoints(run):
            try:
                check_checkpoint(checkpoint)
            except DcganError as error:
                return str(error)
    return None


def kill_prepare(bench: Bench, count: int, draw: random.Random, tally: Tally) -> None:
    """Kill `prepare` at random moments; the same command goes on to the very files."""
    writer.SECONDS_BETWEEN_COMMITS = 0.05
    command = ["prepare", "toy", "--size", "16", "--count", "700", "--workers", "1"]
    whole = attempt([*command, bench.folder / "set" / "whole"])
    expected = contents(bench.folder / "set" / "whole")
    for number in range(count):
        out = bench.folder / f"set-{number}"
        sent, moment = draw.choice((signal.SIGKILL, signal.SIGTERM, signal.SIGINT)), draw.uniform(0, whole.seconds)
        outcome = attempt([*command, out], (moment, sent))
        went_on = outcome.status != 0 and (out.with_name(f"{out.name}.partial") / "progress.json").exists()
        again = attempt([*command, out]) if outcome.status != 0 else outcome
        fault = outcome.fault or again.fault or (None if contents(out) == expected else "another set came out")
        what = "went on to the same bytes" if went_on else "began again, same bytes" if outcome.status else "was done"
        tally.count("prepare, killed", what, fault, f"{sent.name} after {moment:.3f} s")
        shutil.rmtree(out, ignore_errors=True)


def contents(folder: Path) -> dict[str, bytes]:
    """Every file below a folder."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@contextlib.contextmanager
def small_disk(place: Path, kilobytes: int) -> Iterator[Callable[[str], None]]:
    """A tmpfs of that size at `place`, and a function that mounts it anew with other options."""
    place.mkdir(parents=True)
    _mount("-t", "tmpfs", "-o", f"size={kilobytes}k", "tmpfs", str(place))
    try:
        yield lambda options: _mount("-o", f"remount,{options}", str(place))
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)


def _mount(*arguments: str) -> None:
    subprocess.run(["mount", *arguments], check=True, capture_output=True)


def can_mount(folder: Path) -> bool:
    """Whether this process may mount a tmpfs."""
    try:
        with small_disk(folder / "try", 64):
            return True
    except (OSError, subprocess.CalledProcessError):
        return False


def fill_disks(bench: Bench, count: int, draw: random.Random, tally: Tally) -> None:
    """Train and prepare on disks that are too small; when they have grown, the same command goes on."""
    used = sum(len(data) for data in contents(bench.run).values()) // 1024
    for number in range(count):
        place = bench.folder / f"disk-{number}"
        kilobytes = draw.randrange(8, round(used * 1.3))
        more = ["--tensorboard"] if number % 3 == 0 else []
        with small_disk(place, kilobytes) as remount:
            outcome = bench.train(place / "runs", None, *more)
            fault = outcome.fault or _lost_checkpoint(place / "runs")
            if fault is None and outcome.status == 2 and "No space left" not in outcome.output:
                fault = f"does not say that the disk is full: {outcome.output}"
            remount("size=64m")
            again = bench.train(place / "runs", None, *more)
            fault = fault or again.fault or (None if again.status == 0 else again.output)
            fault = fault or bench.differing(newest_run(place / "runs"))
        end = "clear error, then the same bits" if outcome.status else "it was large enough"
        tally.count("full disk, training", end, fault, f"{kilobytes} KiB")
    command = ["prepare", "toy", "--size", "32", "--count", "60", "--workers", "1"]
    expected = contents(bench.data)
    for number in range(count // 3):
        place = bench.folder / f"disk-prepare-{number}"
        kilobytes = draw.randrange(4, 300)
        with small_disk(place, kilobytes) as remount:
            outcome = attempt([*command, place / "faces"])
            remount("size=64m")
            again = attempt([*command, place / "faces"]) if outcome.status else outcome
            fault = outcome.fault or again.fault
            fault = fault or (None if contents(place / "faces") == expected else "another set came out")
        end = "clear error, then the same bytes" if outcome.status else "it was large enough"
        tally.count("full disk, prepare", end, fault, f"{kilobytes} KiB")


def read_only(bench: Bench, tally: Tally) -> None:
    """Every command that writes, into a folder that cannot be written."""
    place = bench.folder / "frozen"
    with small_disk(place, 65536) as remount:
        shutil.copytree(bench.run, place / "runs" / bench.run.name)
        shutil.copytree(bench.data, place / "faces")
        run = place / "runs" / bench.run.name
        remount("ro")
        commands: dict[str, list[object]] = {
            "train, new": ["train", bench.data, "--run-dir", place / "new", *TINY],
            "train, resumed": ["train", bench.data, "--run-dir", place / "runs", *TINY],
            "prepare": ["prepare", "toy", place / "set", "--count", "9", "--size", "16", "--workers", "1"],
            "merge": ["merge", place / "set", bench.data],
            "generate": ["generate", run, "--seeds", "0-3", "--out", place / "out"],
            "generate, grid": ["generate", run, "--seeds", "0-3", "--grid", place / "grid.png"],
            "pick": ["pick", run, "name", "--seeds", "0,1"],
            "interpolate": ["interpolate", run, "--seeds", "0,1", "--out", place / "walk.png"],
            "principal": ["principal", run],
            "info": ["info", run, "--verify"],
            "info, data": ["info", place / "faces", "--verify"],
        }
        for name, command in commands.items():
            outcome = attempt(command)
            fault = outcome.fault
            if fault is None and not name.startswith("info") and outcome.status != 2:
                fault = f"status {outcome.status}: {outcome.output}"
            tally.count("read-only folder", "done" if outcome.status == 0 else "clear error", fault, name)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--disks", type=int, default=30)
    parser.add_argument("--damage", type=int, default=600)
    parser.add_argument("--hostile", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS, help="parts of the harness")
    arguments = parser.parse_args()
    tally, draw, start = Tally(), random.Random(arguments.seed), time.monotonic()
    folder = Path(tempfile.mkdtemp(prefix="dcgan-faults-"))
    os.environ["DCGAN_CACHE"] = str(folder / "cache")
    try:
        bench = Bench(folder)
        if "kills" in arguments.only:
            kill_training(bench, arguments.kills, draw, tally)
            kill_prepare(bench, arguments.kills // 2, draw, tally)
        if "disks" in arguments.only and can_mount(folder):
            fill_disks(bench, arguments.disks, draw, tally)
            read_only(bench, tally)
        elif "disks" in arguments.only:
            print("full disks and read-only folders left out: a tmpfs cannot be mounted here", file=sys.stderr)
        if "damage" in arguments.only:
            damage.damage_files(bench, arguments.damage, draw, tally)
        if "hostile" in arguments.only:
            hostile.feed(folder, arguments.hostile, draw, tally)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    print(tally.table())
    print(f"\nseed {arguments.seed}, {(time.monotonic() - start) / 60:.1f} minutes, {len(tally.failures)} faults")
    print("\n".join(tally.failures))
    return 1 if tally.failures else 0


if __name__ == "__main__":
    sys.exit(main())
