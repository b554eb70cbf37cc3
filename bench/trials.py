"""Trials for `faults.py`: a command run in a fork, how it ended, what a run must be like afterwards, and the count.

Every trial is a fork of this process, which imported torch once.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib.backends.backend_agg
import matplotlib.figure
import numpy as np
import torch._dynamo
import torch.utils.tensorboard
import tyro

import dcgan.cli
from dcgan.checkpoint import load_tensors
from dcgan.images import save_image
from dcgan.train import tracking
from dcgan.train.run import checkpoints

# What a command imports when it first needs it, so that no fork has to; this uses the names.
WARM = (matplotlib.figure, matplotlib.backends.backend_agg, torch._dynamo, torch.utils.tensorboard, tyro)
SECONDS = 120.0
"""An attempt that takes longer hangs."""
TIMES = ("seconds", "images_per_second")
TINY = (
    *("--batch", "8", "--generator-width", "4", "--discriminator-width", "4", "--latent-size", "8", "--kimg", "0.08"),
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
