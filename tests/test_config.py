"""Settings: every bad value is refused by name, and presets only say what exists."""

from __future__ import annotations

import dataclasses
import json
import re
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dcgan.config import (
    PRESETS,
    GenerateConfig,
    InfoConfig,
    ModelConfig,
    PrepareConfig,
    TrainConfig,
    check_crop,
    from_json,
    parse_seeds,
)
from dcgan.errors import DcganError


@pytest.mark.parametrize("preset", PRESETS)
def test_a_preset_is_valid_settings(preset: str) -> None:
    config = from_json(TrainConfig, {**PRESETS[preset], "preset": preset}, preset)
    assert all(getattr(config, name) == value for name, value in PRESETS[preset].items())


@pytest.mark.parametrize("config", [TrainConfig(data="toy"), PrepareConfig(source="a", out="b"), ModelConfig()])
def test_settings_survive_json(config: object) -> None:
    text = json.dumps(dataclasses.asdict(config))  # type: ignore[call-overload]
    assert from_json(type(config), json.loads(text), "text") == config


@pytest.mark.parametrize(
    ("kind", "settings", "named"),
    [
        (TrainConfig, {"size": 48}, "size"),
        (TrainConfig, {"channels": 5}, "channels"),
        (TrainConfig, {"batch": 1}, "batch"),
        (TrainConfig, {"preset": "nice"}, "preset"),
        (TrainConfig, {"kimg": 1.0, "epochs": 1.0}, "kimg or epochs"),
        (TrainConfig, {"kimg": -1.0}, "kimg"),
        (TrainConfig, {"beta1": 1.0}, "beta1"),
        (TrainConfig, {"label_flip": 1.5}, "label_flip"),
        (TrainConfig, {"name": "../up"}, "name"),
        (TrainConfig, {"crop": "round"}, "crop"),
        (TrainConfig, {"loss": "wgan"}, "loss"),
        (TrainConfig, {"batch": 12.5}, "batch"),
        (TrainConfig, {"flip": 1}, "flip"),
        (TrainConfig, {"kimgs": 3}, "kimgs"),
        (PrepareConfig, {"source": "a", "out": "b", "channels": 2}, "channels"),
        (PrepareConfig, {"source": "a", "out": "b", "held_out": 1.0}, "held_out"),
        (GenerateConfig, {"model": "a", "count": 0}, "count"),
    ],
)
def test_a_bad_value_is_refused_by_name(kind: type, settings: dict[str, object], named: str) -> None:
    with pytest.raises(DcganError, match=re.escape(named)):
        from_json(kind, settings, "here")


def test_seeds_keep_the_order_they_are_written_in() -> None:
    assert parse_seeds("5,0-2, 100") == [5, 0, 1, 2, 100]


@pytest.mark.parametrize("text", ["", "a", "3-1", "1,,2", "-1", "1.5", str(2**63)])
def test_seeds_that_make_no_sense_are_refused(text: str) -> None:
    with pytest.raises(DcganError, match="seeds"):
        parse_seeds(text)


@given(st.integers(1, 10**6), st.integers(1, 10**6))
def test_a_crop_is_read_back(width: int, height: int) -> None:
    assert check_crop(f"{width}x{height}") == (width, height)


@pytest.mark.parametrize("kind", [TrainConfig, PrepareConfig, GenerateConfig, InfoConfig])
def test_every_setting_is_explained(kind: type) -> None:
    from tyro._docstrings import get_field_docstring

    for field in dataclasses.fields(kind):
        assert get_field_docstring(kind, field.name, ()), field.name


def test_settings_import_no_torch() -> None:
    code = "import sys, dcgan.config, dcgan; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
