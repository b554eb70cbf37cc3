"""Training: `train(config)` starts a run, or goes on with one exactly where it stopped."""

from __future__ import annotations

import contextlib
import dataclasses
import shutil
import signal
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from dcgan.checkpoint import read_json, remove_left_overs, write_json
from dcgan.config import MANY_TIMES, ModelConfig, TrainConfig, from_json
from dcgan.data import PackedImages, choose_labels, open_data
from dcgan.device import allow_tf32, choose_device, choose_precision, describe_machine
from dcgan.errors import DcganError
from dcgan.evaluate import QuickEvaluator, load_extractor
from dcgan.images import make_grid, save_image
from dcgan.train.collapse import CollapseError
from dcgan.train.distributed import ALONE, World
from dcgan.train.loop import Trainer, target_kimg
from dcgan.train.run import CONFIG_FILE, checkpoints, find_run, lock, new_run, restore_best, run_name
from dcgan.train.state import BEST_FILE, read_counters
from dcgan.train.tracking import Tracker

__all__ = ["Outcome", "find_run", "resumable_config", "run_name", "train"]

# Another value of these would make it another run.
FIXED_ON_RESUME = ("seed", "batch", "generator_optimizer", "discriminator_optimizer")
LEAST_RATE_SCALE = 1 / 32  # a run that collapses even so has another trouble


@dataclass(frozen=True)
class Outcome:
    """How a call of `train` ended."""

    run: Path
    kimg: float
    stopped_by: signal.Signals | None
    """The signal that asked the run to stop before its end, if one did."""


def train(config: TrainConfig, resume: Path | None = None, world: World = ALONE) -> Outcome:
    """Train a DCGAN as `config` says, in a new run folder, or in the run `resume` from its newest checkpoint.

    SIGINT and SIGTERM finish the step, save and return. With several processes each calls it, with the `world` that
    `distributed.join` gives; the folder of the run must be one that all of them see. Raises `DcganError` for
    settings, data or a checkpoint that do not fit, for a full disk, and when a loss is no longer finite; what was
    written before stays.
    """
    if config.batch % world.size or config.batch // world.size < 2:
        raise DcganError(
            f"batch {config.batch} cannot be shared by {world.size} processes: give a multiple, and 2 each"
        )
    device = choose_device(config.device)
    allow_tf32(config.precision == "tf32")
    with world.one_a_machine_first():
        data = open_data(config.data, size=config.size or None, channels=config.channels or None, crop=config.crop)
    labels = choose_labels(data, config.condition)
    config = dataclasses.replace(config, size=data.size, channels=data.channels, labels=labels)
    count = len(data.training_indices)
    if count == 0:
        raise DcganError(f"{data.path} holds no image to train on: all are held out")
    if config.augment == "auto":
        often = target_kimg(config, data) * 1000 / count > MANY_TIMES
        chosen = resumable_config(resume).augment if resume else "diffaug" if often else "none"
        config = dataclasses.replace(config, augment=chosen)
    run = world.share(resume or (new_run(Path(config.run_dir), run_name(config)) if world.first else None))
    assert run is not None
    with contextlib.closing(lock(run)) if world.first else contextlib.nullcontext():
        trainer = Trainer(config, data, run, device, world)
        if resume is not None:
            check_same_run(config, run, data)
            newest = world.share(newest_checkpoint(run))
            trainer.state.restore(newest)
            if world.first:
                for folder in (run, run / "checkpoints", run / "samples"):
                    remove_left_overs(folder)
                restore_best(newest, run)
        if world.first:
            describe_run(trainer)
        world.wait()
        opening = f"{run}: {describe(trainer)}"
        while opening:
            opening = train_until_collapse(trainer, opening)
    return Outcome(run, trainer.images / 1000, trainer.stop_signal)


