"""Images a second of a full training step: ours, and a reference loop as most public code writes it.

    python bench/train.py ../shared/data/celeba-13k.zip

Both train the `paper` networks at batch 128, data included, in alternating rounds of one process, so that their
ratio means something on a shared machine. The reference is the public PyTorch example (bench/reference.py).
Also prints which part of the machine's own matrix-product rate our step reaches.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from reference import BATCH, Reference
from torch.utils.flop_counter import FlopCounterMode

from dcgan.config import TrainConfig
from dcgan.data import PackedImages, open_data
from dcgan.train.loop import Trainer


def trainer(data: PackedImages, **settings: Any) -> Trainer:
    """Our own loop's trainer of the `paper` preset."""
    config = TrainConfig(**{"size": 64, "channels": 3, "batch": BATCH, **settings})
    return Trainer(config, data, Path(), torch.device("cpu"))


def seconds(step: Callable[[], object], steps: int) -> float:
    """Time of so many steps."""
    start = time.perf_counter()
    for _ in range(steps):
        step()
    return time.perf_counter() - start


def matrix_product_rate(dtype: torch.dtype) -> float:
    """The best of five 4096 x 4096 x 4096 products, in FLOP a second."""
    a, b = torch.randn(4096, 4096).to(dtype), torch.randn(4096, 4096).to(dtype)
    torch.mm(a, b)
    return 2 * 4096**3 / min(seconds(lambda: torch.mm(a, b), 1) for _ in range(5))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("data", help="a zip of JPEGs")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=15, help="steps of each loop in a round")
    parser.add_argument("--compile", action="store_true", help="also ours with torch.compile, after it has compiled")
    arguments = parser.parse_args()

    with tempfile.TemporaryDirectory() as folder:
        with zipfile.ZipFile(arguments.data) as archive:
            archive.extractall(folder)
        data = open_data(arguments.data)
        ours, plain = trainer(data), trainer(data, precision="float32")
        steps = {
            "ours": ours.train_step,
            "ours, float32": plain.train_step,
            "reference": Reference(Path(folder)).step,
        }
        if arguments.compile:
            steps["ours, compiled"] = trainer(data, compile=True).train_step
        with FlopCounterMode(display=False) as counter:
            ours.train_step()
        flop = counter.get_total_flops()
        for step in steps.values():
            seconds(step, 3)
        times: dict[str, list[float]] = {name: [] for name in steps}
        rates = []
        for _ in range(arguments.rounds):
            rates.append(matrix_product_rate(ours.precision))
            for name, step in steps.items():
                times[name].append(seconds(step, arguments.steps) / arguments.steps)

    reference = statistics.median(times["reference"])
    print(f"{torch.get_num_threads()} threads, batch {BATCH}, {arguments.rounds} rounds of {arguments.steps} steps")
    print(f"{'loop':<16}{'images/s':>10}{'range':>14}{'ratio':>8}")
    for name, measured in times.items():
        speed = [BATCH / value for value in sorted(measured, reverse=True)]
        middle = statistics.median(measured)
        print(f"{name:<16}{BATCH / middle:>10.0f}{f'{speed[0]:.0f}-{speed[-1]:.0f}':>14}{reference / middle:>8.2f}")
    rate = statistics.median(rates)
    reached = flop / statistics.median(times["ours"])
    print(
        f"a step is {flop / BATCH / 1e9:.2f} GFLOP an image; ours runs at {reached / 1e9:.0f} GFLOP/s, "
        f"{reached / rate:.2f} of this machine's {str(ours.precision)[6:]} matrix products ({rate / 1e9:.0f} GFLOP/s)"
    )


if __name__ == "__main__":
    main()
