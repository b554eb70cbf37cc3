"""`dcgan prepare`."""

from __future__ import annotations

from collections.abc import Sequence

from dcgan.cli import parse
from dcgan.config import PrepareConfig


def main(arguments: Sequence[str]) -> int:
    """Pack a data set and say what came of it."""
    config = parse(PrepareConfig, arguments, "prepare")
    from dcgan.data import prepare

    data = prepare(config)
    skipped = data.manifest["skipped"]
    reasons = ", ".join(f"{count} {reason}" for reason, count in skipped["reasons"].items())
    print(
        f"{config.out}: {len(data)} images of {data.size}x{data.size}x{data.channels}, "
        f"{len(data.held_out_indices)} of them held out, digest {data.digest[:12]}"
    )
    if skipped["count"]:
        print(f"skipped {skipped['count']} files ({reasons}); each is listed in {config.out}/dataset.json")
    return 0
