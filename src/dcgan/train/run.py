"""Run folders: numbered, never overwritten, locked while a run writes into them."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path
from typing import IO

from dcgan.checkpoint import told_as_errors, write_with
from dcgan.config import TrainConfig
from dcgan.errors import DcganError
from dcgan.model_file import MODEL_FILE
from dcgan.train.state import BEST_FILE, STATE_FILE

CONFIG_FILE = "config.json"
METRICS_FILE = "metrics.jsonl"


def run_name(config: TrainConfig) -> str:
    """The name a run's folder ends in: `--name`, or the data set and the preset."""
    if config.name is not None:
        return config.name
    stem = Path(config.data.rstrip("/")).name.split(".")[0] or "data"
    return re.sub(r"[^\w.-]+", "-", f"{stem}-{config.preset}")


def new_run(run_dir: Path, name: str) -> Path:
    """Create the next numbered folder, such as `runs/00003-celeba-paper`; safe when several runs start at once."""
    with told_as_errors(run_dir):
        run_dir.mkdir(parents=True, exist_ok=True)
        while True:
            taken = [int(path.name[:5]) for path in run_dir.glob("[0-9]" * 5 + "-*")]
            path = run_dir / f"{max(taken, default=-1) + 1:05d}-{name}"
            try:
                path.mkdir()
            except FileExistsError:  # another run has just taken that number
                continue
            return path


def find_run(run_dir: Path, name: str) -> Path | None:
    """The newest run of this name that has a checkpoint to go on from, or None."""
    runs = sorted(path for path in run_dir.glob("[0-9]" * 5 + "-*") if path.name[6:] == name and checkpoints(path))
    return runs[-1] if runs else None


def checkpoints(run: Path) -> list[Path]:
    """The complete checkpoints of a run, oldest first; folders of other names, such as copies, are not its own."""
    complete = (path.parent for path in (run / "checkpoints").glob(f"*/{STATE_FILE}"))
    return sorted((path for path in complete if re.fullmatch("[0-9]+", path.name)), key=lambda path: int(path.name))


def lock(run: Path) -> IO[str]:
    """Hold `run` for this process until the returned file is closed or the process ends, however it ends.

    Raises `DcganError` if another process holds it.
    """
    with told_as_errors(run / ".lock"):
        file = (run / ".lock").open("w")
    try:
        if os.name == "posix":
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        file.close()
        raise DcganError(f"{run} is being written by another process: wait for it, or start a new run") from error
    return file


def restore_best(checkpoint: Path, run: Path) -> None:
    """Take the best model back to what it was at a checkpoint: later ones were not reached yet."""
    with told_as_errors(run / BEST_FILE):
        (run / BEST_FILE).unlink(missing_ok=True)
    if (checkpoint / BEST_FILE).exists():
        write_with(run / BEST_FILE, lambda temporary: shutil.copyfile(checkpoint / BEST_FILE, temporary))


def publish(checkpoint: Path, run: Path, keep: int, healthy_step: int) -> None:
    """Make a new checkpoint's model the run's own; delete all but the newest `keep` checkpoints.

    The newest one up to `healthy_step` stays too: it is where a run goes back to from a collapse.
    """
    write_with(run / MODEL_FILE, lambda temporary: shutil.copyfile(checkpoint / MODEL_FILE, temporary))
    healthy = [path for path in checkpoints(run) if int(path.name) <= healthy_step]
    for old in checkpoints(run)[:-keep]:
        if old in healthy[-1:]:
            continue
        with told_as_errors(old):
            (old / STATE_FILE).unlink()  # first: half a checkpoint must not pass for one
            shutil.rmtree(old)
