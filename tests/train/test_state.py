"""Checkpoints that do not fit, damaged, edited or of another version: each is one clear error."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dcgan.checkpoint import file_digest, json_digest, load_tensors, save_tensors
from dcgan.cli import main
from dcgan.config import TrainConfig
from dcgan.errors import DcganError
from dcgan.train import resumable_config, train
from dcgan.train.run import checkpoints
from dcgan.train.state import STATE_FILE, TRAINING_FILE

Make = Callable[..., TrainConfig]


@pytest.fixture
def run(tiny: Make) -> Path:
    return train(tiny(kimg=0.04)).run


def rewrite(checkpoint: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Change what a checkpoint says of itself, as another version might have written it: its digest fits."""
    counters = json.loads((checkpoint / STATE_FILE).read_text())
    del counters["digest"]
    change(counters)
    (checkpoint / STATE_FILE).write_text(json.dumps({**counters, "digest": json_digest(counters)}))


@pytest.mark.parametrize("key", ["step", "seconds", "checksums"])
def test_a_changed_state_is_not_gone_on_from(run: Path, key: str) -> None:
    path = checkpoints(run)[-1] / STATE_FILE
    state = json.loads(path.read_text())
    state[key] = {} if key == "checksums" else 7
    path.write_text(json.dumps(state))
    with pytest.raises(
        DcganError, match=r"state.json is damaged or was edited; delete .* to go on from the checkpoint"
    ):
        train(resumable_config(run), run)


@pytest.mark.parametrize("change", [{"step": "5"}, {"dataset": "faces32"}, {"dataset": {}}, {"checksums": []}])
def test_a_state_of_other_types_is_damaged(run: Path, change: dict[str, object]) -> None:
    rewrite(checkpoints(run)[-1], lambda counters: counters.update(change))
    with pytest.raises(DcganError, match=r"state.json is damaged"):
        train(resumable_config(run), run)


def test_a_state_of_an_earlier_version_is_refused(run: Path) -> None:
    rewrite(checkpoints(run)[-1], lambda counters: counters.pop("rate_scale"))
    with pytest.raises(DcganError, match=r"another version of dcgan \(it lacks 'rate_scale'\): go on with"):
        train(resumable_config(run), run)


def test_tensors_that_are_missing_are_told(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    checkpoint = checkpoints(run)[-1]
    tensors, _ = load_tensors(checkpoint / TRAINING_FILE)
    kept = {name: tensor.clone() for name, tensor in tensors.items() if name != "raw_generator.last.0.weight"}
    save_tensors(checkpoint / TRAINING_FILE, kept)
    digest = file_digest(checkpoint / TRAINING_FILE)
    rewrite(checkpoint, lambda counters: counters["checksums"].update({TRAINING_FILE: digest}))
    for command in (["train", "--resume", str(run)], ["generate", str(checkpoint), "--raw-weights"]):
        assert main(command) == 2
        (line,) = [line for line in capsys.readouterr().err.splitlines() if line]
        assert "of another kind" in line
        assert "last.0.weight" in line


def test_a_copy_beside_the_checkpoints_is_left_alone(run: Path) -> None:
    newest = checkpoints(run)[-1]
    copy = Path(shutil.copytree(newest, newest.with_name(f"{newest.name}-copy")))
    train(resumable_config(run), run)
    assert checkpoints(run)[-1] == newest
    assert copy.is_dir()