def train_until_collapse(trainer: Trainer, opening: str) -> str:
    """Train to the end or to a collapse, from which the run goes back; returns what to say of that, if so."""
    tracker = None
    if trainer.world.first:
        tracker = Tracker(trainer.run, trainer.config, trainer.state.step, trainer.total_images)
        tracker.say(opening)
    try:
        with stopping_on_signals(trainer, tracker):
            trainer.train(tracker)
        return ""
    except CollapseError as collapse:
        return go_back(trainer, collapse)
    finally:
        if tracker is not None:
            tracker.close()


def go_back(trainer: Trainer, collapse: CollapseError) -> str:
    """Take a collapsed run back to its newest healthy checkpoint with half the learning rates; returns what was done.

    Without one it begins again. Raises `DcganError` if it is told to stop, or has gone back often enough.
    """
    run, config, world, at = trainer.run, trainer.config, trainer.world, trainer.images / 1000
    healthy = world.share([path for path in checkpoints(run) if int(path.name) <= collapse.healthy_step])
    if config.on_collapse == "stop":
        where = f"; the last checkpoint before it is {healthy[-1]}" if healthy else ""
        raise DcganError(f"stopped at {at:.1f} kimg: {collapse.warning}{where}")
    rate_scale = trainer.state.rate_scale / 2
    if rate_scale < LEAST_RATE_SCALE:
        raise DcganError(f"stopped at {at:.1f} kimg, after going back with ever lower rates: {collapse.warning}")
    trainer.begin()
    if healthy:
        trainer.state.restore(healthy[-1])
    trainer.state.rate_scale = rate_scale
    if world.first:
        for path in checkpoints(run):
            if path not in healthy:
                shutil.rmtree(path)
        if healthy:
            restore_best(healthy[-1], run)
        else:
            (run / BEST_FILE).unlink(missing_ok=True)
    return f"{run}: back at {trainer.images / 1000:.1f} kimg, with 1/{round(1 / rate_scale)} of the learning rates"


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
    state = read_counters(newest_checkpoint(run))
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
def stopping_on_signals(trainer: Trainer, tracker: Tracker | None) -> Iterator[None]:
    """Let SIGINT and SIGTERM end training after the step in hand; a second SIGINT ends it at once."""

    def ask_to_stop(number: int, _: object) -> None:
        trainer.stop_signal = signal.Signals(number)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        if tracker is not None:
            tracker.say(f"{trainer.stop_signal.name}: finishing this step and saving")

    before = {number: signal.signal(number, ask_to_stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def describe(trainer: Trainer) -> str:
    """One line on what is about to be trained on what."""
    config, data, device, world = trainer.config, trainer.data, trainer.device, trainer.world
    held_out = len(data) - len(data.training_indices)
    told = f", told {', '.join(label.name for label in config.labels)}" if config.labels else ""
    precision, reason = choose_precision(config.precision, device)
    processes = f"{world.size} processes on {device.type}" if world.size > 1 else device.type
    return (
        f"preset {config.preset}, {data.size}x{data.size}x{data.channels}, "
        f"{len(data.training_indices)} training images of {data.name} ({held_out} held out){told}, "
        f"augmentation {config.augment}; {processes}, {str(precision)[6:]} ({reason})"
    )


def describe_run(trainer: Trainer) -> None:
    """Write what the run was asked for, what it runs on and what it is shown; prepare its evaluations."""
    config, data, run, device = trainer.config, trainer.data, trainer.run, trainer.device
    protocol = None
    if config.evaluate_every is not None:
        extractor = load_extractor(config.extractor, device)
        trainer.evaluator = QuickEvaluator(data, extractor, config.evaluate_samples)
        protocol = trainer.evaluator.protocol
    write_json(run / CONFIG_FILE, dataclasses.asdict(config))
    environment = {
        **describe_machine(device),
        "processes": trainer.world.size,
        "precision": str(trainer.precision),
        "command": sys.argv,
        "dataset": {"name": data.name, "path": str(data.path), "digest": data.digest, "count": len(data)},
        "evaluation": protocol,
    }
    write_json(run / "environment.json", environment)
    save_image(run / "reals.png", make_grid(data.read(data.training_indices[:64])))
