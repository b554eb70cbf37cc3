"""Where the time of a training step goes, by kind of operation.

    python bench/profile_step.py ../shared/data/celeba-13k.zip

The `paper` preset at batch 128 under torch's profiler, on one thread so that the parts add up.
"""

from __future__ import annotations

import argparse
import collections
from pathlib import Path

import torch
from torch.profiler import ProfilerActivity, profile

from dcgan.config import TrainConfig
from dcgan.data import open_data
from dcgan.train.loop import Trainer

KINDS = {  # by what the profiler calls an operation, first match wins
    "convolutions": ("convolution",),
    "matrix products": ("aten::mm", "aten::addmm", "aten::matmul", "aten::bmm", "aten::linear"),
    "BatchNorm": ("batch_norm",),
    "activations": ("relu", "threshold", "tanh", "clamp", "softplus", "sigmoid"),
    "optimisers and average": ("adam", "lerp", "Optimizer"),
    "copies, casts, gathering and scattering": ("copy", "add_", "fill", "cat", "where", "pad", "take", "index"),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", help="whatever `dcgan train` takes")
    parser.add_argument("--steps", type=int, default=5)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    trainer = Trainer(TrainConfig(size=64, channels=3), open_data(arguments.data), Path(), torch.device("cpu"))
    for _ in range(3):
        trainer.train_step()
    with profile(activities=[ProfilerActivity.CPU]) as measured:
        for _ in range(arguments.steps):
            trainer.train_step()

    milliseconds: dict[str, float] = collections.defaultdict(float)
    for event in measured.key_averages():
        kind = next((kind for kind, parts in KINDS.items() if any(part in event.key for part in parts)), "all else")
        milliseconds[kind] += event.self_cpu_time_total / 1000 / arguments.steps
    total = sum(milliseconds.values())
    for kind, spent in sorted(milliseconds.items(), key=lambda item: -item[1]):
        print(f"{kind:<42}{spent:>8.0f} ms{spent / total:>8.0%}")
    print(f"{'a step of 128 images':<42}{total:>8.0f} ms")


if __name__ == "__main__":
    main()
