"""`dcgan train`."""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from dcgan.checkpoint import read_json
from dcgan.cli import parse
from dcgan.config import DEFAULT_PRESET, PRESETS, TrainConfig, from_json
from dcgan.errors import DcganError

if TYPE_CHECKING:
    from dcgan.train.distributed import World


def main(arguments: Sequence[str]) -> int:
    """Train, and say where the results are or how to go on."""
    config = parse(TrainConfig, arguments, "train", starting_point(arguments))
    if not config.data:
        raise DcganError("name what to train on: a packed data set, a folder, a .zip or .tar of images, or toy")
    from dcgan.train import distributed

    if config.devices > 1 and not distributed.is_rank():
        return distributed.launch(config.devices, arguments)
    with distributed.join(config.device) as world:
        return run_here(config, arguments, world)


def run_here(config: TrainConfig, arguments: Sequence[str], world: World) -> int:
    """Train in this process, which may be one of several."""
    from dcgan.train import find_run, resumable_config, run_name, train

    run = None
    if config.resume == "auto":
        run = world.share(find_run(Path(config.run_dir), run_name(config)) if world.first else None)
        if run is not None:
            config = parse(TrainConfig, arguments, "train", resumable_config(run))
    elif config.resume is not None:
        run = Path(config.resume)
    # How many processes train is no part of the run: it goes on with any number.
    outcome = train(dataclasses.replace(config, resume=None, config=None, devices=1), run, world)

    if outcome.stopped_by is not None:
        message = f"stopped at {outcome.kimg:.1f} kimg; go on with: dcgan train --resume {outcome.run}"
    else:
        message = f"done at {outcome.kimg:.1f} kimg; now try: dcgan generate {outcome.run}"
    if world.first:
        print(message)
    return 0 if outcome.stopped_by is None else 128 + outcome.stopped_by


def starting_point(arguments: Sequence[str]) -> TrainConfig:
    """What the flags are laid over: the settings of `--resume RUN`, or of `--config FILE`, or of `--preset`."""
    look = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    for flag in ("--resume", "--config", "--preset"):
        look.add_argument(flag)
    given, _ = look.parse_known_args(arguments)
    if given.resume not in (None, "auto"):
        from dcgan.train import resumable_config

        return resumable_config(Path(given.resume))
    chosen = read_json(Path(given.config)) if given.config else {}
    if not isinstance(chosen, dict):
        raise DcganError(f"{given.config} must hold a JSON object of settings")
    preset = given.preset or chosen.get("preset", DEFAULT_PRESET)
    values = {**PRESETS.get(str(preset), {}), **chosen, "preset": preset}
    return from_json(TrainConfig, values, given.config or "the preset")
