"""Train, judge, explore and put to work deep convolutional GANs (Radford, Metz, Chintala 2015).

The public names, each imported when first used so that `import dcgan` costs nothing:

`Generator`, `Discriminator`: the networks; `from_pretrained(path)`, `save_pretrained(folder)`, and
`generator.sample(seeds)`. `ModelConfig`, `TrainConfig`, `PrepareConfig`: settings. `prepare(config)`: the command
of that name, which returns `PackedImages`, a packed data set; `dcgan.train.train(config)` trains on one.
`features(model, images)`: what the discriminator sees in images, as vectors.
`GeneratedFaces`, `RealFaces`, `mix`: labelled faces as torch data sets, for any training loop.
`DcganError`: what each of them raises for a mistake the caller can mend.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dcgan.config import ModelConfig, PrepareConfig, TrainConfig
    from dcgan.data import PackedImages, prepare
    from dcgan.errors import DcganError
    from dcgan.models import Discriminator, Generator
    from dcgan.represent.activations import features
    from dcgan.synthesize import GeneratedFaces, RealFaces, mix

__version__ = "0.1.0"

_HOMES = {
    "DcganError": "dcgan.errors",
    "Discriminator": "dcgan.models",
    "GeneratedFaces": "dcgan.synthesize",
    "Generator": "dcgan.models",
    "ModelConfig": "dcgan.config",
    "PackedImages": "dcgan.data",
    "PrepareConfig": "dcgan.config",
    "RealFaces": "dcgan.synthesize",
    "TrainConfig": "dcgan.config",
    "features": "dcgan.represent.activations",
    "mix": "dcgan.synthesize",
    "prepare": "dcgan.data",
}

__all__ = [
    "DcganError",
    "Discriminator",
    "GeneratedFaces",
    "Generator",
    "ModelConfig",
    "PackedImages",
    "PrepareConfig",
    "RealFaces",
    "TrainConfig",
    "__version__",
    "features",
    "mix",
    "prepare",
]


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'dcgan' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)
