"""How fast labelled synthetic images are made: python bench/augment.py MODEL [-n 2000]

Prints wall time and processor time of `dcgan augment`, and of `GeneratedFaces` in batches of 64, and what 10,000 images
would take. Processor time is what counts on a machine that others use too.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from torch.utils.data import DataLoader

from dcgan import GeneratedFaces
from dcgan.config import AugmentConfig
from dcgan.synthesize import augment


def timed(title: str, count: int, work: Callable[[], object]) -> None:
    """Run `work`, and print how long it took and would take for 10,000 images."""
    wall, processor = time.perf_counter(), time.process_time()
    work()
    wall, processor = time.perf_counter() - wall, time.process_time() - processor
    print(
        f"{title:<16}{count / wall:8.0f} images/s; 10,000 take {wall / count * 1e4:.0f} s, "
        f"{processor / count * 1e4:.0f} s of processor time"
    )


def main() -> None:
    """Measure both ways."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("-n", "--count", type=int, default=2000)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        config = AugmentConfig(model=arguments.model, out=str(Path(folder, "out")), count=arguments.count)
        timed("dcgan augment", arguments.count, lambda: augment(config))
    faces = GeneratedFaces(arguments.model, arguments.count)
    timed("GeneratedFaces", arguments.count, lambda: list(DataLoader(faces, batch_size=64)))


if __name__ == "__main__":
    main()
