"""Time of each stage of `dcgan evaluate`, first and with the reference cached, and the highest memory.

    python bench/evaluate.py
    python bench/evaluate.py --model ../runs/00000-celeba-paper --data ../data/celeba64 --count 10000

Without --model, an untrained generator of the paper's size (its images cost what a trained one's do); without
--data, as many drawn faces for training and 5% more that are held out. The cache is a folder of its own, so nothing
is cached at first. Run it on an idle machine.
"""

from __future__ import annotations

import argparse
import os
import resource
import tempfile
import time
from pathlib import Path

import torch

from dcgan.config import EvaluateConfig, ModelConfig, PrepareConfig
from dcgan.data import prepare
from dcgan.evaluate import Evaluation, evaluate, write_report
from dcgan.models import Generator


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", help="as for dcgan evaluate")
    parser.add_argument("--data", help="a packed data set")
    parser.add_argument("--count", type=int, default=10_000, help="images on each side")
    parser.add_argument("--extractor", default="efficientnet-lite0", help="as for dcgan evaluate")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.environ["DCGAN_CACHE"] = str(folder / "cache")
        config = EvaluateConfig(
            model=arguments.model or untrained(folder / "model"),
            data=arguments.data or drawn(folder / "data", arguments.count),
            count=arguments.count,
            extractor=arguments.extractor,
        )
        print(f"{config.count} fakes, {config.extractor}, {torch.get_num_threads()} threads")
        for which in ("first", "second"):
            start = time.perf_counter()
            evaluation = evaluate(config)
            write_report(evaluation, folder / "report")
            print(f"\n{which} evaluation: {time.perf_counter() - start:.1f} s in all")
            print_stages(evaluation)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20  # KiB on Linux
    print(f"\nhighest memory {peak:.2f} GiB")


def untrained(folder: Path) -> str:
    """A generator with random weights."""
    generator = Generator(ModelConfig()).initialize(torch.Generator().manual_seed(0))
    return str(generator.save_pretrained(folder))


def drawn(out: Path, count: int) -> str:
    """Drawn faces, packed, of which `count` are for training (or all, if none are held out of so few)."""
    return str(prepare(PrepareConfig(source="toy", out=str(out), count=round(count / 0.95))).path)


def print_stages(evaluation: Evaluation) -> None:
    """One row a stage, with images a second for those that see images one by one."""
    fakes, held_out = evaluation.protocol["fakes"], evaluation.data["held_out"] or {"images": 0}
    reals = evaluation.data["reference_images"] + held_out["images"]
    images = {"features of reals": reals, "fakes": fakes, "features of fakes": fakes}
    for stage, seconds in evaluation.seconds.items():
        rate = f"{images[stage] / seconds:10.0f} images/s" if stage in images and seconds >= 1 else ""
        print(f"  {stage:20}{seconds:8.1f} s{rate}")


if __name__ == "__main__":
    main()
