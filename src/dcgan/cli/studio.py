"""`dcgan studio`."""

from __future__ import annotations

from collections.abc import Sequence

from dcgan.cli import parse
from dcgan.config import StudioConfig


def main(arguments: Sequence[str]) -> int:
    """Serve the page until Ctrl-C."""
    config = parse(StudioConfig, arguments, "studio")
    from dcgan.studio import serve

    serve(config)
    return 0
