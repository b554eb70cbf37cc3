"""End to end beside what else trains a DCGAN: speed, memory, time to the first sample, quality after the same minutes.

    python bench/peers.py ../shared/data/celeba-13k.zip peers --minutes 30

Each contender is a process of its own, and they train in turns of `--turn` seconds while the others rest, so that
ratios mean something on a shared machine. All train 64x64 faces; writes `peers/table.md`, `peers/peers.png` and the
first and last faces of each.

- dcgan: the default recipe of `dcgan train`, which needs no choice of the user.
- dcgan-paper: its `paper` preset: the networks, batch, rates and loss of the reference.
- reference: the public PyTorch DCGAN example (bench/reference.py), on an unpacked folder.
- torchgan: that library's own DCGAN networks, losses and train_ops, with its tutorial's settings, on the reference's
  batches. Needs `pip install --no-deps torchgan`; left out where that is missing. torchvision, of which torchgan
  takes grids for its logs, is left out where it does not import.

*First sample* is seconds from the start of the process, on images that it has not seen before, to a grid of faces on
the disk after one step. *Memory* is the most that the process and its workers held after any turn (proportional set
size). *Distance* is the Frechet distance of 2,000 faces to 2,000 training images on EfficientNet-Lite0 features
(docs/evaluation.md), the same for all; of the averaged weights where a contender has them; the others draw faces with
batch statistics, as the example does. The distances of other real images, once as `prepare` and once as the reference
decodes them, say how far 0 is from perfect, and whether the judge prefers one way of decoding.
"""

from __future__ import annotations

import argparse
import dataclasses
import importlib
import importlib.util
import multiprocessing
import os
import statistics
import sys
import tempfile
import time
import types
import zipfile
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

# Each contender's process imports this file, and is timed from its start: what only some need, they import themselves.
import numpy as np
import torch
from reference import BATCH, LATENT, JpegFolder, Reference, endless

from dcgan.images import Pixels, make_grid, save_image, to_pixels

if TYPE_CHECKING:
    from dcgan.evaluate import QuickEvaluator

CPU = torch.device("cpu")


class Contender(Protocol):
    """One way to train."""

    batch: int

    def step(self) -> None:
        """Train on one batch."""

    def plan(self, images: int) -> None:
        """Be told about how many images it will see, before it trains."""

    def sample(self, count: int) -> Pixels:
        """Faces, uint8 N x H x W x C."""


class Ours:
    """`dcgan train`, without its logs and checkpoints."""

    def __init__(self, archive: str, preset: str | None = None) -> None:
        from dcgan.config import DEFAULT_PRESET, TrainConfig
        from dcgan.data import open_data
        from dcgan.train.loop import Trainer

        data = open_data(archive, size=64)
        config = TrainConfig.from_preset(preset or DEFAULT_PRESET, size=64, channels=data.channels, data=archive)
        if config.augment == "auto":  # for minutes on thousands of images
            config = dataclasses.replace(config, augment="none")
        self.batch = config.batch
        self.trainer = Trainer(config, data, Path(), CPU)

    def step(self) -> None:
        self.trainer.train_step()

    def plan(self, images: int) -> None:
        self.trainer.total_images = images

    def sample(self, count: int) -> Pixels:
        return self.trainer.state.average.sample(range(count))


class Example:
    """The public example."""

    batch = BATCH

    def __init__(self, folder: Path) -> None:
        self.loop = Reference(folder)

    def step(self) -> None:
        self.loop.step()

    def plan(self, images: int) -> None:
        """It has no schedule."""

    def sample(self, count: int) -> Pixels:
        return drawn(self.loop.generator, latents(count)[:, :, None, None])


class TorchGan:
    """torchgan's own DCGAN, as its tutorial trains it."""

    batch = BATCH

    def __init__(self, folder: Path) -> None:
        try:
            importlib.import_module("torchvision")
        except Exception:  # built for another torch, it raises whatever it likes
            sys.modules["torchvision"] = types.ModuleType("torchvision")
        from torchgan.losses import MinimaxDiscriminatorLoss, MinimaxGeneratorLoss
        from torchgan.models import DCGANDiscriminator, DCGANGenerator

        self.generator = DCGANGenerator(encoding_dims=LATENT, out_size=64, out_channels=3, step_channels=64)
        self.discriminator = DCGANDiscriminator(in_size=64, in_channels=3, step_channels=64)
        self.of_generator, self.of_discriminator = (
            torch.optim.Adam(network.parameters(), 2e-4, betas=(0.5, 0.999))
            for network in (self.generator, self.discriminator)
        )
        self.generator_loss, self.discriminator_loss = MinimaxGeneratorLoss(), MinimaxDiscriminatorLoss()
        self.batches = endless(folder)

    def step(self) -> None:
        real = next(self.batches)
        networks = (self.generator, self.discriminator)
        self.generator_loss.train_ops(*networks, self.of_generator, CPU, BATCH)
        self.discriminator_loss.train_ops(*networks, self.of_discriminator, real, CPU)

    def plan(self, images: int) -> None:
        """It has no schedule."""

    def sample(self, count: int) -> Pixels:
        return drawn(self.generator, latents(count))


