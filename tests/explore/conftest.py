"""A generator whose truth is known, and a small model file."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import Tensor

from dcgan.config import ModelConfig
from dcgan.data import toy
from dcgan.draws import draw_latents, generator_for
from dcgan.images import to_signed
from dcgan.model_file import save_model
from dcgan.models import Discriminator, Generator

ATTRIBUTES = ("long_hair", "glasses", "hat", "beard", "pose", "skin")
SIZE, LATENT_SIZE = 32, 8


@dataclass(frozen=True)
class DrawnWorld:
    """A decoder taught by regression to draw faces, and labelled drawings of the same kind of face."""

    generator: Generator
    discriminator: Discriminator
    """With random weights: enough to be a feature extractor."""
    truth: Tensor
    """L x Z: the unit direction of each of `ATTRIBUTES`, along which nothing else changes."""
    name: str
    digest: str
    size: int
    channels: int
    images: npt.NDArray[np.uint8]
    labels: npt.NDArray[np.float32]
    label_names: tuple[str, ...]
    label_kinds: tuple[str, ...]

    def read(self, indices: npt.ArrayLike) -> npt.NDArray[np.uint8]:
        """As of `PackedImages`."""
        return self.images[np.asarray(indices)]


@pytest.fixture(scope="session")
def drawn_world() -> DrawnWorld:
    """Drawn faces that differ in six attributes only, each decided by one direction of a rotated latent space."""
    rotation = torch.linalg.qr(torch.randn(LATENT_SIZE, LATENT_SIZE, generator=generator_for(0, "rotation", 0)))[0]
    truth = rotation[:, : len(ATTRIBUTES)].T
    latents = draw_latents((2000, LATENT_SIZE), "normal", generator_for(0, "latents", 0))
    generator = _taught(latents, _drawn(torch.special.ndtr(latents @ truth.T).numpy()))
    discriminator = Discriminator(ModelConfig(size=SIZE, discriminator_width=8))
    discriminator.initialize(generator_for(0, "discriminator", 0))
    shares = torch.rand(1200, len(ATTRIBUTES), generator=generator_for(0, "labels", 0)).numpy()
    binary = [name in toy.BINARIES for name in ATTRIBUTES]
    shares[:, binary] = shares[:, binary] > 0.5
    return DrawnWorld(
        generator=generator,
        discriminator=discriminator.eval(),
        truth=truth,
        name="drawn",
        digest="drawn",
        size=SIZE,
        channels=3,
        images=_drawn(shares),
        labels=shares.astype(np.float32),
        label_names=ATTRIBUTES,
        label_kinds=tuple("binary" if yes else "number" for yes in binary),
    )


def _drawn(shares: npt.NDArray[np.float32]) -> npt.NDArray[np.uint8]:
    """Faces whose `ATTRIBUTES` lie at these shares (N x L in [0, 1]) of their ranges, all else being equal."""
    ranges = {**dict.fromkeys(toy.BINARIES, (0.0, 1.0)), **toy.NUMBERS, **toy.VARIATION}
    middle = {name: (0.0 if name in toy.BINARIES else (low + high) / 2) for name, (low, high) in ranges.items()}
    values = {name: np.full(len(shares), value, np.float32) for name, value in {"hair": 1.0, **middle}.items()}
    for name, share in zip(ATTRIBUTES, shares.T, strict=True):
        low, high = ranges[name]
        values[name] = (low + (high - low) * share).astype(np.float32)
    return toy.draw(values, SIZE)[0]


def _taught(latents: Tensor, images: npt.NDArray[np.uint8], steps: int = 400) -> Generator:
    """A generator that learned by regression which image belongs to which latent."""
    generator = Generator(ModelConfig(size=SIZE, latent_size=LATENT_SIZE, generator_width=16))
    generator.initialize(generator_for(0, "generator", 0)).to(memory_format=torch.channels_last)
    optimizer = torch.optim.Adam(generator.parameters(), 0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.01, total_steps=steps, pct_start=0.1)
    for step in range(steps):
        chosen = torch.randint(0, len(latents), (64,), generator=generator_for(0, "batch", step))
        loss = (generator(latents[chosen]) - to_signed(torch.from_numpy(images)[chosen])).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return generator.requires_grad_(False).eval()


@pytest.fixture(scope="session")
def make_model(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Write a small model of random weights, strong enough for contrast: `make_model(latent="uniform", ...)`."""

    def make(seed: int = 0, **settings: object) -> Path:
        small: dict[str, Any] = {"size": 32, "latent_size": 8, "generator_width": 4, "discriminator_width": 4}
        config = ModelConfig(**{**small, **settings})
        states = {}
        for kind in (Generator, Discriminator):
            network = kind(config).initialize(generator_for(seed, kind.role, 0))
            states[kind.role] = {
                name: tensor * 5 if tensor.ndim > 1 else tensor for name, tensor in network.state_dict().items()
            }
        path = tmp_path_factory.mktemp("model") / "model.safetensors"
        save_model(path, config, states, {})
        return path

    return make


@pytest.fixture(scope="session")
def model(make_model: Callable[..., Path]) -> Path:
    """A small model of random weights."""
    return make_model()


@pytest.fixture
def told(capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Run a command that must fail with status 2 and one line, and return the line: `told("edit", ...)`."""
    from dcgan.cli import main

    def run(*arguments: object) -> str:
        capsys.readouterr()
        assert main([str(argument) for argument in arguments]) == 2
        lines = capsys.readouterr().err.strip().splitlines()
        assert len(lines) == 1, lines
        return lines[0]

    return run
