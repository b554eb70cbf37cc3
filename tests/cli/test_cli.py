"""The command line: help without torch, one-line errors without tracebacks, and each command end to end."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import dcgan
from dcgan.cli import COMMANDS, main
from dcgan.config import TrainConfig
from dcgan.data import PackedImages
from dcgan.models import Generator
from dcgan.train import train

Make = Callable[..., TrainConfig]
TINY = [
    "--batch",
    "8",
    "--generator-width",
    "4",
    "--discriminator-width",
    "4",
    "--lr-decay",
    "none",
    "--latent-size",
    "8",
    "--no-tensorboard",
    "--device",
    "cpu",
]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, faces32: PackedImages) -> Path:
    """A run that was trained from the command line."""
    folder = tmp_path_factory.mktemp("runs")
    assert main(["train", str(faces32.path), *TINY, "--kimg", "0.08", "--run-dir", str(folder), "--name", "a"]) == 0
    return folder / "00000-a"


@pytest.fixture(scope="module")
def help_of() -> dict[str, tuple[int, str, list[str]]]:
    """Of every command's --help: the exit status, what it prints, and what heavy modules it has imported."""
    code = """
import contextlib, io, json, sys
from dcgan.cli import main
found = {}
for command in sys.argv[1:]:
    with contextlib.redirect_stdout(io.StringIO()) as out:
        try:
            status = main([*command.split(), "--help"])
        except SystemExit as end:
            status = end.code or 0
    found[command] = status, out.getvalue(), [name for name in ("torch", "numpy") if sys.modules.get(name)]
print(json.dumps(found))
"""
    command = [sys.executable, "-c", code, "", *COMMANDS]
    found: dict[str, tuple[int, str, list[str]]] = json.loads(
        subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout
    )
    return found


@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_help_answers_without_torch(command: str, help_of: dict[str, tuple[int, str, list[str]]]) -> None:
    status, text, imported = help_of[command]
    assert status == 0
    assert "usage: dcgan" in text
    assert imported == []


def test_help_lists_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    text = capsys.readouterr().out
    assert all(f"\n  {command} " in text for command in COMMANDS)


def one_line_error(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """Run a command that must fail with status 2 and one line; returns the line."""
    assert main(arguments) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1, lines
    return lines[0]


def test_mistakes_are_told_in_one_line(capsys: pytest.CaptureFixture[str], tmp_path: Path, run: Path) -> None:
    def told(*arguments: str) -> str:
        return one_line_error(capsys, *arguments)

    assert "there is no command 'fly'" in told("fly")
    assert "does not exist" in told("generate", str(tmp_path / "nowhere"))
    assert "does not exist" in told("train", str(tmp_path / "nowhere"), "--run-dir", str(tmp_path))
    assert "name what to train on" in told("train")
    assert "not the folder of a run" in told("train", "--resume", str(tmp_path))
    assert "preset must be one of" in told("train", "toy", "--preset", "nice")
    assert "cannot read" in told("train", "toy", "--config", str(tmp_path / "none.json"))
    for settings, complaint in (("[]", "must hold a JSON object"), ('{"preset": []}', "preset cannot be []")):
        (tmp_path / "odd.json").write_text(settings)
        assert complaint in told("train", "toy", "--config", str(tmp_path / "odd.json"))
    assert "seeds must look like" in told("generate", str(run), "--seeds", "a-b")
    assert "only a checkpoint's folder" in told("generate", str(run), "--raw-weights")
    assert "must end in" in told("generate", str(run), "--grid", str(tmp_path / "a.tiff"))
    assert "holds no model" in told("generate", str(tmp_path))
    assert "is no run" in told("info", str(tmp_path))
    assert not any(path.name.startswith("0") for path in tmp_path.iterdir())


def test_what_may_not_be_read_is_told_in_one_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, run: Path
) -> None:
    def refuse(path: Path) -> str:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))

    monkeypatch.setattr("dcgan.train.state.file_digest", refuse)
    assert "checkpoints" in one_line_error(capsys, "train", "--resume", str(run))


def test_unknown_flags_exit_with_status_2(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(["train", "toy", "--kimgs", "3"])
    assert end.value.code == 2
    assert "--kimg" in capsys.readouterr().err


def test_flags_beat_the_config_file_which_beats_the_preset(faces32: PackedImages, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"preset": "ganhacks", "label_flip": 0.2, "beta1": 0.3}))
    arguments = ["train", str(faces32.path), *TINY, "--kimg", "0.008", "--run-dir", str(tmp_path), "--name", "b"]
    assert main([*arguments, "--config", str(tmp_path / "config.json"), "--beta1", "0.1"]) == 0
    config = json.loads((tmp_path / "00000-b" / "config.json").read_text())
    assert (config["real_label"], config["label_flip"], config["beta1"]) == (0.9, 0.2, 0.1)


def test_a_run_repeats_from_its_own_config(run: Path, tmp_path: Path) -> None:
    assert main(["train", "--config", str(run / "config.json"), "--run-dir", str(tmp_path)]) == 0
    again = tmp_path / "00000-a"
    assert (again / "model.safetensors").read_bytes() == (run / "model.safetensors").read_bytes()


