"""A run's folder as it grows."""

from __future__ import annotations

import json
import os
import shutil
import time
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from dcgan.checkpoint import write_bytes
from dcgan.errors import DcganError
from dcgan.studio.runs import MOST_POINTS, Run, find_run


@pytest.fixture
def folder(run_folder: Path, tmp_path: Path) -> Path:
    """A copy to write into."""
    return Path(shutil.copytree(run_folder, tmp_path / "run"))


def test_a_run_is_found_from_each_of_its_models(run_folder: Path, tmp_path: Path) -> None:
    checkpoint = sorted((run_folder / "checkpoints").iterdir())[-1]
    for path in (run_folder, run_folder / "model.safetensors", checkpoint, checkpoint / "model.safetensors"):
        found = find_run(path)
        assert found is not None
        assert found.samefile(run_folder)
    assert find_run(tmp_path) is None


def test_it_says_what_the_run_wrote(run_folder: Path) -> None:
    state = Run(run_folder).state()
    records = [json.loads(line) for line in (run_folder / "metrics.jsonl").read_text().splitlines()]
    assert state["curves"]["kimg"] == [record["kimg"] for record in records]
    assert state["curves"]["d_real"] == pytest.approx([record["d_real"] for record in records], rel=1e-5)
    assert (state["kimg"], state["total_kimg"], state["status"]) == (0.08, 0.08, "finished")
    assert state["settings"]["data"] == "faces32"  # its name, not where it lies
    assert state["grid"] == {"count": 4, "columns": 2, "size": 32, "gap": 2}
    labels = [sample["label"] for sample in state["samples"]]
    assert labels == sorted(path.stem.removeprefix("kimg-") for path in (run_folder / "samples").iterdir())


def test_it_follows_lines_as_they_are_written(folder: Path) -> None:
    run = Run(folder)
    before = len(run.state()["curves"]["kimg"])
    record = {"step": 99, "kimg": 0.09, "epoch": 2, "discriminator_loss": 1.5, "seconds": 3.0, "d_real": float("nan")}
    line = json.dumps(record) + "\n"
    with (folder / "metrics.jsonl").open("a") as file:
        file.write(line[:20])
        file.flush()
        assert len(run.state()["curves"]["kimg"]) == before  # half a line says nothing yet
        file.write(line[20:])
        file.write(json.dumps({"step": 99, "kimg": 0.09, "evaluation": {"recall": 0.25}}) + "\n")
    state = run.state()
    assert state["curves"]["discriminator_loss"][-1] == 1.5
    assert state["curves"]["d_real"][-1] is None  # JSON has no NaN
    assert state["figures"] == {"kimg": [0.09], "recall": [0.25]}
    lines = (folder / "metrics.jsonl").read_text().splitlines(keepends=True)
    (folder / "metrics.jsonl").write_text("".join(lines[:2]))  # a resume cuts back
    assert len(run.state()["curves"]["kimg"]) == 2


def test_lines_that_say_nothing_are_left_out(folder: Path) -> None:
    before = Run(folder).state()
    with (folder / "metrics.jsonl").open("a") as file:
        file.write('{"ste\n7\n[]\n{"step": 9}\n{"kimg": 0.1, "evaluation": null}\n')
    (folder / "samples" / "kimg-000000 (1).png").touch()
    assert Run(folder).state()["curves"] == before["curves"]
    assert Run(folder).state()["samples"] == before["samples"]


def test_a_resumed_run_is_read_anew_however_long_it_has_grown(folder: Path) -> None:
    run = Run(folder)
    run.state()
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    changed = [json.dumps({**json.loads(line), "d_real": 0.125}) + "\n" for line in [*lines, lines[-1]]]
    write_bytes(folder / "metrics.jsonl", "".join(changed).encode())
    assert run.state()["curves"]["d_real"] == [0.125] * len(changed)


def test_settings_that_are_none_are_told(folder: Path) -> None:
    (folder / "config.json").write_text("[]")
    with pytest.raises(DcganError, match=r"config.json is damaged"):
        Run(folder).state()


def test_whether_it_trains_is_told_by_how_lately_it_wrote(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "kimg": 5.0}))
    os.utime(folder / "metrics.jsonl")
    assert Run(folder).state()["status"] == "training"
    hours_ago = time.time() - 7200
    os.utime(folder / "metrics.jsonl", (hours_ago, hours_ago))
    assert Run(folder).state()["status"] == "stopped"


def test_long_curves_are_thinned_to_their_ends(folder: Path) -> None:
    with (folder / "metrics.jsonl").open("a") as file:
        file.writelines(json.dumps({"step": n, "kimg": n / 10}) + "\n" for n in range(1, 5001))
    curves = Run(folder).state()["curves"]
    assert len(curves["kimg"]) <= MOST_POINTS + 1
    assert curves["kimg"][-1] == 500
    assert len(curves["generator_loss"]) == len(curves["kimg"])


def test_samples_are_looked_up_not_opened_by_name(folder: Path) -> None:
    run = Run(folder)
    label = run.state()["samples"][0]["label"]
    assert run.sample(label).is_file()
    for name in ("", "../config", f"../samples/kimg-{label}", f"{label}.png", "*"):
        with pytest.raises(DcganError, match="no sample grid"):
            run.sample(name)


def test_the_server_sends_grids_as_they_were_written(client: TestClient, run_folder: Path) -> None:
    state = client.get("/api/run")
    assert client.get("/api/run", headers={"If-None-Match": state.headers["etag"]}).status_code == 304
    label = state.json()["samples"][-1]["label"]
    answer = client.get(f"/api/run/samples/{label}")
    assert answer.content == (run_folder / "samples" / f"kimg-{label}.png").read_bytes()
