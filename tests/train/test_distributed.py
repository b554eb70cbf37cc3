"""Several ranks: together they are one training, and a rank that fails ends it with one message and loses nothing."""

from __future__ import annotations

import contextlib
import dataclasses
import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from dcgan.checkpoint import load_tensors
from dcgan.config import PRESETS, TrainConfig
from dcgan.data import PackedImages, choose_labels, training_labels
from dcgan.errors import DcganError
from dcgan.train import resumable_config, train
from dcgan.train.batch import Batches
from dcgan.train.distributed import World, synchronize_batch_norm
from dcgan.train.run import checkpoints
from dcgan.train.tracking import read_metrics

SCRIPT = Path(__file__).with_name("two_ranks.py")
CPU = torch.device("cpu")
# Plain gradient descent, which does not blow up rounding as Adam does where a gradient is near 0.
PLAIN = {"generator_optimizer": "sgd", "discriminator_optimizer": "sgd", "precision": "float32", "size": 32}
CASES: dict[str, dict[str, Any]] = {
    # A second derivative, paired logits, three passes, augmentation.
    "penalty": {**PRESETS["relativistic"], **PLAIN, "augment": "diffaug", "penalty_every": 2},
    # Flipped labels, noise, labels of conditional models.
    "hacks": {**PRESETS["ganhacks"], **PLAIN, "discriminator_norm": "none", "label_flip": 0.4, "condition": "all"},
    # BatchNorm in the discriminator as well: other gradients than one rank's, but the same on both.
    "paper": {**PLAIN},
}


def torchrun(*arguments: str | Path) -> list[str]:
    return [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--standalone",
        "--nproc-per-node",
        "2",
        *map(str, arguments),
    ]


def tiny(faces: PackedImages, **settings: Any) -> dict[str, Any]:
    """Settings of a run that takes a second."""
    return {
        **{"data": str(faces.path), "size": 32, "channels": 3, "device": "cpu", "kimg": 0.08},
        **{"latent_size": 8, "generator_width": 4, "discriminator_width": 4, "tensorboard": False, "animation": "none"},
        **{"log_every": 0.02, "sample_every": 0.04, "sample_count": 4, "checkpoint_every": 0.04},
        **settings,
        "labels": choose_labels(faces, settings.get("condition")),
        "batch": 8,
    }


def run_settings(faces: PackedImages, folder: Path, **settings: Any) -> dict[str, Any]:
    return tiny(
        faces, **{**PRESETS["relativistic"], "preset": "relativistic", "run_dir": str(folder / "runs"), **settings}
    )


