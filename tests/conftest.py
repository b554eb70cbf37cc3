"""Shared fixtures: a tiny packed data set, and settings of a tiny run."""

from __future__ import annotations

import os

# A test's numbers must not depend on how many cores the machine has, and small networks gain nothing from more.
os.environ.setdefault("OMP_NUM_THREADS", "1")

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from dcgan.config import PrepareConfig, TrainConfig
from dcgan.data import PackedImages, prepare

settings.register_profile("dcgan", deadline=None)  # a busy machine is no failure
settings.load_profile("dcgan")


@pytest.fixture(scope="session")
def faces32(tmp_path_factory: pytest.TempPathFactory) -> PackedImages:
    """Sixty drawn faces of 32x32, packed."""
    out = tmp_path_factory.mktemp("data") / "faces32"
    return prepare(PrepareConfig(source="toy", out=str(out), size=32, count=60, workers=1))


@pytest.fixture
def tiny(faces32: PackedImages, tmp_path: Path) -> Callable[..., TrainConfig]:
    """Settings of a run that takes a second: `tiny(kimg=0.1, ...)` overrides any."""

    def make(**settings: Any) -> TrainConfig:
        defaults: dict[str, Any] = {
            "data": str(faces32.path),
            "run_dir": str(tmp_path / "runs"),
            "name": "tiny",
            "kimg": 0.08,
            "batch": 8,
            "generator_width": 4,
            "discriminator_width": 4,
            "latent_size": 8,
            "log_every": 0.02,
            "sample_every": 0.04,
            "sample_count": 4,
            "checkpoint_every": 0.04,
            "tensorboard": False,
            "device": "cpu",
        }
        return TrainConfig(**{**defaults, **settings})

    return make
