"""Images a second of a full training step: ours, and a reference loop as most public code writes it.

    python bench/train.py ../shared/data/celeba-13k.zip

Both train the `paper` networks at batch 128, data included, in alternating rounds of one process, so that their
ratio means something on a shared machine. The reference is float32, NCHW, with a DataLoader that decodes JPEGs in
worker processes, a discriminator that also gathers gradients in the generator's step, and losses read each step.
Also prints which part of the machine's own matrix-product rate our step reaches.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader, Dataset
from torch.utils.flop_counter import FlopCounterMode

from dcgan.config import ModelConfig, TrainConfig
from dcgan.data import PackedImages, open_data
from dcgan.draws import generator_for
from dcgan.models import Discriminator, Generator
from dcgan.train.loop import Trainer

BATCH = 128


class JpegFolder(Dataset[torch.Tensor]):
    """Images decoded, cropped, resized and scaled one at a time, as torchvision's transforms would."""

    def __init__(self, folder: Path) -> None:
        self.paths = sorted(folder.rglob("*.jpg"))

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> torch.Tensor:
        with Image.open(self.paths[index]) as file:
            image = file.convert("RGB")
        side = min(image.size)
        left, top = (image.width - side) // 2, (image.height - side) // 2
        image = image.crop((left, top, left + side, top + side)).resize((64, 64), Image.Resampling.BILINEAR)
        return torch.from_numpy(np.asarray(image).copy()).permute(2, 0, 1).float().div(255).sub(0.5).div(0.5)


class Reference:
    """The loop of the common PyTorch example."""

    def __init__(self, folder: Path) -> None:
        self.generator = Generator(ModelConfig()).initialize(generator_for(0, "generator weights", 0))
        self.discriminator = Discriminator(ModelConfig()).initialize(generator_for(0, "discriminator weights", 0))
        self.optimizers = [
            torch.optim.Adam(network.parameters(), 2e-4, betas=(0.5, 0.999))
            for network in (self.discriminator, self.generator)
        ]
        self.loader = DataLoader(JpegFolder(folder), BATCH, shuffle=True, num_workers=2, drop_last=True)
        self.batches = self.endless()

    def endless(self) -> Iterator[torch.Tensor]:
        while True:
            yield from self.loader

    def step(self) -> None:
        criterion = nn.BCELoss()
        real = next(self.batches)
        ones, zeros = torch.ones(BATCH), torch.zeros(BATCH)
        self.discriminator.zero_grad()
        error_real = criterion(torch.sigmoid(self.discriminator(real)), ones)
        error_real.backward()
        fake = self.generator(torch.randn(BATCH, 100))
        error_fake = criterion(torch.sigmoid(self.discriminator(fake.detach())), zeros)
        error_fake.backward()
        self.optimizers[0].step()
        self.generator.zero_grad()
        error_generator = criterion(torch.sigmoid(self.discriminator(fake)), ones)
        error_generator.backward()
        self.optimizers[1].step()
        assert error_real.item() + error_fake.item() + error_generator.item() < float("inf")


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
