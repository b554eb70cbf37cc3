"""Every setting and preset, as data. Imports no torch, so that `--help` answers at once.

One frozen dataclass a command: its fields are the command's flags and the keys of its JSON. What a run uses is
decided in this order, later wins: the defaults here, the preset, the `--config` file, the flags.
"""

from dcgan.config.augment import AugmentConfig
from dcgan.config.augment_test import AugmentTestConfig
from dcgan.config.base import Device, Label, from_json, label_groups
from dcgan.config.data import PrepareConfig, check_crop
from dcgan.config.evaluate import CompareConfig, EvaluateConfig
from dcgan.config.explore import (
    ArithmeticConfig,
    DirectionsConfig,
    EditConfig,
    ExploreConfig,
    InterpolateConfig,
    PickConfig,
    PrincipalConfig,
    ProjectConfig,
    SmoothnessConfig,
    parse_amounts,
    parse_list,
)
from dcgan.config.generate import GenerateConfig, InfoConfig, parse_seeds
from dcgan.config.represent import NearestConfig, ProbeConfig
from dcgan.config.train import PRESETS, SIZES, Latent, ModelConfig, TrainConfig, stored_settings

__all__ = [
    "PRESETS",
    "SIZES",
    "ArithmeticConfig",
    "AugmentConfig",
    "AugmentTestConfig",
    "CompareConfig",
    "Device",
    "DirectionsConfig",
    "EditConfig",
    "EvaluateConfig",
    "ExploreConfig",
    "GenerateConfig",
    "InfoConfig",
    "InterpolateConfig",
    "Label",
    "Latent",
    "ModelConfig",
    "NearestConfig",
    "PickConfig",
    "PrepareConfig",
    "PrincipalConfig",
    "ProbeConfig",
    "ProjectConfig",
    "SmoothnessConfig",
    "TrainConfig",
    "check_crop",
    "from_json",
    "label_groups",
    "parse_amounts",
    "parse_list",
    "parse_seeds",
    "stored_settings",
]
