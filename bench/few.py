"""From how many images on does augmentation pay: sets of several sizes, each trained on with it and without.

    python bench/few.py ../shared/data/celeba-13k.zip few --counts 200 1000 4000

Each set is a random part of the images; the judge has all of them, so a generator that repeats what it was shown gains
little. Goes on where it stopped. Writes `table.md`: the Frechet distance of 2,000 images to 2,000 training images of
the whole set, by kimg.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

import torch
from recipes import measured_once

from dcgan.checkpoint import read_json, write_bytes
from dcgan.data import PackedImages
from dcgan.evaluate import QuickEvaluator, load_extractor
from dcgan.models import Generator
from dcgan.train.run import checkpoints

RECIPES = {
    "none": ["--augment", "none"],
    "diffaug": ["--augment", "diffaug"],
    "none, transposed": ["--augment", "none", "--upsampling", "transposed"],
    "diffaug, transposed": ["--augment", "diffaug", "--upsampling", "transposed"],
    "diffaug, gamma 0.1": ["--augment", "diffaug", "--gradient-penalty", "0.1"],
    "diffaug, discriminator 1e-3": ["--augment", "diffaug", "--discriminator-lr", "1e-3"],
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", help="a zip or folder of images")
    parser.add_argument("out", type=Path)
    parser.add_argument("--counts", type=int, nargs="+", default=[200, 1000, 4000], help="images in each set")
    parser.add_argument("--only", nargs="+", default=list(RECIPES), choices=RECIPES)
    parser.add_argument("--size", type=int, default=32)
    parser.add_argument("--kimg", type=float, default=120.0)
    parser.add_argument("--every", type=float, default=40.0, help="kimg from one evaluation to the next")
    arguments = parser.parse_args()
    whole = prepare(arguments.data, arguments.out / "whole", arguments.size, 0.05)
    evaluator = QuickEvaluator(whole, load_extractor("efficientnet-lite0", torch.device("cpu")), 2000)
    rows: list[list[str]] = []
    for count in arguments.counts:
        held_out = 1 - count / len(whole)
        data = prepare(arguments.data, arguments.out / f"of-{count}", arguments.size, held_out)
        for name in arguments.only:
            run = train(arguments, data, f"{count}-{name.replace(', ', '-').replace(' ', '-')}", RECIPES[name])
            found = {path.name: judge(evaluator, path) for path in checkpoints(run)}
            batch = read_json(run / "config.json")["batch"]
            columns = [f"{int(step) * batch / 1000:.0f} kimg" for step in found]
            if not rows:
                rows = [["images", "augmentation", *columns], ["---"] * (2 + len(columns))]
            rows.append([f"{len(data.training_indices):,}", name, *(f"{value:.0f}" for value in found.values())])
            table = "".join(f"| {' | '.join(row)} |\n" for row in rows)
            write_bytes(arguments.out / "table.md", table.encode())
    print((arguments.out / "table.md").read_text())


def prepare(source: str, out: Path, size: int, held_out: float) -> PackedImages:
    """Pack the images, unless an earlier call has."""
    if not out.exists():
        call("prepare", source, str(out), "--size", str(size), "--held-out", f"{held_out:.4f}")
    return PackedImages.open(out)


def train(arguments: argparse.Namespace, data: PackedImages, name: str, flags: list[str]) -> Path:
    """Train, or go on; returns the run."""
    runs: Path = arguments.out / "runs"
    saves = ["--checkpoint-every", str(arguments.every), "--keep-checkpoints", "1000"]
    names = ["--run-dir", str(runs), "--name", name, "--resume", "auto", "--no-tensorboard"]
    call("train", str(data.path), "--kimg", str(arguments.kimg), *saves, *names, *flags)
    [run] = runs.glob(f"*-{name}")
    return run


def judge(evaluator: QuickEvaluator, checkpoint: Path) -> float:
    """The distance of a checkpoint's averaged weights, measured once and kept."""
    kept = checkpoint.parent.parent / f"judged-{checkpoint.name}.json"
    return measured_once(kept, lambda: evaluator(Generator.from_pretrained(checkpoint)))


def call(*arguments: str) -> None:
    subprocess.run([sys.executable, "-m", "dcgan", *arguments], check=True)


if __name__ == "__main__":
    main()
