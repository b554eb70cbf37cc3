"""Every setting and preset, as data. Imports no torch, so that `--help` answers at once.

One frozen dataclass a command: its fields are the command's flags and the keys of its JSON. What a run uses is
decided in this order, later wins: the defaults here, the preset, the `--config` file, the flags.
"""

from dcgan.config.augment import AugmentConfig
from dcgan.config.augment_test import AugmentTestConfig
from dcgan.config.base import Device, Label, from_json, label_groups, list_labels, unknown_label
from dcgan.config.data import MergeConfig, PrepareConfig, check_crop, parse_part
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
from dcgan.config.export import ExportConfig, ImportConfig
from dcgan.config.generate import GenerateConfig, InfoConfig, parse_seeds
from dcgan.config.represent import NearestConfig, ProbeConfig
from dcgan.config.studio import StudioConfig
from dcgan.config.train import (
    DEFAULT_KIMG,
    DEFAULT_PRESET,
    MANY_TIMES,
    PRESETS,
    SIZES,
    Latent,
    ModelConfig,
    TrainConfig,
)

__all__ = [
    "DEFAULT_KIMG",
    "DEFAULT_PRESET",
    "MANY_TIMES",
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
    "ExportConfig",
    "GenerateConfig",
    "ImportConfig",
    "InfoConfig",
    "InterpolateConfig",
    "Label",
    "Latent",
    "MergeConfig",
    "ModelConfig",
    "NearestConfig",
    "PickConfig",
    "PrepareConfig",
    "PrincipalConfig",
    "ProbeConfig",
    "ProjectConfig",
    "SmoothnessConfig",
    "StudioConfig",
    "TrainConfig",
    "check_crop",
    "from_json",
    "label_groups",
    "list_labels",
    "parse_amounts",
    "parse_list",
    "parse_part",
    "parse_seeds",
    "unknown_label",
]