def test_resume_auto_starts_then_goes_on(faces32: PackedImages, tmp_path: Path, run: Path) -> None:
    arguments = ["train", str(faces32.path), *TINY, "--run-dir", str(tmp_path), "--name", "a", "--resume", "auto"]
    assert main([*arguments, "--kimg", "0.04"]) == 0
    assert main([*arguments, "--kimg", "0.08"]) == 0
    assert [path.name for path in tmp_path.iterdir()] == ["00000-a"]
    assert np.array_equal(
        Generator.from_pretrained(tmp_path / "00000-a").sample([1]), Generator.from_pretrained(run).sample([1])
    )


@pytest.mark.parametrize("number", ["SIGINT", "SIGTERM"])
def test_a_signal_saves_and_says_how_to_go_on(tiny: Make, number: str, tmp_path: Path) -> None:
    config = tiny()
    arguments = [config.data, *TINY, "--kimg", "1000", "--run-dir", str(tmp_path), "--name", "s"]
    process = subprocess.Popen(
        [sys.executable, "-m", "dcgan", "train", *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    while not (tmp_path / "00000-s" / "samples").exists():
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(getattr(signal, number))
    out, err = process.communicate(timeout=60)
    assert process.returncode == 128 + getattr(signal, number)
    assert f"go on with: dcgan train --resume {tmp_path / '00000-s'}" in out
    assert "Traceback" not in err
    assert (tmp_path / "00000-s" / "model.safetensors").exists()


def test_images_are_functions_of_their_seeds(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["generate", str(run), "--out", str(tmp_path / "a"), "--seeds", "0-39,1000"]) == 0
    assert main(["generate", str(run), "--out", str(tmp_path / "b"), "--seeds", "1000,7"]) == 0
    assert sorted(path.name for path in (tmp_path / "b").iterdir()) == ["seed00007.png", "seed01000.png"]
    for path in (tmp_path / "b").iterdir():
        assert path.read_bytes() == (tmp_path / "a" / path.name).read_bytes()
    assert str(tmp_path / "b") in capsys.readouterr().out


def test_generate_writes_each_format(run: Path, tmp_path: Path) -> None:
    expected = Generator.from_pretrained(run).sample(range(3))
    for form in ("png", "webp", "jpg", "npy"):
        assert main(["generate", str(run), "-n", "3", "--out", str(tmp_path / form), "--format", form]) == 0
    assert np.array_equal(np.load(tmp_path / "npy" / "images.npy"), expected)
    for form in ("png", "webp"):
        with Image.open(tmp_path / form / f"seed00002.{form}") as image:
            assert np.array_equal(np.asarray(image), expected[2])
    with Image.open(tmp_path / "png" / "seed00002.png") as image:
        about = json.loads(image.info["Description"])
    assert about["seed"] == 2
    assert about["model"] == Generator.from_pretrained(run).about["digest"]


def test_raw_weights_are_not_the_average(run: Path, tmp_path: Path) -> None:
    newest = sorted((run / "checkpoints").iterdir())[-1]
    for flags in ([], ["--raw-weights"]):
        out = str(tmp_path / ("raw" if flags else "average"))
        assert main(["generate", str(newest), "--count", "4", "--format", "npy", "--out", out, *flags]) == 0
    raw, average = (np.load(tmp_path / name / "images.npy") for name in ("raw", "average"))
    assert not np.array_equal(raw, average)


def test_info_describes_each_kind(run: Path, faces32: PackedImages, capsys: pytest.CaptureFixture[str]) -> None:
    newest = sorted((run / "checkpoints").iterdir())[-1]
    for path, kind in (
        (run, "run"),
        (newest, "checkpoint"),
        (run / "model.safetensors", "model"),
        (faces32.path, "data set"),
    ):
        assert main(["info", str(path), "--json", "--verify"]) == 0
        about = json.loads(capsys.readouterr().out)
        assert about["kind"] == kind
        assert main(["info", str(path)]) == 0
        assert f"kind: {kind}" in capsys.readouterr().out
    assert about["digest"] == faces32.digest


def test_info_verify_finds_a_flipped_bit(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = bytearray((run / "model.safetensors").read_bytes())
    data[-100] ^= 4
    (tmp_path / "m.safetensors").write_bytes(data)
    assert main(["info", str(tmp_path / "m.safetensors")]) == 0
    capsys.readouterr()
    assert "damaged" in one_line_error(capsys, "info", str(tmp_path / "m.safetensors"), "--verify")


def test_python_gives_what_the_command_line_gives(tiny: Make, tmp_path: Path) -> None:
    run = train(tiny()).run
    assert main(["generate", str(run), "--count", "2", "--format", "npy", "--out", str(tmp_path)]) == 0
    assert np.array_equal(np.load(tmp_path / "images.npy"), dcgan.Generator.from_pretrained(run).sample([0, 1]))
    assert all(getattr(dcgan, name) is not None for name in dcgan.__all__)


def test_parts_are_prepared_and_merged(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for part in ("1/2", "2/2"):
        out = str(tmp_path / part[0])
        assert main(["prepare", "toy", out, "--count", "5", "--size", "16", "--workers", "1", "--part", part]) == 0
        assert f"part {part[0]} of 2: join them with dcgan merge" in capsys.readouterr().out
    assert main(["merge", str(tmp_path / "both"), str(tmp_path / "2"), str(tmp_path / "1")]) == 0
    assert "both: 5 images of 16x16x3" in capsys.readouterr().out
    assert "parts are missing: 2/2" in one_line_error(capsys, "merge", str(tmp_path / "x"), str(tmp_path / "1"))