def latents(count: int) -> torch.Tensor:
    """The latents of a contender's samples, always the same."""
    return torch.randn(count, LATENT, generator=torch.Generator().manual_seed(0))


@torch.no_grad()
def drawn(generator: torch.nn.Module, latents: torch.Tensor) -> Pixels:
    """Faces from a generator with batch statistics, 64 at a time."""
    return np.concatenate([to_pixels(generator(part)) for part in latents.split(64)])


def contender(name: str, archive: str, folder: Path) -> Contender:
    if name.startswith("dcgan"):
        return Ours(archive, "paper" if name == "dcgan-paper" else None)
    return TorchGan(folder) if name == "torchgan" else Example(folder)


NAMES = ("dcgan", "dcgan-paper", "reference", "torchgan")


def serve(name: str, archive: str, folder: Path, out: Path, orders: Connection) -> None:
    """A contender's process: shows its first sample, then trains and draws as it is told."""
    os.environ["DCGAN_CACHE"] = str(folder.parent / name)  # nothing is packed yet
    torch.manual_seed(0)
    one = contender(name, archive, folder)
    one.step()
    save_image(out / f"{name}-first.png", make_grid(one.sample(64)))
    orders.send(memory())
    while order := orders.recv():
        kind, value = order
        if kind == "plan":
            one.plan(value)
            orders.send(None)
        elif kind == "train":
            images, start = 0, time.perf_counter()
            while (spent := time.perf_counter() - start) < value:
                one.step()
                images += one.batch
            orders.send((images, spent, memory()))
        else:
            orders.send(one.sample(value))


def memory() -> float:
    """What this process and its children hold, in MB; shared pages are shared out among those that share them."""
    here = Path(f"/proc/{os.getpid()}")
    processes = [here, *(Path("/proc") / child for child in (here / f"task/{here.name}/children").read_text().split())]
    lines = [line for process in processes for line in (process / "smaps_rollup").read_text().splitlines()]
    return sum(int(line.split()[1]) for line in lines if line.startswith("Pss:")) / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", help="a zip of JPEGs")
    parser.add_argument("out", type=Path)
    parser.add_argument("--minutes", type=float, default=30.0, help="of training, for each contender")
    parser.add_argument("--turn", type=float, default=60.0, help="seconds that one trains before the next does")
    parser.add_argument("--evaluations", type=int, default=6, help="times that each is judged, at equal distances")
    parser.add_argument("--samples", type=int, default=2000, help="faces by which it is judged")
    parser.add_argument("--only", nargs="+", choices=NAMES, default=list(NAMES))
    arguments = parser.parse_args()
    names = [name for name in arguments.only if name != "torchgan" or importlib.util.find_spec("torchgan")]
    arguments.out.mkdir(parents=True, exist_ok=True)

    from dcgan.checkpoint import write_json
    from dcgan.data import open_data
    from dcgan.evaluate import QuickEvaluator, load_extractor

    extractor = load_extractor("efficientnet-lite0", CPU)
    data = open_data(arguments.data, size=64)
    evaluator = QuickEvaluator(data, extractor, arguments.samples)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "images"
        with zipfile.ZipFile(arguments.data) as archive:
            archive.extractall(folder)
        results = race(names, arguments, folder, evaluator)
        some = np.random.default_rng(0).permutation(len(data))[: arguments.samples]
        files = JpegFolder(folder)
        decoded = np.concatenate([to_pixels(files[number][None]) for number in some])
        reals = {"prepare": distance(evaluator, data.read(some)), "the reference": distance(evaluator, decoded)}
    write_json(arguments.out / "results.json", {"contenders": results, "reals": reals})
    write_table(arguments.out, results, reals)


def race(
    names: list[str], arguments: argparse.Namespace, folder: Path, evaluator: QuickEvaluator
) -> dict[str, dict[str, Any]]:
    """Start all, let them train, and end them; figures by name."""
    context = multiprocessing.get_context("spawn")
    results: dict[str, dict[str, Any]] = {}
    pipes: dict[str, Connection] = {}
    for name in names:
        pipes[name], theirs = context.Pipe()
        start = time.perf_counter()
        context.Process(target=serve, args=(name, arguments.data, folder, arguments.out, theirs)).start()
        held = pipes[name].recv()
        results[name] = {"first_seconds": time.perf_counter() - start, "memory_mb": held, "turns": [], "quality": []}
        print(f"{name}: first sample after {results[name]['first_seconds']:.1f} s", flush=True)
    try:
        take_turns(arguments, pipes, results, evaluator)
    finally:
        for pipe in pipes.values():
            pipe.send(None)
    return results


