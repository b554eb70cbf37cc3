"""`dcgan train`."""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Sequence
from pathlib import Path

from dcgan.checkpoint import read_json
from dcgan.cli import parse
from dcgan.config import DEFAULT_PRESET, PRESETS, TrainConfig, from_json
from dcgan.errors import DcganError


def main(arguments: Sequence[str]) -> int:
    """Train, and say where the results are or how to go on."""
    config = parse(TrainConfig, arguments, "train", starting_point(arguments))
    if not config.data:
        raise DcganError("name what to train on: a packed data set, a folder, a .zip or .tar of images, or toy")
    from dcgan.train import find_run, resumable_config, run_name, train

    run = None
    if config.resume == "auto":
        run = find_run(Path(config.run_dir), run_name(config))
        if run is not None:
            config = parse(TrainConfig, arguments, "train", resumable_config(run))
    elif config.resume is not None:
        run = Path(config.resume)
    outcome = train(dataclasses.replace(config, resume=None, config=None), run)

    if outcome.stopped_by is not None:
        print(f"stopped at {outcome.kimg:.1f} kimg; go on with: dcgan train --resume {outcome.run}")
        return 128 + outcome.stopped_by
    print(f"done at {outcome.kimg:.1f} kimg; now try: dcgan generate {outcome.run}")
    return 0


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
    if given.preset:
        chosen = {**chosen, "preset": given.preset}
    chosen = {"preset": DEFAULT_PRESET, **chosen}
    return from_json(TrainConfig, {**PRESETS.get(chosen["preset"], {}), **chosen}, given.config or "the preset")
