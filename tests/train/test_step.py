"""What a step does with the device: it never waits for it, and every number format and torch.compile go through it."""

from __future__ import annotations

import dataclasses
import signal
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from dcgan.checkpoint import load_tensors
from dcgan.config import PRESETS, TrainConfig
from dcgan.data import PackedImages, choose_labels
from dcgan.device import allow_tf32, peak_memory
from dcgan.train import resumable_config, train
from dcgan.train.distributed import World
from dcgan.train.loop import Trainer
from dcgan.train.run import checkpoints

Make = Callable[..., TrainConfig]
# What makes the processor wait for a GPU: reading a number, or making a shape from values.
WAITING = {
    "_local_scalar_dense", "is_nonzero", "equal", "nonzero", "masked_select", "unique_dim", "_unique2", "allclose",
}  # fmt: skip


class NoWaiting(TorchDispatchMode):
    """Refuses operations that wait."""

    def __torch_dispatch__(
        self, func: Any, types: Sequence[type], args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func.overloadpacket.__name__ in WAITING:
            raise AssertionError(f"{func} waits for the device")
        if func.overloadpacket.__name__.startswith("index") and any(
            index is not None and index.dtype is torch.bool for index in args[1]
        ):
            raise AssertionError("indexing by booleans waits for the device")
        return func(*args, **(kwargs or {}))


def refuse_waiting(monkeypatch: pytest.MonkeyPatch) -> NoWaiting:
    """Also what never comes to a dispatcher when tensors are on the processor."""

    def refused(name: str) -> Callable[..., None]:
        def refuse(*_: object) -> None:
            raise AssertionError(f"Tensor.{name} waits for the device")

        return refuse

    for name in ("item", "tolist", "numpy", "cpu", "__bool__", "__float__", "__int__", "__index__", "__array__"):
        monkeypatch.setattr(torch.Tensor, name, refused(name))
    return NoWaiting()


@pytest.mark.parametrize("condition", [None, "all"])
@pytest.mark.parametrize("precision", ["float32", "bf16", "fp16"])
@pytest.mark.parametrize("preset", ["relativistic", "ganhacks"])
def test_a_step_never_waits_for_the_device(
    tiny: Make,
    faces32: PackedImages,
    monkeypatch: pytest.MonkeyPatch,
    preset: str,
    precision: str,
    condition: str | None,
) -> None:
    """Draws are made on the processor, before; all that follows could run on a GPU that is steps behind."""
    settings = {**PRESETS[preset], "batch": 8, "augment": "diffaug", "precision": precision, "condition": condition}
    config = tiny(size=32, channels=3, labels=choose_labels(faces32, condition), **settings)
    trainer = Trainer(config, faces32, Path(), torch.device("cpu"))
    trainer.train_step()  # Adam makes its state in the first
    trainer.state.step = 8  # with a gradient penalty
    batch = trainer.batches(8)
    monkeypatch.setattr(trainer, "batches", lambda step: batch)
    with monkeypatch.context() as patch, refuse_waiting(patch):
        trainer.train_step()
    assert torch.isfinite(trainer.state.metric_sums).all()


def test_waiting_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    ones = torch.ones(3)
    waits: list[Callable[[], object]] = [
        lambda: ones.sum().item(),
        lambda: bool(ones.sum()),
        lambda: ones[ones > 0],
        lambda: ones.nonzero(),
        lambda: ones.tolist(),
        lambda: torch.equal(ones, ones),
    ]
    with monkeypatch.context() as patch, refuse_waiting(patch):
        for wait in waits:
            with pytest.raises(AssertionError, match="waits"):
                wait()


@pytest.mark.parametrize("augment", ["none", "diffaug"])
def test_half_precision_scales_its_losses_and_resumes_exactly(tiny: Make, augment: str) -> None:
    settings = {**PRESETS["relativistic"], "batch": 8, "precision": "fp16", "augment": augment}
    whole = train(tiny(**settings)).run
    parts = train(tiny(**settings, kimg=0.04)).run
    train(dataclasses.replace(resumable_config(parts), kimg=0.08), parts)
    one, two = (load_tensors(checkpoints(run)[-1] / "training.safetensors")[0] for run in (whole, parts))
    assert all(torch.equal(one[name], two[name]) for name in one)
    scale, steps_without_overflow = one["generator_scaler"].tolist()
    assert scale > 1
    assert steps_without_overflow > 0


def test_a_step_that_overflows_is_skipped(tiny: Make, faces32: PackedImages) -> None:
    trainer = Trainer(tiny(size=32, channels=3, precision="fp16"), faces32, Path(), torch.device("cpu"))
    scaler = trainer.state.discriminator_scaler
    scaler.load_state_dict({**scaler.state_dict(), "scale": 2.0**60})
    before = [parameter.clone() for parameter in trainer.state.discriminator.parameters()]
    trainer.train_step()
    assert all(torch.equal(*pair) for pair in zip(before, trainer.state.discriminator.parameters(), strict=True))
    assert scaler.get_scale() < 2.0**60
    assert torch.isfinite(trainer.state.metric_sums).all()


def test_compiled_networks_are_used_but_for_second_derivatives(
    tiny: Make, faces32: PackedImages, monkeypatch: pytest.MonkeyPatch
) -> None:
    compiled: list[nn.Module] = []
    called: list[str] = []

    def compile_(network: nn.Module) -> Callable[..., torch.Tensor]:
        compiled.append(network)

        def run(*inputs: torch.Tensor | None) -> torch.Tensor:
            called.append(str(network.role))
            output: torch.Tensor = network(*inputs)
            return output

        return run

    monkeypatch.setattr(torch, "compile", compile_)
    settings = {**PRESETS["relativistic"], "batch": 8, "augment": "none", "penalty_every": 2}
    trainer = Trainer(tiny(size=32, channels=3, compile=True, **settings), faces32, Path(), torch.device("cpu"))
    trainer.train_step()
    assert called == ["generator", *2 * ["discriminator"]]  # the generator's step alone
    trainer.train_step()
    assert called[3:] == ["generator", *4 * ["discriminator"]]


@pytest.mark.parametrize("precision", ["tf32", "float32"])
def test_tf32_is_a_choice(tiny: Make, precision: str) -> None:
    before = torch.backends.cudnn.allow_tf32
    try:
        train(tiny(precision=precision, kimg=0.008))
        assert torch.backends.cudnn.allow_tf32 == torch.backends.cuda.matmul.allow_tf32 == (precision == "tf32")
    finally:
        allow_tf32(before)


def test_the_memory_of_a_gpu_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda device: 3 * 2**20)
    assert peak_memory(torch.device("cuda")) == {"gpu_memory_mb": 3.0}
    assert peak_memory(torch.device("cpu")) == {}


def test_a_signal_that_comes_while_ranks_confer_is_heard_at_the_next_step(
    tiny: Make, faces32: PackedImages, tmp_path: Path
) -> None:
    ours = Trainer(tiny(size=32, channels=3), faces32, tmp_path, torch.device("cpu"))

    class Conferring(World):
        def maximum(self, value: float) -> float:
            ours.stop_signal = signal.SIGTERM  # as the handler does, whenever it is called
            return value

    ours.world = Conferring()
    assert not ours.asked_to_stop()
    assert ours.asked_to_stop()
    assert ours.stop_signal == signal.SIGTERM
