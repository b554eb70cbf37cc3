"""Terms of use follow the images into every model that is trained on them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from dcgan.config import PrepareConfig, TrainConfig
from dcgan.data import prepare
from dcgan.data.toy import draw_faces
from dcgan.images import save_image
from dcgan.model_file import read_model
from dcgan.train import train


@pytest.mark.parametrize(
    ("folder", "given", "expected"),
    [("img_align_celeba", "", "CelebA"), ("faces", "", ""), ("faces", "mine", "mine"), ("img_align_celeba", "x", "x")],
)
def test_terms_follow_the_images(
    tiny: Callable[..., TrainConfig], tmp_path: Path, folder: str, given: str, expected: str
) -> None:
    for i, face in enumerate(draw_faces(range(8), 32).images):
        save_image(tmp_path / "source" / folder / f"{i:06d}.png", face)
    out = str(tmp_path / "packed")
    prepare(PrepareConfig(source=str(tmp_path / "source"), out=out, size=32, terms=given, workers=1))
    terms = read_model(train(tiny(data=out, kimg=0.016)).run)[2]["terms"]
    assert terms.startswith(expected)
    assert bool(terms) == bool(expected)