@pytest.fixture(scope="module")
def laws(faces32: PackedImages, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of what two ranks computed."""
    out = tmp_path_factory.mktemp("laws")
    (out / "cases.json").write_text(json.dumps({name: tiny(faces32, **case) for name, case in CASES.items()}))
    (out / "run.json").write_text(json.dumps(run_settings(faces32, out, name="whole")))
    train(TrainConfig(**run_settings(faces32, out, name="one", kimg=0.04)))
    subprocess.run(torchrun(SCRIPT, "laws", out / "cases.json", out), check=True, timeout=600, stderr=subprocess.PIPE)
    return out


def script() -> Any:
    """two_ranks.py as a module."""
    spec = importlib.util.spec_from_file_location("two_ranks", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def one_rank(laws: Path, name: str) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    config = TrainConfig(**json.loads((laws / "cases.json").read_text())[name])
    computed: tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]] = script().steps(config)
    return computed


@pytest.mark.parametrize("name", ["penalty", "hacks"])
def test_two_ranks_gradient_is_one_ranks_on_the_same_batch(laws: Path, name: str) -> None:
    gradients, weights = one_rank(laws, name)
    shared = load_tensors(laws / f"{name}-gradients-0")[0]
    assert shared.keys() == gradients.keys()
    for key, gradient in gradients.items():
        assert gradient.abs().max() > 0, key
        torch.testing.assert_close(shared[key], gradient, rtol=1e-4, atol=1e-5 * float(gradient.abs().max()), msg=key)
    after = load_tensors(laws / f"{name}-weights-0")[0]
    for key, weight in weights.items():
        torch.testing.assert_close(after[key], weight.detach(), rtol=1e-4, atol=1e-6, msg=key)


@pytest.mark.parametrize("name", CASES)
def test_weights_stay_the_same_on_all_ranks(laws: Path, name: str) -> None:
    one, two = (load_tensors(laws / f"{name}-weights-{rank}")[0] for rank in (0, 1))
    assert all(torch.equal(one[key], two[key]) for key in one)


def test_what_the_first_rank_sees_sends_all_back(laws: Path) -> None:
    expected = [[step, 1.0] for step in range(1, 9)] + [[step, 0.5] for step in range(6, 11)]
    assert [json.loads((laws / f"rates-{rank}.json").read_text()) for rank in (0, 1)] == [expected, expected]


def test_a_rank_that_does_not_answer_is_given_up(laws: Path) -> None:
    assert "died or does not answer" in (laws / "silent").read_text()


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("size", [2, 4])
def test_the_ranks_parts_are_the_one_batch(faces32: PackedImages, name: str, size: int) -> None:
    """Real images, latents, labels, targets, augmentations and noise; across the end of an epoch, too."""
    config = TrainConfig(**tiny(faces32, **CASES[name]))
    values = training_labels(faces32, config.labels, faces32.training_indices[:]) if config.labels else None
    labels = None if values is None else torch.from_numpy(values)
    for step in (0, 7):
        whole, *parts = (
            everything(Batches(config, faces32, CPU, world, labels)(step))
            for world in (World(), *(World(rank, size) for rank in range(size)))
        )
        for key, value in whole.items():
            assert torch.equal(value, torch.cat([part[key] for part in parts], 1 if "augmentation" in key else 0)), key


def test_a_run_of_one_process_goes_on_through_the_data_with_two(faces32: PackedImages, laws: Path) -> None:
    (one,) = (laws / "runs").glob("*-one")
    parts = [json.loads((laws / f"places-{rank}.json").read_text()) for rank in (0, 1)]
    together = {int(step): places + parts[1][step] for step, places in parts[0].items()}
    assert together == order_of(faces32, one, range(5, 10))
    assert [line["step"] for line in read_metrics(one)] == [3, 5, 8, 10]


def order_of(faces: PackedImages, run: Path, steps: range) -> dict[int, list[int]]:
    """The places of the real images that one process would show in these steps."""
    batches = Batches(resumable_config(run), faces, CPU)
    return {step: batches.places(step).tolist() for step in steps}


def everything(thing: Any, name: str = "") -> dict[str, torch.Tensor]:
    """All tensors in dataclasses and dicts, by path."""
    if isinstance(thing, torch.Tensor):
        return {name: thing}
    if dataclasses.is_dataclass(thing):
        thing = vars(thing)
    if not isinstance(thing, dict):
        return {}
    return {path: found for key, part in thing.items() for path, found in everything(part, f"{name}/{key}").items()}


def test_torchrun_starts_a_run_again_that_lost_a_rank(faces32: PackedImages, laws: Path, tmp_path: Path) -> None:
    """It ends with the very bits of one that lost none."""
    (tmp_path / "run.json").write_text(json.dumps(run_settings(faces32, tmp_path)))
    arguments = ("train", "--config", tmp_path / "run.json", "--resume", "auto")
    command = torchrun("--max-restarts", "1", SCRIPT, "dcgan", tmp_path / "marker", *arguments)
    done = subprocess.run(command, timeout=600, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "marker").exists()
    (run,), (whole,) = (tmp_path / "runs").iterdir(), (laws / "runs").glob("*-whole")
    for file in ("model.safetensors", "training.safetensors"):
        one, two = (load_tensors(checkpoints(each)[-1] / file)[0] for each in (run, whole))
        assert all(torch.equal(one[key], two[key]) for key in one)
    losses = [[line["generator_loss"] for line in read_metrics(each)] for each in (run, whole)]
    assert losses[0] == losses[1]


def test_a_run_moves_between_one_and_two_processes(faces32: PackedImages, laws: Path, tmp_path: Path) -> None:
    (two,) = (laws / "runs").glob("*-whole")
    moved = tmp_path / two.name
    shutil.copytree(two, moved)
    with script().noted_places() as places:
        outcome = train(dataclasses.replace(resumable_config(moved), kimg=0.12), moved)
    assert outcome.kimg == 0.12
    assert {int(step): chosen for step, chosen in places.items()} == order_of(faces32, moved, range(10, 15))
    assert [line["step"] for line in read_metrics(moved)] == [3, 5, 8, 10, 13, 15]

    one = train(TrainConfig(**run_settings(faces32, tmp_path, kimg=0.04))).run
    grid = "samples/kimg-000000.png"
    assert (one / grid).read_bytes() == (two / grid).read_bytes()  # the same seeds are the same faces
    longer = ("train", "--resume", str(one), "--kimg", "1000", "--devices", "2")
    said = tmp_path / "said"
    with started(said, *longer) as process:
        until(lambda: checkpoints(one)[-1].name > "00000005", process, said)
        process.send_signal(signal.SIGTERM)
    assert process.returncode == 128 + signal.SIGTERM
    assert "SIGTERM: finishing this step and saving" in said.read_text()
    assert "Traceback" not in said.read_text()
    stopped = checkpoints(one)[-1].name
    assert read_metrics(one)[-1]["step"] <= int(stopped)

    with started(said, *longer) as process:
        until(lambda: checkpoints(one)[-1].name > stopped, process, said)
        os.kill(rank_one(process.pid), signal.SIGKILL)
    assert process.returncode == 2
    assert said.read_text().splitlines()[-1].startswith("dcgan: rank 1 of 2 was ended by SIGKILL; ")
    assert said.read_text().count("dcgan: ") == 1
    assert "Traceback" not in said.read_text()
    reached = int(checkpoints(one)[-1].name)
    assert train(dataclasses.replace(resumable_config(one), kimg=(reached + 2) * 8 / 1000), one).stopped_by is None


@contextlib.contextmanager
def started(said: Path, *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    """`dcgan ARGUMENTS` in a process of its own, which ends before the block is left; it speaks into a file."""
    with said.open("wb") as file:
        process = subprocess.Popen([sys.executable, "-m", "dcgan", *arguments], stdout=file, stderr=file)
        try:
            yield process
            process.wait(300)
        finally:
            process.kill()


def until(condition: Callable[[], bool], process: subprocess.Popen[bytes], said: Path) -> None:
    while not condition():
        assert process.poll() is None, said.read_text()
        time.sleep(0.02)


def rank_one(launcher: int) -> int:
    """The process of rank 1 among a launcher's children."""
    for child in Path(f"/proc/{launcher}/task/{launcher}/children").read_text().split():
        if b"\0RANK=1\0" in Path(f"/proc/{child}/environ").read_bytes():
            return int(child)
    raise AssertionError("there is no rank 1")


def test_a_mistake_is_told_once(tmp_path: Path) -> None:
    with started(tmp_path / "said", "train", str(tmp_path / "nothing"), "--devices", "2", "--device", "cpu") as process:
        pass
    assert process.returncode == 2
    assert (tmp_path / "said").read_text().splitlines() == [f"dcgan: {tmp_path / 'nothing'} does not exist"]


@pytest.mark.parametrize(("batch", "size"), [(8, 3), (4, 4)])
def test_a_batch_that_cannot_be_shared_is_refused(faces32: PackedImages, batch: int, size: int) -> None:
    with pytest.raises(DcganError, match=f"batch {batch} cannot be shared by {size} processes"):
        train(TrainConfig(**{**tiny(faces32), "batch": batch}), world=World(0, size))


def test_synchronised_batch_norm_needs_cuda(faces32: PackedImages, tmp_path: Path) -> None:
    with pytest.raises(DcganError, match="sync_batchnorm works on CUDA alone"):
        train(TrainConfig(**tiny(faces32, sync_batchnorm=True, run_dir=str(tmp_path))))
    network = torch.nn.Sequential(torch.nn.Conv2d(1, 2, 1), torch.nn.BatchNorm2d(2))
    scale = network[1].weight
    synchronize_batch_norm(network, torch.device("cuda"))
    assert isinstance(network[1], torch.nn.SyncBatchNorm)
    assert network[1].weight is scale  # which the optimiser holds
