"""`dcgan import`."""
# ruff: noqa: N999  (the command is named so, and modules are found by its name)

from __future__ import annotations

from collections.abc import Sequence

from dcgan.cli import parse
from dcgan.config import ImportConfig


def main(arguments: Sequence[str]) -> int:
    """Make a model from foreign weights and say what was found in them."""
    config = parse(ImportConfig, arguments, "import")
    from dcgan.convert import import_model
    from dcgan.model_file import read_model

    path = import_model(config)
    model, tensors, _ = read_model(path)
    networks = " and ".join(sorted({name.split(".")[0] for name in tensors}, reverse=True))
    print(
        f"wrote {path}: {networks}, {model.size}x{model.size}x{model.channels}, latent_size {model.latent_size}, "
        f"generator_width {model.generator_width}, generator_activation {model.generator_activation}"
    )
    return 0
