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
import dataclasses
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import matplotlib.backends.backend_agg
import matplotlib.figure
import numpy as np
import torch._dynamo
import torch.utils.tensorboard
import tyro

import dcgan.cli
from dcgan.checkpoint import load_tensors
from dcgan.errors import DcganError
from dcgan.images import save_image
from dcgan.train import tracking
from dcgan.train.run import checkpoints
from dcgan.train.state import check_checkpoint

# What a command imports when it first needs it, so that no fork has to; this uses the names.
WARM = (matplotlib.figure, matplotlib.backends.backend_agg, torch._dynamo, torch.utils.tensorboard, tyro)
PARTS = ("kills", "disks", "damage", "hostile")
SECONDS = 120.0
"""An attempt that takes longer hangs."""
TIMES = ("seconds", "images_per_second")
TINY = (
    *("--batch", "8", "--generator-width", "4", "--discriminator-width", "4", "--latent-size", "8", "--kimg", "0.08"),
    *("--lr-decay", "none"),  # a run that was stopped early must be the beginning of a longer one
    *("--log-every", "0.02", "--sample-every", "0.04", "--sample-count", "4", "--checkpoint-every", "0.024"),
    *("--no-tensorboard", "--device", "cpu", "--name", "tiny", "--resume", "auto"),
)


@dataclasses.dataclass
class Outcome:
    """How a command ended."""

    status: int
    """Exit status; minus the signal's number if one ended it."""
    output: str
    """All that it printed."""
    hung: bool
    seconds: float
    megabytes: float
    """Peak of its memory."""

    @property
    def fault(self) -> str | None:
        """What is wrong with any command that ends so; None if it is done, or stopped with one clear line."""
        if self.hung:
            return "hang"
        if "Traceback" in self.output:
            return "traceback: " + self.output.strip().splitlines()[-1]
        if self.status < 0 and -self.status not in (signal.SIGKILL, signal.SIGTERM):
            return f"died of {signal.Signals(-self.status).name}"
        if self.status == 2 and not self.output.strip().rpartition("\n")[2].startswith("dcgan: "):
            return f"no clear line at the end: {self.output[-200:]!r}"
        return None if self.status in (0, 2, 130, 143, -signal.SIGKILL, -signal.SIGTERM) else f"status {self.status}"


class Tally:
    """Counts what was tried and what survived, and keeps what did not."""

    def __init__(self) -> None:
        self.tried: Counter[str] = Counter()
        self.ends: dict[str, Counter[str]] = {}
        self.failures: list[str] = []

    def count(self, section: str, end: str, fault: str | None, what: str) -> None:
        """One trial of `section`: how it ended, and what was wrong with that, if anything."""
        self.tried[section] += 1
        self.ends.setdefault(section, Counter())[end if fault is None else "FAULT"] += 1
        if fault is not None:
            self.failures.append(f"{section}: {what}: {fault}")
            print(f"FAULT {self.failures[-1]}", file=sys.stderr, flush=True)

    def table(self) -> str:
        """A row for each section, in Markdown."""
        rows = ["| what | tried | survived | how it ended |", "|---|---:|---:|---|"]
        for section, tried in self.tried.items():
            ends = ", ".join(f"{end}: {count}" for end, count in self.ends[section].most_common())
            rows.append(f"| {section} | {tried:,} | {tried - self.ends[section]['FAULT']:,} | {ends} |")
        return "\n".join(rows)


def attempt(
    arguments: Sequence[object], stop: tuple[float, signal.Signals] | None = None, seconds: float = SECONDS
) -> Outcome:
    """Run a command of the command line in a fork; `stop` sends it a signal after so many seconds."""
    with tempfile.TemporaryFile() as log:
        start = time.monotonic()
        process = os.fork()
        if process == 0:
            _run([str(argument) for argument in arguments], log.fileno())
        hung, status, usage = False, None, None
        while status is None:
            done, code, usage = os.wait4(process, os.WNOHANG)
            elapsed = time.monotonic() - start
            if done:
                status = os.waitstatus_to_exitcode(code)
            elif stop is not None and elapsed > stop[0]:
                os.kill(process, stop[1])
                stop = None
            elif elapsed > seconds and not hung:
                hung = True
                os.kill(process, signal.SIGKILL)
            else:
                time.sleep(0.003)
        log.seek(0)
        output = log.read().decode(errors="replace")
    assert usage is not None
    return Outcome(status, output, hung, time.monotonic() - start, usage.ru_maxrss / 1024)


def _run(arguments: list[str], log: int) -> None:
    """In the fork: the command, and nothing after it."""
    os.dup2(log, 1)
    os.dup2(log, 2)
    sys.stdout = sys.stderr = open(log, "w", buffering=1, encoding="utf-8", errors="replace", closefd=False)  # noqa: SIM115
    status = 70
    try:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        status = dcgan.cli.main(arguments)
    except SystemExit as ending:
        status = ending.code if isinstance(ending.code, int) else 1
    except BaseException:
        traceback.print_exc()
    finally:
        with contextlib.suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(status)


def everything(run: Path, figures: bool = True) -> dict[str, Any]:
    """All that an exact resume must give back: weights and moments, and with `figures` the metrics and pictures."""
    newest = checkpoints(run)[-1]
    tensors = {
        name: {key: tensor.numpy().tobytes() for key, tensor in load_tensors(path)[0].items()}
        for name, path in {
            "model": newest / "model.safetensors",
            "training": newest / "training.safetensors",
            "published": run / "model.safetensors",
        }.items()
    }
    if not figures:
        return {"step": newest.name, **tensors}
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    metrics = [{key: value for key, value in line.items() if key not in TIMES} for line in lines]
    samples = {path.name: path.read_bytes() for path in (run / "samples").iterdir()}
    return {"step": newest.name, **tensors, "figures": metrics, "samples": samples}


def newest_run(folder: Path) -> Path:
    return sorted(folder.glob("[0-9]*-tiny"))[-1]


class Bench:
    """What all trials start from: a small data set, and a run that nothing befell."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.data = folder, folder / "faces"
        # The plots are most of so short a run's time: a stand-in draws them.
        tracking.plot_losses = lambda records, path: save_image(path, np.zeros((9, 9, 3), np.uint8))
        prepared = attempt(["prepare", "toy", self.data, "--size", "32", "--count", "60", "--workers", "1"])
        trained = attempt(["train", self.data, "--run-dir", folder / "whole", *TINY])
        if prepared.status or trained.status:
            raise SystemExit(prepared.output + trained.output)
        self.run, self.duration = newest_run(folder / "whole"), trained.seconds
        self.whole = everything(self.run)

    def train(self, run_dir: Path, stop: tuple[float, signal.Signals] | None = None, *more: str) -> Outcome:
        return attempt(["train", self.data, "--run-dir", run_dir, *TINY, *more], stop)

    def differing(self, run: Path, figures: bool = True) -> str | None:
        """What a finished run has that the untouched one has not; None if they are the same, bit for bit."""
        found = everything(run, figures)
        wrong = [key for key, value in found.items() if value != self.whole[key]]
        return f"{', '.join(wrong)} differ from those of a run never stopped" if wrong else None


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
    from dcgan.data import writer

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
    import damage
    import hostile

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
