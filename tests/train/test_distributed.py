"""Several ranks: together they are one training, and a rank that fails ends it with one message and loses nothing."""

from __future__ import annotations

import dataclasses
import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
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

Make = Callable[..., TrainConfig]
SCRIPT = Path(__file__).with_name("two_ranks.py")
CPU = torch.device("cpu")
FLAGS = [
    *("--device", "cpu", "--batch", "8", "--generator-width", "4", "--discriminator-width", "4"),
    *("--latent-size", "8", "--log-every", "0.02", "--sample-every", "0.04", "--sample-count", "4"),
    *("--checkpoint-every", "0.04", "--no-tensorboard", "--animation", "none"),
]
# Plain gradient descent, which does not blow up rounding as Adam does where a gradient is near 0.
PLAIN = {"generator_optimizer": "sgd", "discriminator_optimizer": "sgd", "precision": "float32", "size": 32}
CASES: dict[str, dict[str, Any]] = {
    # A second derivative, paired logits, three passes, augmentation.
    "penalty": {**PRESETS["relativistic"], **PLAIN, "batch": 8, "augment": "diffaug", "penalty_every": 2},
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


def settings(tiny: Make, faces: PackedImages, name: str) -> TrainConfig:
    case = {"channels": 3, **CASES[name]}
    return tiny(**case, labels=choose_labels(faces, case.get("condition")))


@pytest.fixture(scope="module")
def laws(faces32: PackedImages, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of what two ranks computed."""
    out = tmp_path_factory.mktemp("laws")
    tiny = {"data": str(faces32.path), "generator_width": 4, "discriminator_width": 4, "latent_size": 8, "batch": 8}
    cases = {}
    for name, case in CASES.items():
        labels = choose_labels(faces32, case.get("condition"))
        cases[name] = {**tiny, "channels": 3, **case, "labels": labels, "kimg": 0.08, "device": "cpu"}
    (out / "cases.json").write_text(json.dumps(cases))
    subprocess.run(torchrun(SCRIPT, "laws", out / "cases.json", out), check=True, timeout=300)
    return out


def one_rank(laws: Path, name: str) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    spec = importlib.util.spec_from_file_location("two_ranks", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    config = TrainConfig(**json.loads((laws / "cases.json").read_text())[name])
    computed: tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]] = module.steps(config)
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


def test_a_rank_that_does_not_answer_is_given_up(laws: Path) -> None:
    assert "died or does not answer" in (laws / "silent").read_text()


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("size", [2, 4])
def test_the_ranks_parts_are_the_one_batch(tiny: Make, faces32: PackedImages, name: str, size: int) -> None:
    """Real images, latents, labels, targets, augmentations and noise; across the end of an epoch, too."""
    config = settings(tiny, faces32, name)
    labels = (
        torch.from_numpy(training_labels(faces32, config.labels, faces32.training_indices)) if config.labels else None
    )
    for step in (0, 7):
        whole, *parts = (
            everything(Batches(config, faces32, CPU, world, labels)(step))
            for world in (World(), *(World(rank, size) for rank in range(size)))
        )
        for key, value in whole.items():
            assert torch.equal(value, torch.cat([part[key] for part in parts], 1 if "augmentation" in key else 0)), key


def everything(thing: Any, name: str = "") -> dict[str, torch.Tensor]:
    """All tensors in dataclasses and dicts, by path."""
    if isinstance(thing, torch.Tensor):
        return {name: thing}
    if dataclasses.is_dataclass(thing):
        thing = vars(thing)
    if not isinstance(thing, dict):
        return {}
    return {path: found for key, part in thing.items() for path, found in everything(part, f"{name}/{key}").items()}


def test_a_run_moves_between_one_and_two_processes(tiny: Make, faces32: PackedImages, tmp_path: Path) -> None:
    """The whole life of a run, as a user lives it, with every way to end a part of it."""
    runs = tmp_path / "runs"
    common = ["train", str(faces32.path), "--run-dir", str(runs), *FLAGS]
    whole = [*common, "--name", "whole", "--kimg", "0.08"]
    alone = train(tiny(name="alone", kimg=0.04, animation="none", preset="relativistic", **small("relativistic"))).run

    # Two processes, never stopped; and two of which one is killed once, which torchrun starts again.
    started = dcgan(*whole, "--devices", "2")
    assert started.wait(300) == 0, started.stderr
    killed = [*common, "--name", "killed", "--kimg", "0.08", "--resume", "auto"]
    again = subprocess.run(
        torchrun("--max-restarts", "1", SCRIPT, "dcgan", tmp_path / "marker", *killed), timeout=300, capture_output=True
    )
    assert again.returncode == 0, again.stderr.decode()
    one, two = newest(runs, "whole"), newest(runs, "killed")
    assert len(list(runs.glob("*-killed"))) == 1
    for file in ("model.safetensors", "training.safetensors"):
        first, second = (load_tensors(checkpoints(run)[-1] / file)[0] for run in (one, two))
        assert all(torch.equal(first[key], second[key]) for key in first)
    assert [line["generator_loss"] for line in read_metrics(one)] == [
        line["generator_loss"] for line in read_metrics(two)
    ]

    # Seeds are the same faces whatever trains them, and two processes' run goes on in one.
    grid = "samples/kimg-000000.png"
    assert (one / grid).read_bytes() == (alone / grid).read_bytes()
    outcome = train(dataclasses.replace(resumable_config(one), kimg=0.12), one)
    assert outcome.kimg == 0.12
    assert [line["step"] for line in read_metrics(one)] == [3, 5, 8, 10, 13, 15]

    # One process' run goes on in two, which are asked to stop, and then lose one.
    process = dcgan("train", "--resume", str(alone), "--kimg", "1000", "--devices", "2")
    until(lambda: len(checkpoints(alone)) > 1 and checkpoints(alone)[-1].name > "00000010", process)
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=120)
    assert process.returncode == 128 + signal.SIGTERM, said
    assert "SIGTERM: finishing this step and saving" in said
    assert "Traceback" not in said
    stopped = checkpoints(alone)[-1]
    assert read_metrics(alone)[-1]["step"] <= int(stopped.name)

    process = dcgan("train", "--resume", str(alone), "--kimg", "1000", "--devices", "2")
    until(lambda: checkpoints(alone)[-1].name > stopped.name, process)
    os.kill(rank_one(process.pid), signal.SIGKILL)
    _, said = process.communicate(timeout=120)
    assert process.returncode == 2
    assert said.splitlines()[-1].startswith("dcgan: rank 1 of 2 was ended by SIGKILL; ")
    assert said.count("dcgan: ") == 1
    assert "Traceback" not in said
    train(dataclasses.replace(resumable_config(alone), kimg=int(checkpoints(alone)[-1].name) * 8 / 1000 + 0.02), alone)


def small(preset: str) -> dict[str, Any]:
    """What a preset sets, and the tiny settings do not."""
    return {name: value for name, value in PRESETS[preset].items() if name != "batch"}


def dcgan(*arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "dcgan", *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def newest(runs: Path, name: str) -> Path:
    return sorted(runs.glob(f"*-{name}"))[-1]


def until(condition: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    while not condition():
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.02)


def rank_one(launcher: int) -> int:
    """The process of rank 1 among a launcher's children."""
    for child in Path(f"/proc/{launcher}/task/{launcher}/children").read_text().split():
        if b"\0RANK=1\0" in Path(f"/proc/{child}/environ").read_bytes():
            return int(child)
    raise AssertionError("there is no rank 1")


def test_a_mistake_is_told_once(tmp_path: Path) -> None:
    process = dcgan("train", str(tmp_path / "nothing"), "--devices", "2", "--device", "cpu")
    _, said = process.communicate(timeout=300)
    assert process.returncode == 2
    assert said.splitlines() == [f"dcgan: {tmp_path / 'nothing'} does not exist"]


@pytest.mark.parametrize(("batch", "size"), [(8, 3), (4, 4)])
def test_a_batch_that_cannot_be_shared_is_refused(tiny: Make, batch: int, size: int) -> None:
    with pytest.raises(DcganError, match=f"batch {batch} cannot be shared by {size} processes"):
        train(tiny(batch=batch), world=World(0, size))


def test_synchronised_batch_norm_needs_cuda(tiny: Make) -> None:
    with pytest.raises(DcganError, match="sync_batchnorm works on CUDA alone"):
        train(tiny(sync_batchnorm=True))
    network = torch.nn.Sequential(torch.nn.Conv2d(1, 2, 1), torch.nn.BatchNorm2d(2))
    scale = network[1].weight
    synchronize_batch_norm(network, torch.device("cuda"))
    assert isinstance(network[1], torch.nn.SyncBatchNorm)
    assert network[1].weight is scale  # which the optimiser holds
