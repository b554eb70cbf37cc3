"""What a run tells: TensorBoard says what metrics.jsonl says, and a cut-back run leaves nothing of its other future."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from dcgan.config import TrainConfig
from dcgan.errors import DcganError
from dcgan.train import resumable_config, train
from dcgan.train.tracking import plot_losses, read_metrics, sample_grids, sample_label

Make = Callable[..., TrainConfig]


def test_tensorboard_holds_the_same_figures_and_the_pictures(tiny: Make) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    run = train(tiny(tensorboard=True)).run
    events = EventAccumulator(str(run / "tensorboard"))
    events.Reload()
    tags = events.Tags()
    for name in ("discriminator_loss", "generator_loss", "d_real", "d_fake", "d_fake_updated", "images_per_second"):
        written = {event.step: event.value for event in events.Scalars(name)}
        lines = {round(line["kimg"] * 1000): line[name] for line in read_metrics(run)}
        assert written == pytest.approx(lines)
    assert [event.step for event in events.Images("samples")] == [0, 40, 80]
    assert set(tags["histograms"]) == {"logits/real", "logits/fake", "logits/updated"}


def test_a_plot_of_few_lines_is_a_picture(tmp_path: Path, tiny: Make) -> None:
    records = read_metrics(train(tiny()).run)
    for count in (0, 1, len(records)):
        plot_losses(records[:count], tmp_path / "losses.png")
        with Image.open(tmp_path / "losses.png") as image:
            assert image.size == (900, 650)


def test_the_animation_shows_each_sample_grid(tiny: Make) -> None:
    for kind in ("gif", "webp"):
        run = train(tiny(animation=kind, name=kind, generator_lr=0.1)).run  # so that frames differ
        with Image.open(run / f"progress.{kind}") as animation, Image.open(run / "samples/kimg-000000.png") as grid:
            assert animation.n_frames == 3  # type: ignore[attr-defined]
            assert animation.size == grid.size
    assert not list(train(tiny(animation="none", name="none")).run.glob("progress.*"))


@pytest.mark.parametrize(("kimg", "label"), [(0, "000000"), (200.0, "000200"), (0.5, "000000.500")])
def test_sample_names_sort_by_kimg(kimg: float, label: str) -> None:
    assert sample_label(kimg) == label


def test_a_torn_last_line_is_left_out_and_written_again(tiny: Make) -> None:
    run = train(tiny(kimg=0.04)).run
    whole = read_metrics(run)
    with (run / "metrics.jsonl").open("a") as metrics:
        metrics.write('{"step": 1')
    assert read_metrics(run) == whole
    train(resumable_config(run), run)
    assert [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()] == whole


@pytest.mark.parametrize(
    "damage",
    [
        b"\xff\xfe",
        b'{"step": 1',
        b"[]",
        b'{"step": "1"}',
        b'{"step": 1, "kimg": 0.1, "evaluation": {}}',
        b'{"step": 1, "kimg": 0.1, "epoch": 1, "seconds": 1, "evaluation": {}}',
    ],
)
def test_a_damaged_line_is_named_and_one_cut_short_left_out(tiny: Make, damage: bytes) -> None:
    run = train(tiny()).run
    path, whole = run / "metrics.jsonl", (run / "metrics.jsonl").read_bytes()
    path.write_bytes(whole + whole.splitlines()[0][:40])
    assert len(read_metrics(run)) == len(whole.splitlines())
    path.write_bytes(whole.splitlines()[0] + b"\n" + damage + b"\n" + whole)
    with pytest.raises(DcganError, match=r"metrics.jsonl, line 2, is damaged"):
        read_metrics(run)


def test_a_damaged_sample_does_not_stop_a_run(tiny: Make, capsys: pytest.CaptureFixture[str]) -> None:
    run = train(tiny(kimg=0.04)).run
    (run / "samples" / "kimg-000000.png").write_bytes(b"\x89PNG")
    train(dataclasses.replace(resumable_config(run), kimg=0.08), run)
    assert "kimg-000000.png is damaged, and left out of the animation" in capsys.readouterr().err


def test_lines_of_a_version_that_watched_for_no_collapse_are_gone_on_from(tiny: Make) -> None:
    run = train(tiny(kimg=0.04)).run
    earlier = [{k: v for k, v in line.items() if k not in ("fake_spread", "d_accuracy")} for line in read_metrics(run)]
    (run / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in earlier))
    train(dataclasses.replace(resumable_config(run), kimg=0.08), run)
    assert read_metrics(run)[: len(earlier)] == earlier
    assert "fake_spread" in read_metrics(run)[-1]


def test_pictures_of_other_names_among_the_samples_are_left_alone(tiny: Make) -> None:
    run = train(tiny(kimg=0.04)).run
    before = sample_grids(run)
    for name in ("kimg-000000 (1).png", "kimg-final.png"):
        (run / "samples" / name).write_bytes(b"somebody's own")
    assert sample_grids(run) == before
    train(dataclasses.replace(resumable_config(run), kimg=0.08), run)
    assert (run / "samples" / "kimg-final.png").read_bytes() == b"somebody's own"


def test_what_a_kill_left_half_written_is_gone_after_a_resume(tiny: Make) -> None:
    run = train(tiny(kimg=0.04)).run
    for name in ("samples/.kimg-000000.040.png.a1b2c3d4.png", ".model.safetensors.a1b2c3d4.safetensors"):
        (run / name).touch()
    (run / "checkpoints" / ".00000005.a1b2c3d4").mkdir()
    train(resumable_config(run), run)
    assert [path.name for path in run.rglob(".*")] == [".lock"]


def test_sample_grids_come_in_the_order_of_their_kimg(tmp_path: Path) -> None:
    (tmp_path / "samples").mkdir()
    for kimg in (1_000_000, 20, 0.5, 0):
        (tmp_path / "samples" / f"kimg-{sample_label(kimg)}.png").touch()
    assert [kimg for kimg, _ in sample_grids(tmp_path)] == [0, 0.5, 20, 1_000_000]
