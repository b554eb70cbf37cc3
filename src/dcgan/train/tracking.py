"""What a run tells: metrics.jsonl (the source of truth), TensorBoard, the plot, the sample grids, the terminal."""

from __future__ import annotations

import contextlib
import json
import os
import re
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from dcgan.animation import animate
from dcgan.checkpoint import told_as_errors, write_bytes, write_with
from dcgan.config import TrainConfig
from dcgan.errors import DcganError
from dcgan.images import Pixels, make_grid, save_image
from dcgan.train.run import METRICS_FILE

SECONDS_BETWEEN_LINES = 30.0
# Runs of all versions have them.
PLOTTED = ("discriminator_loss", "generator_loss", "d_real", "d_fake", "d_fake_updated")
KIMG_LABEL = "kimg (thousands of real images shown)"
_SAMPLE_NAME = re.compile(r"kimg-(\d+(?:\.\d+)?)\.png", re.ASCII)


class Tracker:
    """Writes into the run's folder, and shows progress on standard error."""

    def __init__(self, run: Path, config: TrainConfig, step: int, total_images: int) -> None:
        """`step` is where the run starts or goes on: whatever was written after it is cut away."""
        self.run = run
        self.animation = config.animation
        images = step * config.batch
        self._cut_back(step, images)
        with told_as_errors(run):
            self.metrics = (run / METRICS_FILE).open("a", encoding="utf-8")
        self.board = None
        if config.tensorboard:
            from torch.utils.tensorboard import SummaryWriter

            with told_as_errors(run):
                self.board = SummaryWriter(run / "tensorboard", purge_step=images + 1)
        self.bar = tqdm(
            total=total_images / 1000,
            initial=images / 1000,
            bar_format="{n:.1f}/{total:.1f} kimg |{bar:12}| {desc}{elapsed}, {remaining} left",
            disable=not sys.stderr.isatty(),
        )
        self.last_line = time.monotonic()

    def log(self, record: Mapping[str, Any]) -> None:
        """Append one line of figures, and show them."""
        with told_as_errors(self.run / METRICS_FILE):
            self.metrics.write(json.dumps(record) + "\n")
            self.metrics.flush()
            if self.board is not None:
                for name, value in record.items():
                    if name not in ("step", "kimg"):
                        self.board.add_scalar(name, value, round(record["kimg"] * 1000))
        text = (
            f"epoch {record['epoch']:.2f}, {record['images_per_second']:.0f} images/s, "
            f"loss D {record['discriminator_loss']:.3f} G {record['generator_loss']:.3f}, "
            f"D(x) {record['d_real']:.2f}, D(G(z)) {record['d_fake']:.2f} / {record['d_fake_updated']:.2f}"
        )
        self.bar.n = record["kimg"]
        self.bar.set_description_str(f"{text}, ")
        if self.bar.disable and time.monotonic() - self.last_line > SECONDS_BETWEEN_LINES:
            self.last_line = time.monotonic()
            self.say(f"{record['kimg']:.1f}/{self.bar.total:.1f} kimg, {text}")

    def log_evaluation(self, record: Mapping[str, Any]) -> None:
        """Append one line of quality figures, which lie under `evaluation`, and show them."""
        with told_as_errors(self.run / METRICS_FILE):
            self.metrics.write(json.dumps(record) + "\n")
            self.metrics.flush()
            if self.board is not None:
                for name, value in record["evaluation"].items():
                    self.board.add_scalar(f"evaluation/{name}", value, round(record["kimg"] * 1000))
        figures = ", ".join(f"{name} {value:.4g}" for name, value in record["evaluation"].items())
        self.say(f"{record['kimg']:.1f} kimg: {figures}")

    def evaluations(self) -> list[dict[str, Any]]:
        """The lines of quality figures so far."""
        return [record for record in read_metrics(self.run) if "evaluation" in record]

    def say(self, text: str) -> None:
        """Print a line above the progress bar."""
        tqdm.write(text, file=sys.stderr)

    def samples(self, kimg: float, pixels: Pixels, logits: Mapping[str, torch.Tensor]) -> None:
        """Keep a grid of uint8 samples N x H x W x C, and the discriminator's last logits as histograms."""
        grid = make_grid(pixels)
        save_image(self.run / "samples" / f"kimg-{sample_label(kimg)}.png", grid)
        if self.board is None:
            return
        with told_as_errors(self.run / "tensorboard"):
            at = round(kimg * 1000)
            self.board.add_image("samples", grid, at, dataformats="HWC")
            for name, values in logits.items():
                self.board.add_histogram(f"logits/{name}", values.float().cpu(), at)

    def summarise(self) -> None:
        """Bring the plot and the animation up to date, and everything written so far onto the disk."""
        with told_as_errors(self.run):
            os.fsync(self.metrics.fileno())
            if self.board is not None:
                self.board.flush()
        plot_losses(read_metrics(self.run), self.run / "losses.png")
        if evaluations := self.evaluations():
            plot_quality(evaluations, self.run / "quality.png")
        frames = [path for _, path in sample_grids(self.run)]
        if self.animation != "none" and frames:
            for frame in animate(self.run / f"progress.{self.animation}", frames):
                self.say(f"{frame} is damaged, and left out of the animation")

    def close(self) -> None:
        """Close the files and the bar."""
        self.bar.close()
        with contextlib.suppress(OSError):  # on a full disk, which was told, closing tries to write once more
            self.metrics.close()
            if self.board is not None:
                self.board.close()

    def _cut_back(self, step: int, images: int) -> None:
        """Drop the lines and samples that a stopped run wrote after the checkpoint it goes on from."""
        path = self.run / METRICS_FILE
        if path.exists():
            kept = [record for record in read_metrics(self.run) if record["step"] <= step]
            write_bytes(path, "".join(json.dumps(record) + "\n" for record in kept).encode())
        for kimg, path in sample_grids(self.run):
            if kimg * 1000 > images:
                path.unlink()


