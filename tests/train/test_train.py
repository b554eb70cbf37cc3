"""Runs: resumed equals uninterrupted, bit for bit; nothing is lost; every obstacle is one clear error."""

from __future__ import annotations

import dataclasses
import functools
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch

from dcgan.checkpoint import load_tensors
from dcgan.config import PRESETS, PrepareConfig, TrainConfig
from dcgan.data import PackedImages, prepare
from dcgan.errors import DcganError
from dcgan.models import Generator
from dcgan.train import find_run, resumable_config, train
from dcgan.train.loop import Trainer
from dcgan.train.run import checkpoints, lock

Make = Callable[..., TrainConfig]
TIMES = ("seconds", "images_per_second")


def figures(run: Path) -> list[dict[str, Any]]:
    """The lines of metrics.jsonl without the times, which alone may differ."""
    lines = (run / "metrics.jsonl").read_text().splitlines()
    return [{k: v for k, v in json.loads(line).items() if k not in TIMES} for line in lines]


def everything(run: Path) -> dict[str, Any]:
    """All that an exact resume must give back: newest weights and optimiser moments, figures, pictures."""
    newest = checkpoints(run)[-1]
    return {
        "step": newest.name,
        "model": load_tensors(newest / "model.safetensors")[0],
        "training": load_tensors(newest / "training.safetensors")[0],
        "published": load_tensors(run / "model.safetensors")[0],
        "figures": figures(run),
        "samples": {path.name: path.read_bytes() for path in (run / "samples").iterdir()},
    }


def assert_same(one: dict[str, Any], two: dict[str, Any]) -> None:
    for key in ("step", "figures", "samples"):
        assert one[key] == two[key], key
    for key in ("model", "training", "published"):
        assert one[key].keys() == two[key].keys()
        different = [name for name, tensor in one[key].items() if not torch.equal(tensor, two[key][name])]
        assert not different, different


def stop_after(monkeypatch: pytest.MonkeyPatch, steps: int) -> None:
    """Ask the run to stop, as a signal would, once `steps` steps are done."""
    step = Trainer.train_step

    def counting(self: Trainer) -> None:
        step(self)
        if self.state.step == steps:
            os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(Trainer, "train_step", counting)


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("stop", [1, 5, 7])
def test_resumed_equals_uninterrupted(tiny: Make, monkeypatch: pytest.MonkeyPatch, preset: str, stop: int) -> None:
    """Stopped at a step that is no multiple of anything: within a log interval, an epoch, a checkpoint interval."""
    settings = {**PRESETS[preset], "generator_width": 4, "discriminator_width": 4, "preset": preset}
    settings |= {"size": 32, "batch": 8}
    whole = train(tiny(**settings, name="whole")).run
    with monkeypatch.context() as patch:
        stop_after(patch, stop)
        outcome = train(tiny(**settings, name="parts"))
    assert outcome.stopped_by == signal.SIGTERM
    assert outcome.kimg == stop * 8 / 1000
    train(resumable_config(outcome.run), outcome.run)
    assert_same(everything(whole), everything(outcome.run))


