"""Small pictures, and the archives that hold them."""

from __future__ import annotations

import io
import tarfile
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

MakeImage = Callable[..., bytes]


@pytest.fixture
def make_image() -> MakeImage:
    """Make the bytes of a smooth colour picture that differs with its seed and has no symmetry."""

    def make(
        seed: int = 0, width: int = 40, height: int = 40, kind: str = "png", mode: str = "RGB", **save: Any
    ) -> bytes:
        noise = np.random.default_rng(seed).integers(0, 256, (5, 5, 3), dtype=np.uint8)
        image = Image.fromarray(noise).resize((width, height), Image.Resampling.BICUBIC).convert(mode)
        buffer = io.BytesIO()
        image.save(buffer, kind, **save)
        return buffer.getvalue()

    return make


@pytest.fixture
def write_tree(tmp_path: Path) -> Callable[[str, Mapping[str, bytes]], Path]:
    """Write files given by name as a folder or, by the suffix of the new name, as an archive."""

    def write(name: str, files: Mapping[str, bytes]) -> Path:
        path = tmp_path / name
        if path.suffix == "":
            for inside, data in files.items():
                (path / inside).parent.mkdir(parents=True, exist_ok=True)
                (path / inside).write_bytes(data)
        elif path.suffix == ".zip":
            with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
                for inside, data in files.items():
                    archive.writestr(inside, data)
        else:
            kind = path.suffix[1:].replace("tgz", "gz")
            with tarfile.open(path, "w" if kind == "tar" else f"w:{kind}") as tar:
                for inside, data in files.items():
                    member = tarfile.TarInfo(inside)
                    member.size = len(data)
                    tar.addfile(member, io.BytesIO(data))
        return path

    return write
