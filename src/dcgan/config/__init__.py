"""Every setting and preset, as data. Imports no torch, so that `--help` answers at once.

One frozen dataclass a command: its fields are the command's flags and the keys of its JSON. What a run uses is
decided in this order, later wins: the defaults here, the preset, the `--config` file, the flags.
"""

from dcgan.config.base import Device, from_json
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
from dcgan.config.studio import StudioConfig
from dcgan.config.train import PRESETS, SIZES, Latent, ModelConfig, TrainConfig

__all__ = [
    "PRESETS",
    "SIZES",
    "ArithmeticConfig",
    "CompareConfig",
    "Device",
    "DirectionsConfig",
    "EditConfig",
    "EvaluateConfig",
    "ExploreConfig",
    "GenerateConfig",
    "InfoConfig",
    "InterpolateConfig",
    "Latent",
    "ModelConfig",
    "PickConfig",
    "PrepareConfig",
    "PrincipalConfig",
    "ProjectConfig",
    "SmoothnessConfig",
    "StudioConfig",
    "TrainConfig",
    "check_crop",
    "from_json",
    "parse_amounts",
    "parse_list",
    "parse_seeds",
]
