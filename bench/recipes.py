"""Which recipe gives the best faces for the time: the comparison of docs/recipes.md.

    python bench/recipes.py run ../shared/data/celeba-13k.zip recipes --minutes 60 --seeds 3 --only paper relativistic
    python bench/recipes.py table recipes

`run` trains every recipe for as many minutes of training (evaluations do not count) and as many seeds, one run after
another, each judged every `--every` kimg; `--kimg` gives all the same number of images in place of the same time. It
goes on where it stopped: call it again, or give it `--budget` minutes at a time. `table` writes `table.md` and
`recipes.png` of whatever has been trained so far.
Give each run the same cores (OMP_NUM_THREADS, taskset), and nothing beside it.
"""

from __future__ import annotations

import argparse
import itertools
import multiprocessing
import os
import signal
import statistics
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from levers import LEVERS
from matplotlib.figure import Figure

from dcgan.checkpoint import read_json, write_bytes, write_json, write_with
from dcgan.config import PRESETS, TrainConfig
from dcgan.data import open_data
from dcgan.evaluate import QuickEvaluator, load_extractor
from dcgan.train.loop import Trainer
from dcgan.train.run import checkpoints
from dcgan.train.state import read_raw_generator
from dcgan.train.tracking import read_metrics

RELATIVISTIC = dict(PRESETS["relativistic"])
RECIPES: dict[str, dict[str, Any]] = {
    "paper": {"preset": "paper"},
    "paper-batch-32": {"preset": "paper", "batch": 32},
    "paper-hinge": {"preset": "paper", "batch": 32, "loss": "hinge"},
    "paper-least-squares": {"preset": "paper", "batch": 32, "loss": "least_squares"},
    "relativistic": RELATIVISTIC,
    # One lever of it at a time.
    "batch-16": {**RELATIVISTIC, "batch": 16},
    "batch-64": {**RELATIVISTIC, "batch": 64},
    "rates-halved": {**RELATIVISTIC, "generator_lr": 5e-4, "discriminator_lr": 1.25e-4},
    "rates-doubled": {**RELATIVISTIC, "generator_lr": 2e-3, "discriminator_lr": 5e-4},
    "discriminator-5e-4": {**RELATIVISTIC, "discriminator_lr": 5e-4},
    "both-5e-4": {**RELATIVISTIC, "generator_lr": 5e-4, "discriminator_lr": 5e-4},
    "both-5e-4-cosine": {**RELATIVISTIC, "generator_lr": 5e-4, "discriminator_lr": 5e-4, "lr_decay": "cosine"},
    "beta1-0.5": {**RELATIVISTIC, "beta1": 0.5, "beta2": 0.999},
    "gamma-0.1": {**RELATIVISTIC, "gradient_penalty": 0.1},
    "gamma-10": {**RELATIVISTIC, "gradient_penalty": 10.0},
    "penalty-each-4": {**RELATIVISTIC, "penalty_every": 4},
    "penalty-each-16": {**RELATIVISTIC, "penalty_every": 16},
    "diffaug": {**RELATIVISTIC, "augment": "diffaug"},
    "bce": {**RELATIVISTIC, "loss": "bce"},
    "hinge": {**RELATIVISTIC, "loss": "hinge"},
    "transposed": {**RELATIVISTIC, "upsampling": "transposed"},
    "narrow": {**RELATIVISTIC, "generator_width": 48, "discriminator_width": 48},
    "wide": {**RELATIVISTIC, "generator_width": 96, "discriminator_width": 96},
    "wide-generator": {**RELATIVISTIC, "generator_width": 96},
    "wide-discriminator": {**RELATIVISTIC, "discriminator_width": 96},
    **dict.fromkeys(LEVERS, RELATIVISTIC),  # with what bench/levers.py changes
}
MINUTES = (2, 5, 10, 20, 30, 60, 90, 120)
KIMG = (20, 40, 60, 80, 100, 150, 200, 250, 300, 400, 500, 600, 700, 800, 1000)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    run = commands.add_parser("run")
    run.add_argument("data")
    run.add_argument("out", type=Path)
    run.add_argument("--only", nargs="+", default=list(RECIPES), choices=RECIPES, help="recipes to train (all)")
    run.add_argument("--minutes", type=float, default=20.0, help="of training, for each run")
    run.add_argument("--kimg", type=float, help="train each so far, however long it takes")
    run.add_argument("--seeds", type=int, default=1)
    run.add_argument("--every", type=float, default=20.0, help="kimg from one evaluation to the next")
    run.add_argument("--budget", type=float, default=float("inf"), help="minutes after which to stop, and save")
    commands.add_parser("table").add_argument("out", type=Path)
    arguments = parser.parse_args()
    if arguments.command == "run":
        end = time.monotonic() + 60 * arguments.budget
        for seed in range(arguments.seeds):
            for name in arguments.only:
                train(arguments, name, seed, end)
    write_table(arguments.out)


def train(arguments: argparse.Namespace, name: str, seed: int, end: float) -> None:
    """Train one recipe to its end, or until the budget is spent."""
    run_name = f"{name}-seed{seed}"
    plan = arguments.out / f"{run_name}.json"
    if not plan.exists():  # the rates fall over the whole run, so its length is fixed at the start
        kimg = arguments.kimg or kimg_in(arguments.minutes, arguments.data, name)
        settings = {"kimg": kimg, "evaluate_every": arguments.every}
        write_json(plan, {**RECIPES[name], **settings, "seed": seed, "tensorboard": False})
    if (left := end - time.monotonic()) < 60:
        return
    common = ["--config", str(plan), "--run-dir", str(arguments.out), "--name", run_name, "--resume", "auto"]
    program = [str(Path(__file__).with_name("levers.py")), name] if name in LEVERS else ["-m", "dcgan"]
    process = subprocess.Popen([sys.executable, *program, "train", arguments.data, *common], env=os.environ)
    try:
        process.wait(None if left == float("inf") else left)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGTERM)  # which saves
        process.wait()


