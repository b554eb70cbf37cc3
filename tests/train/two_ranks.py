"""What two ranks compute, for test_distributed.py to compare with one; run by torchrun.

two_ranks.py laws CASES OUT     steps of trainers, and what becomes of a rank that does not answer
two_ranks.py dcgan MARKER ...   `dcgan ...`, where rank 1 is killed in its seventh step unless MARKER exists
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import signal
import sys
import time
from collections.abc import Iterator, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any
from unittest import mock

import torch
import torch.distributed as dist

from dcgan.checkpoint import save_tensors
from dcgan.cli import main
from dcgan.config import TrainConfig
from dcgan.data import open_data
from dcgan.train import resumable_config, tracking, train
from dcgan.train.batch import Batches
from dcgan.train.collapse import CollapseError, CollapseWatch
from dcgan.train.distributed import ALONE, LostContactError, World, join
from dcgan.train.loop import Trainer

STEPS = 3
tracking.plot_losses = lambda records, path: path.touch()  # plots would take longer than the run


def steps(config: TrainConfig, world: World = ALONE) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    """Gradients of both networks after the first step, and their weights after `STEPS`.

    The generator's BatchNorm uses its running statistics: those of a batch would tie its images together, across
    what the ranks see.
    """
    trainer = Trainer(config, open_data(config.data), Path(), torch.device("cpu"), world)
    trainer.state.generator.eval()
    parameters = {
        f"{network.role}.{name}": parameter
        for network in (trainer.state.generator, trainer.state.discriminator)
        for name, parameter in network.named_parameters()
    }
    trainer.train_step()
    gradients = {name: parameter.grad.clone() for name, parameter in parameters.items() if parameter.grad is not None}
    for _ in range(STEPS - 1):
        trainer.train_step()
    return gradients, parameters


def laws(cases: Path, out: Path) -> None:
    with join("cpu") as world:
        for name, settings in json.loads(cases.read_text()).items():
            gradients, weights = steps(TrainConfig(**settings), world)
            save_tensors(out / f"{name}-gradients-{world.rank}", gradients)
            save_tensors(out / f"{name}-weights-{world.rank}", weights)
        config = TrainConfig(**json.loads((out / "run.json").read_text()))
        train(config, world=world)
        (one,) = (out / "runs").glob("*-one")
        with noted_places() as places:
            train(dataclasses.replace(resumable_config(one), kimg=config.kimg), one, world)
        (out / f"places-{world.rank}.json").write_text(json.dumps(places))
        rates = roll_back(dataclasses.replace(config, name="rolled-back", on_collapse="rollback"), world)
        (out / f"rates-{world.rank}.json").write_text(json.dumps(rates))
        impatient = World(world.rank, 2, world.rank, dist.new_group(backend="gloo", timeout=timedelta(seconds=1)))
        if world.first:
            try:
                with impatient.told_if_lost():
                    impatient.wait()
            except LostContactError as error:
                (out / "silent").write_text(str(error))
        else:
            time.sleep(3)


@contextlib.contextmanager
def noted_places() -> Iterator[dict[str, list[int]]]:
    """Places of this rank's real images among the training images, by step, of what is trained in the block."""
    noted: dict[str, list[int]] = {}
    places = Batches.places

    def noting(self: Batches, step: int) -> torch.Tensor:
        chosen = places(self, step)
        noted[str(step)] = chosen.tolist()
        return chosen

    with mock.patch.object(Batches, "places", noting):
        yield noted


def roll_back(config: TrainConfig, world: World) -> list[tuple[int, float]]:
    """Steps and scales of the learning rates of a run in which the first rank sees a collapse once, after step 8."""
    seen: list[int] = []
    steps: list[tuple[int, float]] = []
    step = Trainer.train_step

    def judge(self: CollapseWatch, line: Mapping[str, Any]) -> CollapseError | None:
        assert world.first
        if seen or line["step"] < 8:
            return None
        seen.append(line["step"])
        return CollapseError("made up", healthy_step=7)

    def train_step(self: Trainer) -> None:
        step(self)
        steps.append((self.state.step, self.state.rate_scale))

    CollapseWatch.judge = judge  # type: ignore[method-assign]
    Trainer.train_step = train_step  # type: ignore[method-assign]
    train(config, world=world)
    return steps


def faulty(marker: Path, arguments: list[str]) -> int:
    step = Trainer.train_step

    def train_step(self: Trainer) -> None:
        if self.world.rank == 1 and self.state.step == 6 and not marker.exists():
            marker.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        step(self)

    Trainer.train_step = train_step  # type: ignore[method-assign]
    return main(arguments)


if __name__ == "__main__":
    task, path, *rest = sys.argv[1:]
    if task == "laws":
        laws(Path(path), Path(rest[0]))
    else:
        sys.exit(faulty(Path(path), rest))