def test_bf16_resumes_exactly_too(tiny: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its results differ by memory layout, so the layout must come back with the weights."""
    whole = train(tiny(precision="bf16", name="whole")).run
    with monkeypatch.context() as patch:
        stop_after(patch, 5)
        parts = train(tiny(precision="bf16", name="parts")).run
    train(resumable_config(parts), parts)
    assert_same(everything(whole), everything(parts))


def test_a_killed_run_goes_on_from_its_newest_checkpoint(tiny: Make, tmp_path: Path) -> None:
    """SIGKILL leaves figures and pictures past the checkpoint: they are cut away, and drawn again alike."""
    whole = train(tiny(name="whole", kimg=0.4)).run
    script = tmp_path / "script.py"
    config = dataclasses.asdict(tiny(name="killed", kimg=0.4))
    script.write_text(
        "import time\nfrom dcgan.config import TrainConfig\nfrom dcgan.train import train\n"
        "from dcgan.train.loop import Trainer\nstep = Trainer.train_step\n"
        "Trainer.train_step = lambda self: (step(self), time.sleep(0.02))\n"
        f"train(TrainConfig(**{config!r}))\n"
    )
    process = subprocess.Popen([sys.executable, script], stderr=subprocess.DEVNULL)
    run = tmp_path / "runs" / "00001-killed"
    while len(checkpoints(run)) < 2:
        assert process.poll() is None
        time.sleep(0.01)
    process.kill()
    process.wait()
    with (run / "metrics.jsonl").open("a") as metrics:
        metrics.write('{"step": 99999, "ki')  # a line cut short
    assert process.returncode == -signal.SIGKILL
    train(resumable_config(run), run)
    assert_same(everything(whole), everything(run))


def test_runs_get_numbers_of_their_own(tiny: Make) -> None:
    runs = [train(tiny(kimg=0.008)).run for _ in range(3)]
    assert [run.name for run in runs] == ["00000-tiny", "00001-tiny", "00002-tiny"]
    assert find_run(runs[0].parent, "tiny") == runs[2]
    assert find_run(runs[0].parent, "other") is None
    shutil.rmtree(runs[2] / "checkpoints")  # one that was killed before its first checkpoint
    assert find_run(runs[0].parent, "tiny") == runs[1]


def test_a_longer_run_is_the_shorter_one_gone_on_with(tiny: Make) -> None:
    short = train(tiny(kimg=0.04)).run
    train(dataclasses.replace(resumable_config(short), kimg=0.08), short)
    assert_same(everything(train(tiny(kimg=0.08)).run), everything(short))


def test_a_finished_run_stays_as_it_is(tiny: Make) -> None:
    run = train(tiny()).run
    before = everything(run)
    train(resumable_config(run), run)
    assert_same(before, everything(run))


def test_the_run_folder_holds_what_the_docs_name(tiny: Make) -> None:
    run = train(tiny(tensorboard=True)).run
    names = {path.name for path in run.iterdir()} - {".lock"}
    assert names == {
        "checkpoints", "config.json", "environment.json", "losses.png", "metrics.jsonl", "model.safetensors",
        "progress.gif", "reals.png", "samples", "tensorboard",
    }  # fmt: skip
    assert sorted(path.name for path in (run / "samples").iterdir()) == [
        "kimg-000000.040.png",
        "kimg-000000.080.png",
        "kimg-000000.png",
    ]
    assert [line["kimg"] for line in figures(run)] == [0.024, 0.04, 0.064, 0.08]
    assert Generator.from_pretrained(run).about["training"]["kimg"] == 0.08


def test_only_the_newest_checkpoints_are_kept(tiny: Make) -> None:
    run = train(tiny(kimg=0.08, checkpoint_every=0.016, keep_checkpoints=2)).run
    assert [path.name for path in checkpoints(run)] == ["00000008", "00000010"]


def test_epochs_count_the_training_images(tiny: Make, faces32: PackedImages) -> None:
    outcome = train(tiny(kimg=None, epochs=2.0, batch=10))
    assert outcome.kimg == 2 * len(faces32.training_indices) / 1000


def test_images_shown_often_are_augmented_and_a_run_keeps_to_it(tiny: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dcgan.train.MANY_TIMES", 1)
    auto = functools.partial(tiny, augment="auto")
    once, often = train(auto(epochs=1.0, kimg=None)).run, train(auto(epochs=2.0, kimg=None)).run
    train(auto(epochs=2.0, kimg=None), resume=once)
    assert [resumable_config(run).augment for run in (once, often)] == ["none", "diffaug"]


def test_a_run_that_is_being_written_is_left_alone(tiny: Make) -> None:
    run = train(tiny()).run
    with lock(run), pytest.raises(DcganError, match="another process"):
        train(resumable_config(run), run)


def test_other_data_is_refused(tiny: Make, tmp_path: Path) -> None:
    run = train(tiny()).run
    other = PrepareConfig(source="toy", out=str(tmp_path / "other"), size=32, count=20, seed=1, workers=1)
    prepare(other)
    with pytest.raises(DcganError, match="is not the data"):
        train(dataclasses.replace(resumable_config(run), data=other.out), run)


@pytest.mark.parametrize("change", [{"generator_width": 8}, {"batch": 4}, {"seed": 1}, {"latent": "uniform"}])
def test_another_run_under_the_same_name_is_refused(tiny: Make, change: dict[str, Any]) -> None:
    run = train(tiny()).run
    before = everything(run)
    with pytest.raises(DcganError, match=next(iter(change))):
        train(dataclasses.replace(resumable_config(run), **change), run)
    assert_same(before, everything(run))


@pytest.mark.parametrize("file", ["model.safetensors", "training.safetensors"])
def test_a_damaged_checkpoint_is_named_and_the_one_before_serves(tiny: Make, file: str) -> None:
    run = train(tiny()).run
    newest = checkpoints(run)[-1]
    whole = everything(run)
    cut_short = (newest / file).read_bytes()[:-1]
    (newest / file).unlink()  # tensors read from it are views of the file
    (newest / file).write_bytes(cut_short)
    with pytest.raises(DcganError, match=f"{newest.name}.{file} is damaged.*delete {newest}"):
        train(resumable_config(run), run)
    shutil.rmtree(newest)
    train(resumable_config(run), run)
    assert_same(whole, everything(run))


def test_a_run_without_a_checkpoint_or_settings_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DcganError, match="not the folder of a run"):
        resumable_config(tmp_path)
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(DcganError, match="no checkpoint"):
        resumable_config(tmp_path)


def test_a_loss_that_is_not_finite_stops_the_run_and_keeps_the_last_good_state(
    tiny: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    step = Trainer.train_step

    def poisoned(self: Trainer) -> None:
        if self.state.step == 7:
            with torch.no_grad():
                next(self.state.generator.parameters()).fill_(float("nan"))
        step(self)

    monkeypatch.setattr(Trainer, "train_step", poisoned)
    config = tiny()
    with pytest.raises(DcganError, match=r"no longer finite.*00000005.*Lower --generator-lr"):
        train(config)
    run = Path(config.run_dir) / "00000-tiny"
    assert [path.name for path in checkpoints(run)] == ["00000005"]
    assert all(torch.isfinite(tensor).all() for tensor in load_tensors(run / "model.safetensors")[0].values())


def test_an_unwritable_place_is_named(tiny: Make, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DcganError, match=r"cannot write .*file"):
        train(tiny(run_dir=str(tmp_path / "file")))


def test_a_full_disk_is_one_error_and_the_run_goes_on_later(tiny: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """safetensors tells of it in its own exception."""
    config = tiny()
    whole = train(tiny(name="whole")).run
    with monkeypatch.context() as patch:
        save, saved = safetensors.torch.save_file, []

        def fourth_fails(tensors: dict[str, torch.Tensor], path: Path, **rest: Any) -> None:
            saved.append(path)
            if len(saved) == 4:
                raise safetensors.SafetensorError("No space left on device")
            save(tensors, path, **rest)

        patch.setattr(safetensors.torch, "save_file", fourth_fails)
        with pytest.raises(DcganError, match="No space left on device"):
            train(config)
    run = Path(config.run_dir) / "00001-tiny"
    assert [path.name for path in (run / "checkpoints").iterdir()] == ["00000005"]
    train(resumable_config(run), run)
    assert_same(everything(whole), everything(run))
