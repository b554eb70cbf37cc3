"""All that a run needs to go on exactly: two networks, the average, two optimisers and a few counters.

There is no random state in it: every draw is a function of the seed and the step (`dcgan.draws`).
"""

from __future__ import annotations

import contextlib
import copy
import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from dcgan.checkpoint import (
    file_digest,
    json_digest,
    load_tensors,
    new_folder,
    read_json,
    save_tensors,
    write_json,
    write_with,
)
from dcgan.config import ModelConfig, TrainConfig
from dcgan.device import choose_precision
from dcgan.draws import generator_for
from dcgan.errors import DcganError
from dcgan.model_file import MODEL_FILE, read_model, save_model
from dcgan.models import Discriminator, Generator

STATE_FILE = "state.json"
TRAINING_FILE = "training.safetensors"
BEST_FILE = "best.safetensors"
METRICS = (
    *("discriminator_loss", "generator_loss", "d_real", "d_fake", "d_fake_updated"),
    *("d_accuracy", "logit_gap", "fake_spread", "generator_gradient", "discriminator_gradient"),
)


@dataclass
class TrainingState:
    """What changes from step to step."""

    generator: Generator
    discriminator: Discriminator
    average: Generator
    generator_optimizer: torch.optim.Optimizer
    discriminator_optimizer: torch.optim.Optimizer
    generator_scaler: torch.amp.GradScaler
    discriminator_scaler: torch.amp.GradScaler
    """Scale losses up so that float16's gradients do not vanish; they do nothing in other precisions."""
    metric_sums: torch.Tensor
    """Sums of `METRICS` since the last line of metrics.jsonl, and the number of steps they cover; float32."""
    step: int = 0
    seconds: float = 0.0
    """Time spent training, over all sessions of the run."""
    rate_scale: float = 1.0
    """What both learning rates are multiplied with; halved when the run goes back from a collapse."""

    @classmethod
    def start(cls, config: TrainConfig, device: torch.device) -> TrainingState:
        """Fresh networks, drawn from the seed, and their optimisers."""
        generator = Generator(config.model).initialize(generator_for(config.seed, "generator weights", 0))
        discriminator = Discriminator(config.model).initialize(generator_for(config.seed, "discriminator weights", 0))
        # channels_last makes bf16 convolutions about twice as fast; without it they are slower than float32.
        generator.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        discriminator.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        half = choose_precision(config.precision, device)[0] is torch.float16
        return cls(
            generator=generator,
            discriminator=discriminator,
            average=copy.deepcopy(generator).requires_grad_(False).eval(),
            generator_optimizer=_optimizer(config, generator, config.generator_optimizer, config.generator_lr),
            discriminator_optimizer=_optimizer(
                config, discriminator, config.discriminator_optimizer, config.discriminator_lr
            ),
            generator_scaler=torch.amp.GradScaler(device.type, enabled=half),
            discriminator_scaler=torch.amp.GradScaler(device.type, enabled=half),
            metric_sums=torch.zeros(len(METRICS) + 1, device=device),
        )

    def save_model(self, path: Path, config: ModelConfig, about: dict[str, Any]) -> None:
        """Write a model file: the averaged generator, and the discriminator."""
        states = {"generator": self.average.state_dict(), "discriminator": self.discriminator.state_dict()}
        save_model(path, config, states, about)

    def save(self, folder: Path, config: ModelConfig, about: dict[str, Any], best: Path) -> None:
        """Write the checkpoint `folder`, whole or not at all; refuses weights that are not finite.

        `model.safetensors` in it is a model file like any other. `best`, the best model so far, is kept with it if
        there is one: a run that goes on from here must not keep what it had not reached yet.
        """
        for network in (self.generator, self.discriminator, self.average):
            for name, tensor in network.state_dict().items():
                if not torch.isfinite(tensor).all():
                    raise DcganError(f"the {network.role}'s {name} is no longer finite")
        with new_folder(folder) as temporary:
            self.save_model(temporary / MODEL_FILE, config, about)
            save_tensors(temporary / TRAINING_FILE, self._training_tensors())
            if best.exists():
                write_with(temporary / BEST_FILE, lambda place: shutil.copyfile(best, place))
            counters = {
                "step": self.step,
                "seconds": self.seconds,
                "rate_scale": self.rate_scale,
                "model": asdict(config),
                "dataset": about["dataset"],
                "training": about["training"],
                "checksums": {path.name: file_digest(path) for path in temporary.iterdir()},
            }
            write_json(temporary / STATE_FILE, {**counters, "digest": json_digest(counters)})

    def restore(self, folder: Path) -> None:
        """Take everything from the checkpoint `folder`; one that is damaged or does not fit is a `DcganError`."""
        counters = check_checkpoint(folder)
        _, model, _ = read_model(folder)
        training, _ = load_tensors(folder / TRAINING_FILE)
        with _told_if_unfit(folder):
            _copy_into(self.average, "generator.", model)
            _copy_into(self.discriminator, "discriminator.", model)
            _copy_into(self.generator, "raw_generator.", training)
            for role, network, optimizer in self._optimized():
                _restore_optimizer(optimizer, network, f"{role}_optimizer.", training)
            for role, scaler in self._scalers():
                if f"{role}_scaler" in training:
                    _restore_scaler(scaler, training[f"{role}_scaler"])
            self.metric_sums.copy_(training["metric_sums"])
            self.step, self.seconds, self.rate_scale = (counters[name] for name in ("step", "seconds", "rate_scale"))

    def _optimized(self) -> list[tuple[str, nn.Module, torch.optim.Optimizer]]:
        return [
            ("generator", self.generator, self.generator_optimizer),
            ("discriminator", self.discriminator, self.discriminator_optimizer),
        ]

    def _scalers(self) -> list[tuple[str, torch.amp.GradScaler]]:
        """Those in use."""
        scalers = [("generator", self.generator_scaler), ("discriminator", self.discriminator_scaler)]
        return [(role, scaler) for role, scaler in scalers if scaler.is_enabled()]

    def _training_tensors(self) -> dict[str, torch.Tensor]:
        tensors = {f"raw_generator.{name}": tensor for name, tensor in self.generator.state_dict().items()}
        for role, network, optimizer in self._optimized():
            for name, parameter in network.named_parameters():
                for key, value in optimizer.state[parameter].items():
                    tensors[f"{role}_optimizer.{name}.{key}"] = value
        for role, scaler in self._scalers():
            counts = scaler.state_dict()
            tensors[f"{role}_scaler"] = torch.tensor([counts["scale"], counts["_growth_tracker"]], dtype=torch.float64)
        return {**tensors, "metric_sums": self.metric_sums}


