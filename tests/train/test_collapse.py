"""The collapse watch: its figures on known batches, and runs that are made to collapse."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from dcgan.checkpoint import file_digest
from dcgan.config import TrainConfig
from dcgan.errors import DcganError
from dcgan.model_file import MODEL_FILE
from dcgan.train import collapse, resumable_config, train
from dcgan.train.collapse import WINDOW, CollapseWatch, gradient_norm, health, spread
from dcgan.train.run import checkpoints
from dcgan.train.state import check_checkpoint
from dcgan.train.tracking import read_metrics

Make = Callable[..., TrainConfig]


def line(step: int, **figures: float) -> dict[str, Any]:
    return {"step": step, "kimg": 100.0 + step, "d_accuracy": 0.8, "fake_spread": 0.9, **figures}


def test_the_figures_of_known_batches() -> None:
    real = torch.randn(4000, 1, 2, 2, generator=torch.Generator().manual_seed(0))
    figures = health(torch.tensor([3.0, 1.0]), torch.tensor([1.0, 2.0]), real, real / 4 + 1)
    assert figures["d_accuracy"].item() == 0.5
    assert figures["logit_gap"].item() == 0.5
    assert figures["fake_spread"].item() == pytest.approx(0.25)
    assert health(real[:2], real[:2], real, real[:1].expand(8, -1, -1, -1))["fake_spread"].item() == 0


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("around", [0.0, 0.9])
def test_the_spread_is_the_mean_standard_deviation(dtype: torch.dtype, around: float) -> None:
    images = (around + 0.01 * torch.randn(16, 3, 8, 8, generator=torch.Generator().manual_seed(0))).to(dtype)
    expected = images.double().std(0).mean().item()
    assert spread(images).item() == pytest.approx(expected, rel=1e-4)
    assert spread(images.to(memory_format=torch.channels_last)).item() == pytest.approx(expected, rel=1e-4)


def test_the_gradient_norm_is_that_of_all_parameters_together() -> None:
    network = torch.nn.Linear(2, 1)
    (network(torch.tensor([3.0, 4.0])) * 2).backward()
    assert gradient_norm(network).item() == pytest.approx(2 * (3**2 + 4**2 + 1) ** 0.5)


@pytest.mark.parametrize(
    ("sign", "word"),
    [({"fake_spread": 0.1}, "mode collapse"), ({"d_accuracy": 1.0}, "every real"), ({"d_accuracy": 0.4}, "guessing")],
)
def test_it_warns_once_when_enough_lines_agree_and_again_after_a_recovery(sign: dict[str, float], word: str) -> None:
    watch = CollapseWatch()
    heard = [watch.judge(line(step, **(sign if step >= 3 else {}))) for step in range(20)]
    warned = [step for step, said in enumerate(heard) if said is not None]
    assert warned == [3 + WINDOW - 1]
    said = heard[warned[0]]
    assert said is not None
    assert word in said.warning
    assert said.healthy_step == 2
    again = [watch.judge(line(step, **(sign if step > 20 else {}))) for step in range(20, 40)]
    assert [step for step, said in enumerate(again) if said is not None] == [WINDOW]


def test_it_is_silent_on_a_run_that_does_well_and_on_its_first_steps() -> None:
    watch = CollapseWatch()
    assert not any(watch.judge({**line(step, fake_spread=0.05), "kimg": step / 10}) for step in range(99))
    assert not any(watch.judge(line(step, fake_spread=0.9 - 0.8 * (step % 2))) for step in range(30))  # no agreement


def test_falling_quality_points_back_to_the_best() -> None:
    watch = CollapseWatch()
    figures = [300, 100, 160, 120, 151, 200, 300]
    heard = [watch.judge({"step": step, "kimg": 1.0, "evaluation": {"fd": fd}}) for step, fd in enumerate(figures)]
    assert [said is not None for said in heard] == [False] * 5 + [True, False]
    assert heard[5] is not None
    assert heard[5].healthy_step == 1
    assert "200 after 100" in heard[5].warning


def test_lines_without_the_figures_of_a_collapse_say_nothing() -> None:
    watch = CollapseWatch([{"step": step, "kimg": 100.0} for step in range(2 * WINDOW)])
    heard = [watch.judge(line(step, fake_spread=0.1)) for step in range(20, 20 + WINDOW)]
    assert [said is not None for said in heard] == [False] * (WINDOW - 1) + [True]


def test_figures_of_another_extractor_are_not_compared() -> None:
    watch = CollapseWatch([{"step": 1, "kimg": 1.0, "evaluation": {"FD-one": 1.0}}])
    heard = [watch.judge({"step": step, "kimg": 1.0, "evaluation": {"FD-other": 50.0}}) for step in range(2, 9)]
    assert heard == [None] * 7


@pytest.mark.parametrize("cut", range(12))
def test_a_watch_that_is_told_the_past_goes_on_like_one_that_saw_it(cut: int) -> None:
    lines = [line(step, fake_spread=0.9 if step in (0, 1, 9) else 0.1) for step in range(20)]
    whole = CollapseWatch()
    heard = [str(whole.judge(each)) for each in lines]
    resumed = CollapseWatch(lines[:cut])
    assert [str(resumed.judge(each)) for each in lines[cut:]] == heard[cut:]


@pytest.fixture
def collapsing(tiny: Make, monkeypatch: pytest.MonkeyPatch) -> Make:
    """Settings under which tanh saturates within a few steps, so that every image becomes nearly the same."""
    for name, value in {"WARM_UP_KIMG": 0.0, "LEAST_SPREAD": 0.25, "SURE": 2.0, "UNSURE": -1.0}.items():
        monkeypatch.setattr(collapse, name, value)
    return lambda **settings: tiny(**{"kimg": 0.6, "log_every": 0.048, "generator_lr": 0.3, **settings})


def test_a_collapse_is_told_and_training_goes_on(collapsing: Make, capfd: pytest.CaptureFixture[str]) -> None:
    outcome = train(collapsing())
    assert outcome.kimg == 0.6
    said = capfd.readouterr().err
    assert "WARNING" in said
    assert "mode collapse" in said


def test_a_collapse_stops_the_run_where_told_to(collapsing: Make, tmp_path: Path) -> None:
    with pytest.raises(DcganError, match=r"mode collapse.*the last checkpoint before it is"):
        train(collapsing(on_collapse="stop"))
    run = next((tmp_path / "runs").iterdir())
    assert read_metrics(run)[-1]["kimg"] < 0.6
    assert checkpoints(run)


@pytest.fixture
def fragile(tiny: Make, monkeypatch: pytest.MonkeyPatch) -> Make:
    """Settings of a run that shows the signs of a collapse from 0.1 kimg on, unless its rate is below 1e-4."""
    monkeypatch.setattr(
        collapse, "_sign", lambda line: "spread" if line["kimg"] > 0.1 and line["generator_lr"] > 1e-4 else None
    )
    return lambda **settings: tiny(**{"kimg": 0.4, "log_every": 0.008, "on_collapse": "rollback", **settings})


def test_a_run_that_goes_back_gets_through_with_lower_rates(fragile: Make, capfd: pytest.CaptureFixture[str]) -> None:
    outcome = train(fragile(generator_lr=3e-4))
    assert outcome.kimg == 0.4
    said = capfd.readouterr().err
    assert "back at 0.1 kimg, with 1/2 of the learning rates" in said
    assert "back at 0.1 kimg, with 1/4 of the learning rates" in said
    records = read_metrics(outcome.run)
    assert [record["step"] for record in records] == list(range(1, 51))
    assert {record["generator_lr"] for record in records} == {3e-4, 0.75e-4}
    assert check_checkpoint(checkpoints(outcome.run)[-1])["rate_scale"] == 0.25


def test_without_a_healthy_checkpoint_it_begins_again(fragile: Make, capfd: pytest.CaptureFixture[str]) -> None:
    train(fragile(checkpoint_every=0.3))
    assert "back at 0.0 kimg, with 1/2 of the learning rates" in capfd.readouterr().err


def test_a_run_that_collapses_at_any_rate_ends_with_an_error(fragile: Make) -> None:
    with pytest.raises(DcganError, match="after going back with ever lower rates: mode collapse"):
        train(fragile(generator_lr=1.0))


def test_going_back_is_the_same_after_an_interruption(fragile: Make, tmp_path: Path) -> None:
    whole = train(fragile()).run
    cut = train(fragile(kimg=0.12, run_dir=str(tmp_path / "cut"))).run  # after the first sign, before it acts
    train(dataclasses.replace(resumable_config(cut), kimg=0.4), cut)
    assert file_digest(whole / MODEL_FILE) == file_digest(cut / MODEL_FILE)
