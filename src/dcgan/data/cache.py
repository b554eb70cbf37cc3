"""Opening data by whatever name: packed sets as they are, all else packed once into the cache folder."""

from __future__ import annotations

import dataclasses
import os
import sys
import time
from pathlib import Path

from dcgan import __version__
from dcgan.checkpoint import json_digest
from dcgan.config import PrepareConfig
from dcgan.data.arrays import DIGITS
from dcgan.data.pack import deciding_settings, prepare
from dcgan.data.packed import MANIFEST, PARTIAL, PackedImages
from dcgan.data.trees import fingerprint
from dcgan.data.writer import BusyError
from dcgan.errors import DcganError

WORDS = ("toy", DIGITS)
"""Data that needs no path."""


def open_data(data: str, *, size: int | None = None, channels: int | None = None, crop: str = "square") -> PackedImages:
    """Open a packed data set; anything else that holds images is first packed into the cache folder, which is said.

    The cache (`DCGAN_CACHE`, else `XDG_CACHE_HOME`/dcgan, else ~/.cache/dcgan) serves until the source changes.
    `size` and `channels` of None are those of the packed set, or 64 and 3. Raises `DcganError` if a packed set
    has another size or number of channels than asked for, and whatever `prepare` raises.
    """
    path = Path(data).expanduser()
    if data in WORDS or (path.exists() and not path.name.endswith(PARTIAL) and not (path / MANIFEST).is_file()):
        return _open_cached(data, size=size or 64, channels=channels or 3, crop=crop)
    packed = PackedImages.open(path)
    for name, wanted, found in (("size", size, packed.size), ("channels", channels, packed.channels)):
        if wanted not in (None, found):
            raise DcganError(
                f"{path} is packed with {name} {found}, not {wanted}: "
                f"give --{name} {found}, or prepare it again with --{name} {wanted}"
            )
    return packed


def _open_cached(data: str, *, size: int, channels: int, crop: str) -> PackedImages:
    """What was packed earlier from the same source with the same settings; if there is nothing, it is packed."""
    config = PrepareConfig(source=data, out="", size=size, channels=channels, crop=crop)
    path = Path(data).expanduser()
    origin = data if data in WORDS else fingerprint(path)
    identity = json_digest([origin, deciding_settings(config), __version__])
    name = f"{path.resolve().name.split('.')[0] or 'images'}-{identity[:12]}"
    out = cache_folder() / name
    config = dataclasses.replace(config, out=str(out))
    if not (out / MANIFEST).is_file():
        print(f"dcgan: preparing {data} into {out}, once", file=sys.stderr)
    while not (out / MANIFEST).is_file():
        try:
            prepare(config)
        except BusyError:  # another process is at it, such as another rank of the same training
            time.sleep(1)
        except DcganError:
            if not (out / MANIFEST).is_file():  # it may just have finished
                raise
    return PackedImages.open(out)


def cache_folder() -> Path:
    """Where everything lies that can be made again: DCGAN_CACHE, else XDG_CACHE_HOME/dcgan, else ~/.cache/dcgan."""
    if folder := os.environ.get("DCGAN_CACHE"):
        return Path(folder)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "dcgan"