def read_counters(folder: Path) -> dict[str, Any]:
    """What a checkpoint says of itself; damage is a `DcganError`."""
    counters = read_json(folder / STATE_FILE)
    rest = {key: value for key, value in counters.items() if key != "digest"} if isinstance(counters, dict) else {}
    whole = isinstance(rest.get("step"), int) and isinstance(rest.get("seconds"), (int, float))
    whole = whole and isinstance(rest.get("checksums"), dict)
    whole = whole and isinstance(rest.get("dataset"), dict) and "digest" in rest["dataset"]
    # Checkpoints of early versions have no digest.
    if not whole or counters.get("digest", json_digest(rest)) != json_digest(rest):
        raise DcganError(
            f"{folder / STATE_FILE} is damaged or was edited; delete {folder} to go on from the checkpoint before it"
        )
    return rest


def check_checkpoint(folder: Path) -> dict[str, Any]:
    """A checkpoint's counters, after comparing its files with their checksums; damage is a `DcganError`."""
    counters = read_counters(folder)
    for name, checksum in counters["checksums"].items():
        if not (folder / name).is_file() or file_digest(folder / name) != checksum:
            raise DcganError(
                f"{folder / name} is damaged or cut short; delete {folder} to go on from the checkpoint before it"
            )
    return counters


def read_raw_generator(folder: Path) -> Generator:
    """The generator with the last step's own weights, not their average, from a checkpoint's folder."""
    if not (folder / TRAINING_FILE).is_file():
        raise DcganError(f"{folder} is no checkpoint: only a checkpoint's folder holds the raw weights")
    check_checkpoint(folder)
    generator = Generator.from_pretrained(folder)
    with _told_if_unfit(folder):
        _copy_into(generator, "raw_generator.", load_tensors(folder / TRAINING_FILE)[0])
    return generator


@contextlib.contextmanager
def _told_if_unfit(folder: Path) -> Iterator[None]:
    """Turn what comes of a checkpoint that lacks something, or has it in another shape, into a `DcganError`."""
    try:
        yield
    except (RuntimeError, KeyError) as error:
        reason = f"it lacks {error}" if isinstance(error, KeyError) else error
        raise DcganError(
            f"{folder} holds a state of another kind than this run's, or of another version of dcgan ({reason}): "
            "go on with the version that the run's environment.json names, or start a new run"
        ) from error


def _optimizer(config: TrainConfig, network: nn.Module, kind: str, rate: float) -> torch.optim.Optimizer:
    if kind == "sgd":
        return torch.optim.SGD(network.parameters(), rate, momentum=config.momentum, fused=True)
    return torch.optim.Adam(network.parameters(), rate, betas=(config.beta1, config.beta2), fused=True)


def _copy_into(network: nn.Module, prefix: str, tensors: dict[str, torch.Tensor]) -> None:
    """Fill `network` from the tensors under `prefix`, in place: its memory format stays channels_last."""
    network.load_state_dict({k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)})


def _restore_optimizer(
    optimizer: torch.optim.Optimizer, network: nn.Module, prefix: str, tensors: dict[str, torch.Tensor]
) -> None:
    for name, parameter in network.named_parameters():
        start = f"{prefix}{name}."
        for key, value in tensors.items():
            if key.startswith(start):
                # Moments take their parameter's memory format; Adam's step count is a plain number.
                place = torch.empty_like(parameter) if value.shape == parameter.shape else torch.empty_like(value)
                optimizer.state[parameter][key.removeprefix(start)] = place.copy_(value)


def _restore_scaler(scaler: torch.amp.GradScaler, saved: torch.Tensor) -> None:
    scale, steps_without_overflow = saved.tolist()
    scaler.load_state_dict({**scaler.state_dict(), "scale": scale, "_growth_tracker": int(steps_without_overflow)})
