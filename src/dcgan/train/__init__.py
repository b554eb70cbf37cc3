"""Training: `train(config)` starts a run, or goes on with one exactly where it stopped."""

from __future__ import annotations

import contextlib
import dataclasses
import signal
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from dcgan.checkpoint import read_json, write_json
from dcgan.config import ModelConfig, TrainConfig, from_json
from dcgan.data import PackedImages, choose_labels, open_data
from dcgan.device import choose_device, choose_precision, describe_machine
from dcgan.errors import DcganError
from dcgan.evaluate import QuickEvaluator, load_extractor
from dcgan.images import make_grid, save_image
from dcgan.train.loop import Trainer
from dcgan.train.run import CONFIG_FILE, checkpoints, find_run, lock, new_run, restore_best, run_name
from dcgan.train.state import STATE_FILE
from dcgan.train.tracking import Tracker

__all__ = ["Outcome", "find_run", "resumable_config", "run_name", "train"]

# Another value of these would make it another run.
FIXED_ON_RESUME = ("seed", "batch", "generator_optimizer", "discriminator_optimizer")


@dataclass(frozen=True)
class Outcome:
    """How a call of `train` ended."""

    run: Path
    kimg: float
    stopped_by: signal.Signals | None
    """The signal that asked the run to stop before its end, if one did."""


def train(config: TrainConfig, resume: Path | None = None) -> Outcome:
    """Train a DCGAN as `config` says, in a new run folder, or in the run `resume` from its newest checkpoint.

    SIGINT and SIGTERM finish the step, save and return. Raises `DcganError` for settings, data or a checkpoint
    that do not fit, for a full disk, and when a loss is no longer finite; what was written before stays.
    """
    device = choose_device(config.device)
    data = open_data(config.data, size=config.size or None, channels=config.channels or None, crop=config.crop)
    labels = choose_labels(data, config.condition)
    config = dataclasses.replace(config, size=data.size, channels=data.channels, labels=labels)
    if len(data.training_indices) == 0:
        raise DcganError(f"{data.path} holds no image to train on: all are held out")
    run = resume or new_run(Path(config.run_dir), run_name(config))
    with contextlib.closing(lock(run)):
        trainer = Trainer(config, data, run, device)
        if resume is not None:
            check_same_run(config, run, data)
            trainer.state.restore(newest_checkpoint(run))
            restore_best(newest_checkpoint(run), run)
        if config.evaluate_every is not None:
            extractor = load_extractor(config.extractor, device)
            trainer.evaluator = QuickEvaluator(data, extractor, config.evaluate_samples)
        write_json(run / CONFIG_FILE, dataclasses.asdict(config))
        protocol = trainer.evaluator.protocol if trainer.evaluator is not None else None
        write_json(run / "environment.json", environment(data, device, config.precision, protocol))
        save_image(run / "reals.png", make_grid(data.read(data.training_indices[:64])))
        tracker = Tracker(run, config, trainer.state.step, trainer.total_images)
        precision, reason = choose_precision(config.precision, device)
        tracker.say(f"{run}: {describe(config, data)}; {device.type}, {str(precision)[6:]} ({reason})")
        try:
            with stopping_on_signals(trainer, tracker):
                trainer.train(tracker)
        finally:
            tracker.close()
    return Outcome(run, trainer.images / 1000, trainer.stop_signal)


def resumable_config(run: Path) -> TrainConfig:
    """The settings of the run in folder `run`; `DcganError` if it is no run or has no checkpoint."""
    if not (run / CONFIG_FILE).is_file():
        raise DcganError(f"{run} is not the folder of a run: there is no {CONFIG_FILE} in it")
    newest_checkpoint(run)
    return from_json(TrainConfig, read_json(run / CONFIG_FILE), str(run / CONFIG_FILE))


def newest_checkpoint(run: Path) -> Path:
    """The newest complete checkpoint of a run."""
    complete = checkpoints(run)
    if not complete:
        raise DcganError(f"{run} has no checkpoint to go on from: start a new run")
    return complete[-1]


def check_same_run(config: TrainConfig, run: Path, data: PackedImages) -> None:
    """Refuse to go on with other data, another architecture or other draws than the run began with."""
    state = read_json(newest_checkpoint(run) / STATE_FILE)
    if state["dataset"]["digest"] != data.digest:
        raise DcganError(
            f"{data.path} is not the data that {run} was trained on (digest {data.digest[:12]}, and the checkpoint "
            f"has {state['dataset']['digest'][:12]}): give the same data, or start a new run"
        )
    old = from_json(TrainConfig, read_json(run / CONFIG_FILE), str(run / CONFIG_FILE))
    for name in (*(field.name for field in dataclasses.fields(ModelConfig)), *FIXED_ON_RESUME):
        before, now = getattr(old, name), getattr(config, name)
        if before != now:
            raise DcganError(f"{run} was started with {name} {before}, which cannot become {now}: start a new run")


@contextlib.contextmanager
def stopping_on_signals(trainer: Trainer, tracker: Tracker) -> Iterator[None]:
    """Let SIGINT and SIGTERM end training after the step in hand; a second SIGINT ends it at once."""

    def ask_to_stop(number: int, _: object) -> None:
        trainer.stop_signal = signal.Signals(number)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        tracker.say(f"{trainer.stop_signal.name}: finishing this step and saving")

    before = {number: signal.signal(number, ask_to_stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def describe(config: TrainConfig, data: PackedImages) -> str:
    """One line on what is about to be trained on what."""
    held_out = len(data) - len(data.training_indices)
    told = f", told {', '.join(label.name for label in config.labels)}" if config.labels else ""
    return (
        f"preset {config.preset}, {data.size}x{data.size}x{data.channels}, "
        f"{len(data.training_indices)} training images of {data.name} ({held_out} held out){told}"
    )


def environment(
    data: PackedImages, device: torch.device, precision: str, evaluation: dict[str, Any] | None
) -> dict[str, Any]:
    """What besides the settings decides a run's numbers and speed, and the protocol of its evaluations."""
    return {
        **describe_machine(device),
        "precision": str(choose_precision(precision, device)[0]),
        "command": sys.argv,
        "dataset": {"name": data.name, "path": str(data.path), "digest": data.digest, "count": len(data)},
        "evaluation": evaluation,
    }
