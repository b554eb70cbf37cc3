"""`dcgan info`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from dcgan.cli import parse
from dcgan.config import InfoConfig


def main(arguments: Sequence[str]) -> int:
    """Print what a path is."""
    config = parse(InfoConfig, arguments, "info")
    from dcgan.info import describe, in_words

    about = describe(Path(config.path), config.verify)
    print(json.dumps(about, indent=2) if config.json else in_words(about))
    return 0