def take_turns(
    arguments: argparse.Namespace,
    pipes: dict[str, Connection],
    results: dict[str, dict[str, Any]],
    evaluator: QuickEvaluator,
) -> None:
    """Let all train in turns, and judge them on the way."""
    turns = max(1, round(arguments.minutes * 60 / arguments.turn))
    judged = {round(turns * (i + 1) / arguments.evaluations) for i in range(arguments.evaluations)}
    for turn in range(1, turns + 1):
        for name, pipe in pipes.items():
            result = results[name]
            if turn == 2:  # by its speed in the first
                images, seconds = result["turns"][0]
                ask(pipe, "plan", round(images / seconds * arguments.minutes * 60))
            images, seconds, held = ask(pipe, "train", arguments.turn)
            result["turns"].append((images, seconds))
            result["memory_mb"] = max(result["memory_mb"], held)
            if turn in judged:
                minutes = sum(seconds for _, seconds in result["turns"]) / 60
                fakes = ask(pipe, "sample", arguments.samples)
                save_image(arguments.out / f"{name}-last.png", make_grid(fakes[:64]))
                result["quality"].append((minutes, distance(evaluator, fakes)))
                print(f"{name}: {result['quality'][-1][1]:.0f} after {minutes:.1f} minutes", flush=True)


def ask(pipe: Connection, kind: str, value: float) -> Any:
    """Give a contender an order, and return its answer."""
    pipe.send((kind, value))
    return pipe.recv()


def distance(evaluator: QuickEvaluator, fakes: Pixels) -> float:
    """The Frechet distance of faces to the evaluator's real ones."""
    from dcgan.evaluate.features import extract_features
    from dcgan.evaluate.figures import frechet_name, measure

    features = extract_features(evaluator.extractor, np.split(fakes, range(100, len(fakes), 100)))
    name = frechet_name(evaluator.extractor)
    return measure(evaluator.features, features, 0).named(name)[name]


def write_table(out: Path, results: dict[str, dict[str, Any]], reals: dict[str, float]) -> None:
    """Write the table and the plot, and print the table."""
    from matplotlib.figure import Figure

    from dcgan.checkpoint import write_bytes, write_with

    speeds = {
        name: statistics.median(images / seconds for images, seconds in result["turns"])
        for name, result in results.items()
    }
    heads = ["", "images/s", "to the reference", "memory, MB", "first sample", "distance, at the end", "as good after"]
    rows = [heads, ["---", *["---:"] * (len(heads) - 1)]]
    figure = Figure(figsize=(8, 5), layout="constrained")
    axes = figure.subplots()
    for name, result in results.items():
        ratio = f"{speeds[name] / speeds['reference']:.2f}" if "reference" in speeds else ""
        last = f"{result['quality'][-1][1]:.0f}"
        first = f"{result['first_seconds']:.1f} s"
        overtaken = minutes_to(result["quality"], results.get("reference", result)["quality"][-1][1])
        rows.append([name, f"{speeds[name]:.0f}", ratio, f"{result['memory_mb']:.0f}", first, last, overtaken])
        axes.plot(*zip(*result["quality"], strict=True), marker=".", label=name)
    axes.set(xlabel="minutes of training", ylabel="FD-efficientnet-lite0", yscale="log")
    axes.grid(alpha=0.3, which="both")
    axes.legend()
    table = "".join(f"| {' | '.join(row)} |\n" for row in rows)
    floors = ", ".join(f"{value:.0f} as {name} decodes them" for name, value in reals.items())
    turns = ", ".join(f"{len(result['turns'])} turns of {name}" for name, result in results.items())
    notes = f"{torch.get_num_threads()} threads; {turns}. Other real images: {floors}."
    write_bytes(out / "table.md", f"{table}\n{notes}\n".encode())
    write_with(out / "peers.png", lambda temporary: figure.savefig(temporary, dpi=100, format="png"))
    print((out / "table.md").read_text())


def minutes_to(quality: list[tuple[float, float]], wanted: float) -> str:
    """When a contender was first seen to be as good as `wanted`, the reference's last distance."""
    return next((f"{minutes:.0f} min" for minutes, reached in quality if reached <= wanted), "not")


if __name__ == "__main__":
    main()
