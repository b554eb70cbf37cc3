"""A run's folder as the page shows it, read afresh as the run goes on."""

from __future__ import annotations

import json
import math
import os
import threading
import time
from pathlib import Path
from typing import Any

from dcgan.checkpoint import read_json
from dcgan.config import DEFAULT_KIMG
from dcgan.errors import DcganError
from dcgan.images import GRID_GAP, grid_columns
from dcgan.train.run import CONFIG_FILE, METRICS_FILE
from dcgan.train.tracking import sample_grids

MOST_POINTS = 800
"""Of a curve; more are thinned evenly."""
_CURVES = ("discriminator_loss", "generator_loss", "d_real", "d_fake", "d_fake_updated", "images_per_second")
_SETTINGS = (
    "preset", "size", "channels", "batch", "latent_size", "generator_width", "discriminator_width",
    "generator_lr", "discriminator_lr", "ema_kimg", "seed",
)  # fmt: skip


def find_run(model: Path) -> Path | None:
    """The run that a model file, a run's folder or a checkpoint's folder belongs to, if it lies in one."""
    for folder in (model, *list(model.resolve().parents)[:3]):
        if folder.is_dir() and (folder / CONFIG_FILE).is_file() and (folder / METRICS_FILE).is_file():
            return folder
    return None


class Run:
    """One run; may be asked from several threads."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        self._offset = self._inode = 0
        self._losses: list[dict[str, Any]] = []
        self._evaluations: list[dict[str, Any]] = []

    def state(self) -> dict[str, Any]:
        """All that the page shows but the sample grids themselves, JSON-able."""
        with self._lock:
            self._read_on()
            losses, evaluations = list(self._losses), list(self._evaluations)
        config = read_json(self.path / CONFIG_FILE)
        if not isinstance(config, dict):
            raise DcganError(f"{self.path / CONFIG_FILE} is damaged: it holds no settings of a run")
        last = losses[-1] if losses else {}
        shown = losses[:: math.ceil(len(losses) / MOST_POINTS)] if losses else []
        if losses and shown[-1] is not last:
            shown.append(last)
        return {
            "name": self.path.name,
            "status": self._status(losses, config),
            "kimg": last.get("kimg", 0),
            "total_kimg": _total(config, last),
            "epoch": last.get("epoch"),
            "seconds": last.get("seconds"),
            "images_per_second": last.get("images_per_second"),
            "settings": {"data": Path(str(config.get("data"))).name}
            | {name: config[name] for name in _SETTINGS if config.get(name) is not None},
            "curves": {name: [_number(record.get(name)) for record in shown] for name in ("kimg", *_CURVES)},
            "figures": self._figures(evaluations),
            "samples": [{"label": _label(path), "kimg": kimg} for kimg, path in sample_grids(self.path)],
            "grid": _grid(config),
        }

    def sample(self, label: str) -> Path:
        """The sample grid called `label`, which must be one of `state()`'s: it is looked up, never opened by name."""
        for _, path in sample_grids(self.path):
            if _label(path) == label:
                return path
        raise DcganError(f"the run has no sample grid {label[:40]!r}")

    def _read_on(self) -> None:
        """Take in the lines added since the last time, and leave out those that say nothing.

        A run that is resumed may cut lines away, and puts another file in this one's place.
        """
        with (self.path / METRICS_FILE).open("rb") as file:
            status = os.fstat(file.fileno())
            if status.st_ino != self._inode or status.st_size < self._offset:
                self._offset, self._losses, self._evaluations = 0, [], []
            self._inode = status.st_ino
            file.seek(self._offset)
            for line in file:
                if not line.endswith(b"\n"):  # half written
                    break
                self._offset += len(line)
                try:
                    record = json.loads(line)
                except ValueError:
                    continue
                if not isinstance(record, dict) or _number(record.get("kimg")) is None:
                    continue
                if "evaluation" not in record:
                    self._losses.append(record)
                elif isinstance(record["evaluation"], dict):
                    self._evaluations.append(record)

    def _status(self, losses: list[dict[str, Any]], config: dict[str, Any]) -> str:
        """finished, training (something was written lately, as often as this run writes) or stopped."""
        total = _total(config, losses[-1]) if losses else None
        if total is not None and losses[-1].get("kimg", 0) >= total - config.get("log_every", 1.0):
            return "finished"
        quiet = time.time() - (self.path / METRICS_FILE).stat().st_mtime
        usual = losses[-1]["seconds"] / len(losses) if losses and "seconds" in losses[-1] else 0.0
        return "training" if quiet < max(60.0, 5 * usual) else "stopped"

    @staticmethod
    def _figures(evaluations: list[dict[str, Any]]) -> dict[str, list[float | None]]:
        """Each figure's values over kimg."""
        if not evaluations:
            return {}
        names = list(evaluations[-1]["evaluation"])
        kimg = [_number(record["kimg"]) for record in evaluations]
        return {"kimg": kimg, **{n: [_number(r["evaluation"].get(n)) for r in evaluations] for n in names}}


def _label(grid: Path) -> str:
    """What the page calls a sample grid."""
    return grid.stem.removeprefix("kimg-")


def _total(config: dict[str, Any], last: dict[str, Any]) -> float | None:
    """The kimg at which the run ends, where it can be told."""
    if config.get("kimg") is not None:
        return float(config["kimg"])
    if config.get("epochs") is None:
        return DEFAULT_KIMG
    return float(f"{config['epochs'] * last['kimg'] / last['epoch']:.3g}") if last.get("epoch") else None


def _grid(config: dict[str, Any]) -> dict[str, int]:
    """Where the images of a sample grid lie, as `make_grid` places them."""
    count = config.get("sample_count") or 64
    return {"count": count, "columns": grid_columns(count), "size": config.get("size") or 64, "gap": GRID_GAP}


def _number(value: object) -> float | None:
    """To six digits; None for what JSON cannot hold."""
    if not isinstance(value, (int, float)) or not math.isfinite(value):
        return None
    return float(f"{value:.6g}")
