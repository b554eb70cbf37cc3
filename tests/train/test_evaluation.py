"""A run that is judged while it trains: the same run, with the best model kept, also over a stop and a resume."""

from __future__ import annotations

import dataclasses
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from dcgan.checkpoint import load_tensors
from dcgan.compare import compare
from dcgan.config import CompareConfig, TrainConfig
from dcgan.errors import DcganError
from dcgan.model_file import read_model
from dcgan.train import resumable_config, train
from dcgan.train.loop import Trainer
from dcgan.train.tracking import read_metrics

Make = Callable[..., TrainConfig]


@pytest.fixture(scope="module")
def extractor(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A small network in a TorchScript file."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 8, 5, 4), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(32, 6))
    path = tmp_path_factory.mktemp("extractor") / "small.pt"
    torch.jit.script(network).save(str(path))
    return str(path)


@pytest.fixture
def judged(tiny: Make, extractor: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Make:
    monkeypatch.setenv("DCGAN_CACHE", str(tmp_path / "cache"))

    def make(**settings: Any) -> TrainConfig:
        judging = {"evaluate_every": 0.02, "evaluate_samples": 40, "extractor": extractor, "generator_lr": 0.05}
        return tiny(**{**judging, **settings})

    return make


def evaluations(run: Path) -> list[dict[str, Any]]:
    return [record for record in read_metrics(run) if "evaluation" in record]


pytestmark = pytest.mark.filterwarnings("ignore:.*torch.jit.*:DeprecationWarning")


@pytest.mark.usefixtures("plots")
def test_the_best_model_is_that_of_the_lowest_distance(judged: Make) -> None:
    run = train(judged()).run
    records = evaluations(run)
    assert [record["kimg"] for record in records] == [0.024, 0.04, 0.064, 0.08]
    distances = [next(iter(record["evaluation"].values())) for record in records]
    about = read_model(run / "best.safetensors")[2]
    best = records[distances.index(min(distances))]
    assert about["metrics"] == best["evaluation"]
    assert about["training"]["kimg"] == best["kimg"]
    for plot in ("losses.png", "quality.png"):
        assert (run / plot).stat().st_size > 1000


def test_being_judged_changes_nothing_else(judged: Make) -> None:
    plain, watched = train(judged(evaluate_every=None)).run, train(judged()).run
    for file in ("model.safetensors",):
        one, two = (load_tensors(run / file)[0] for run in (plain, watched))
        assert all(torch.equal(one[name], two[name]) for name in one)


@pytest.mark.parametrize("stop", [2, 4, 7])
def test_resume_stays_exact(judged: Make, monkeypatch: pytest.MonkeyPatch, stop: int) -> None:
    whole = train(judged(name="whole")).run
    with monkeypatch.context() as patch:
        step = Trainer.train_step

        def stopping(self: Trainer) -> None:
            step(self)
            if self.state.step == stop:
                self.stop_signal = signal.SIGTERM

        patch.setattr(Trainer, "train_step", stopping)
        parts = train(judged(name="parts")).run
    train(resumable_config(parts), parts)
    without_times = [
        [{k: v for k, v in record.items() if k != "seconds"} for record in evaluations(run)] for run in (whole, parts)
    ]
    assert without_times[0] == without_times[1]
    assert (whole / "best.safetensors").read_bytes() == (parts / "best.safetensors").read_bytes()


def test_a_best_model_of_a_lost_future_is_taken_back(judged: Make) -> None:
    """A killed run may have kept a best model after its newest checkpoint."""
    run = train(judged(kimg=0.04)).run
    best = (run / "best.safetensors").read_bytes()
    (run / "best.safetensors").write_bytes(b"of a step that was never saved")
    train(resumable_config(run), run)
    assert (run / "best.safetensors").read_bytes() == best


def test_a_missing_extractor_is_told_before_training(judged: Make) -> None:
    with pytest.raises(DcganError, match="unknown extractor"):
        train(dataclasses.replace(judged(), extractor="eyes"))


@pytest.mark.usefixtures("plots")
def test_a_run_may_be_gone_on_with_under_another_extractor(judged: Make, extractor: str, tmp_path: Path) -> None:
    """Its figures do not compare with those before: the best is the best of those that do."""
    other = tmp_path / "other.pt"
    shutil.copyfile(extractor, other)
    run = train(judged(kimg=0.04)).run
    longer = dataclasses.replace(resumable_config(run), kimg=0.08, extractor=str(other))
    train(longer, run)
    later = [record for record in evaluations(run) if "FD-other" in record["evaluation"]]
    assert [record["kimg"] for record in later] == [0.064, 0.08]
    best = min(later, key=lambda record: record["evaluation"]["FD-other"])
    assert read_model(run / "best.safetensors")[2]["metrics"] == best["evaluation"]
    table = compare(CompareConfig(paths=(str(run),), out=str(tmp_path / "comparison")))
    assert "FD-other" in table
    assert "FD-small" not in table