def sample_label(kimg: float) -> str:
    """kimg as it stands in the name of a sample grid: 000200, or 000000.500 where it is no whole number."""
    return f"{kimg:06.0f}" if float(kimg).is_integer() else f"{kimg:010.3f}"


def sample_grids(run: Path) -> list[tuple[float, Path]]:
    """A run's sample grids, each after its kimg, the earliest first; pictures of other names are not its own."""
    named = ((_SAMPLE_NAME.fullmatch(path.name), path) for path in (run / "samples").glob("kimg-*.png"))
    return sorted((float(match[1]), path) for match, path in named if match)


def read_metrics(run: Path) -> list[dict[str, Any]]:
    """The records of a run's metrics.jsonl; a last line cut short by a kill is left out.

    Raises `DcganError` that names the line if any other is damaged.
    """
    path = run / METRICS_FILE
    try:
        *lines, _ = path.read_bytes().split(b"\n")
    except OSError as error:
        raise DcganError(f"cannot read {path}: {error.strerror or error}") from error
    records = []
    for number, line in enumerate(lines, 1):
        record = _parsed(line)
        if record is None:
            raise DcganError(f"{path}, line {number}, is damaged: mend that line, or remove it")
        records.append(record)
    return records


def _parsed(line: bytes) -> dict[str, Any] | None:
    """A line of metrics.jsonl; None if it is not whole."""
    try:
        record = json.loads(line)
        numbers = [record[name] for name in ("step", "kimg", "epoch", "seconds")]
        figures = record.get("evaluation")
        numbers += [record[name] for name in PLOTTED] if figures is None else figures.values()
        if figures == {}:
            return None
    except (ValueError, TypeError, KeyError, AttributeError):
        return None
    is_whole = all(isinstance(number, (int, float)) for number in numbers)
    return record if is_whole and isinstance(record["step"], int) else None


def plot_losses(records: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Plot both losses, and the discriminator's mean outputs, over kimg into the PNG `path`."""
    from matplotlib.figure import Figure

    records = [record for record in records if "evaluation" not in record]
    figure = Figure(figsize=(9, 6.5), layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True)
    kimg = [record["kimg"] for record in records]

    def curve(axes: Any, name: str, label: str) -> None:
        axes.plot(kimg, [record[name] for record in records], label=label, linewidth=1)

    curve(above, "discriminator_loss", "discriminator")
    curve(above, "generator_loss", "generator")
    above.set_ylabel("loss")
    curve(below, "d_real", "D(x), real images")
    curve(below, "d_fake", "D(G(z)), before D's step")
    curve(below, "d_fake_updated", "D(G(z)), after D's step")
    below.set(ylabel="mean of sigmoid(logit)", xlabel=KIMG_LABEL, ylim=(-0.02, 1.02))
    for axes in (above, below):
        axes.grid(alpha=0.3)
        axes.legend(loc="center right")
    write_with(path, lambda temporary: figure.savefig(temporary, dpi=100))


def plot_quality(records: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Plot each figure of the evaluations over kimg into the PNG `path`, one below the other.

    Those of a run that was resumed with another extractor have not all the same figures.
    """
    from matplotlib.figure import Figure

    names = list(dict.fromkeys(name for record in records for name in record["evaluation"]))
    figure = Figure(figsize=(9, 2.2 * len(names)), layout="constrained")
    for axes, name in zip(figure.subplots(len(names), 1, sharex=True, squeeze=False)[:, 0], names, strict=True):
        points = [(record["kimg"], record["evaluation"][name]) for record in records if name in record["evaluation"]]
        axes.plot(*zip(*points, strict=True), marker=".", linewidth=1)
        axes.set_ylabel(name)
        axes.grid(alpha=0.3)
    axes.set_xlabel(KIMG_LABEL)
    write_with(path, lambda temporary: figure.savefig(temporary, dpi=100))
