"""`dcgan prepare`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from dcgan.cli import parse
from dcgan.config import PrepareConfig

if TYPE_CHECKING:
    from dcgan.data import PackedImages


def main(arguments: Sequence[str]) -> int:
    """Pack a data set and say what came of it."""
    config = parse(PrepareConfig, arguments, "prepare")
    from dcgan.data import prepare

    report(config.out, prepare(config))
    return 0


def report(out: str, data: PackedImages) -> None:
    """Print what a new data set is."""
    part = data.manifest.get("part")
    print(
        f"{out}: {len(data)} images of {data.size}x{data.size}x{data.channels}, "
        f"{len(data.held_out_indices)} of them held out, digest {data.digest[:12]}"
        + (f"; part {part['number']} of {part['of']}: join them with dcgan merge" if part else "")
    )
    skipped = data.manifest["skipped"]
    if skipped["count"]:
        reasons = ", ".join(f"{count} {reason}" for reason, count in skipped["reasons"].items())
        print(f"skipped {skipped['count']} files ({reasons}); each is listed in {out}/dataset.json")