def kimg_in(minutes: float, data: str, name: str) -> int:
    """Thousands of images that a recipe trains on in so many minutes."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:  # as levers change their process for good
        return round(minutes * 60 * pool.apply(images_per_second, (data, name)) / 1000)


def images_per_second(data: str, name: str, steps: int = 24) -> float:
    """How fast a recipe trains, over whole turns of its penalty."""
    if name in LEVERS:
        LEVERS[name]()
    packed = open_data(data)
    shape = {"size": packed.size, "channels": packed.channels}
    config = TrainConfig(**{**RECIPES[name], **shape, "data": data, "augment": "none"})
    trainer = Trainer(config, packed, Path(), torch.device("cpu"))
    for _ in range(8):
        trainer.train_step()
    start = time.perf_counter()
    for _ in range(steps):
        trainer.train_step()
    return steps * config.batch / (time.perf_counter() - start)


def write_table(out: Path) -> None:
    """Write the tables, a row a recipe (mean over seeds, and their spread), and the plot."""
    runs: dict[str, list[Path]] = defaultdict(list)
    for path in sorted(out.glob("[0-9]*-seed*/metrics.jsonl")):
        if curve(path.parent, "seconds"):
            runs[path.parent.name[6:].rpartition("-seed")[0]].append(path.parent)
    figure = Figure(figsize=(9, 6), layout="constrained")
    axes = figure.subplots()
    for number, (name, folders) in enumerate(runs.items()):
        for folder in folders:
            points = [(seconds / 60, distance) for seconds, distance in curve(folder, "seconds")]
            axes.plot(*zip(*points, strict=True), marker=".", linewidth=1, label=name, color=f"C{number}")
    handles = dict(zip(*reversed(axes.get_legend_handles_labels()), strict=True))
    axes.legend(handles.values(), handles)
    axes.set(xlabel="minutes of training", ylabel="FD-efficientnet-lite0", yscale="log")
    axes.grid(alpha=0.3, which="both")
    tables = f"{table(runs, 'kimg', 1, KIMG)}\n{table(runs, 'seconds', 60, MINUTES)}"
    write_bytes(out / "table.md", tables.encode())
    write_with(out / "recipes.png", lambda temporary: figure.savefig(temporary, dpi=100, format="png"))
    print(tables)


def table(runs: dict[str, list[Path]], unit: str, scale: float, columns: Sequence[int]) -> str:
    """Distances after so much of `unit`, the best of them and when it was, for each recipe that came to a column."""
    curves = {name: [curve(folder, unit) for folder in folders] for name, folders in runs.items()}
    reached = {
        name: [[at(points, scale * column) for points in found] for column in columns] for name, found in curves.items()
    }
    used = [i for i in range(len(columns)) if any(value is not None for row in reached.values() for value in row[i])]
    label = {"kimg": "kimg", "seconds": "min"}[unit]
    heads = ["recipe", "seeds", "images/s", *(f"{columns[i]} {label}" for i in used), "best", "at", "raw, at the end"]
    rows = [heads, ["---"] * len(heads)]
    for name, folders in runs.items():
        best = [min((distance, so_far) for so_far, distance in points) for points in curves[name]]
        rows.append(
            [
                name,
                str(len(folders)),
                f"{statistics.median(speed for folder in folders for speed in speeds(folder)):.0f}",
                *(spread([value for value in reached[name][i] if value is not None]) for i in used),
                spread([distance for distance, _ in best]),
                f"{statistics.mean(so_far for _, so_far in best) / scale:.0f} {label}",
                spread([raw_distance(folder) for folder in folders if checkpoints(folder) and name not in LEVERS]),
            ]
        )
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def curve(run: Path, unit: str) -> list[tuple[float, float]]:
    """Kimg or seconds of training, and the Frechet distance of the averaged generator then."""
    lines = [line for line in read_metrics(run) if "evaluation" in line]
    return [(line[unit], next(iter(line["evaluation"].values()))) for line in lines]


def speeds(run: Path) -> list[float]:
    """Images a second, at each line of the run's figures."""
    return [line["images_per_second"] for line in read_metrics(run) if "epoch" in line and "images_per_second" in line]


def at(points: list[tuple[float, float]], wanted: float) -> float | None:
    """The distance there, between the evaluations before and after it; None where the run had not come to."""
    for (start, before), (end, after) in itertools.pairwise([*points[:1], *points]):
        if start <= wanted <= end:
            return before + (after - before) * (wanted - start) / ((end - start) or 1)
    return None


def raw_distance(run: Path) -> float:
    """The distance of the last checkpoint's raw weights, measured once and kept."""
    checkpoint = checkpoints(run)[-1]

    def measure() -> dict[str, float]:
        data = open_data(read_json(run / "config.json")["data"])
        evaluator = QuickEvaluator(data, load_extractor("efficientnet-lite0", torch.device("cpu")), 2000)
        return evaluator(read_raw_generator(checkpoint))

    return measured_once(run / f"raw-{checkpoint.name}.json", measure)


def measured_once(kept: Path, measure: Callable[[], dict[str, float]]) -> float:
    """The first of what is measured, now or by an earlier call that kept it."""
    if not kept.exists():
        write_json(kept, measure())
    return float(next(iter(read_json(kept).values())))


def spread(values: list[float]) -> str:
    """The mean, and the least and most of several."""
    if not values:
        return ""
    mean = f"{statistics.mean(values):.0f}"
    return mean if len(values) == 1 else f"{mean} ({min(values):.0f} to {max(values):.0f})"


if __name__ == "__main__":
    main()
