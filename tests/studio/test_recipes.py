"""Faces as text mean what the package's own functions make of the same things."""

from __future__ import annotations

import contextlib

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from dcgan.config import ModelConfig
from dcgan.errors import DcganError
from dcgan.explore import move, slerp, walk
from dcgan.models import Generator
from dcgan.studio.recipes import FRAMES_A_STEP, read_latent, write_latent

GENERATOR = Generator(ModelConfig(size=32, latent_size=8, generator_width=4))
UNIFORM = Generator(ModelConfig(size=32, latent_size=8, generator_width=4, latent="uniform"))
DIRECTIONS = {"big smile": torch.eye(8)[2], "weights-1": torch.eye(8)[5]}


def read(text: str, generator: Generator = GENERATOR) -> torch.Tensor:
    return read_latent(text, generator, DIRECTIONS)


def test_each_form_is_the_packages_own() -> None:
    a, b, c = GENERATOR.latents([1, 2, 9])
    assert torch.equal(read("2"), b)
    assert torch.equal(read("2t0.7"), GENERATOR.latents([2], 0.7)[0])
    assert torch.equal(read("(1~2@0.25)"), slerp(a, b, torch.tensor([0.25])))
    loop = walk(torch.stack([a, b, c]), FRAMES_A_STEP, loop=True)
    assert torch.equal(read("(1~2~9@0.5)"), loop[len(loop) // 2])
    assert torch.equal(read("(1~2~9@1)"), loop[0])
    moved = move(a[None], DIRECTIONS, {"big smile": 1.5, "weights-1": -2}, "normal")[0]
    assert torch.equal(read("1+big%20smile:1.5+weights-1:-2"), moved)
    assert torch.equal(read("((1~2@0.25)+weights-1:1~9@1)"), c)


def test_walks_of_uniform_latents_stay_inside() -> None:
    a, b = UNIFORM.latents([1, 2])
    assert torch.allclose(read("(1~2@0.25)", UNIFORM), a + (b - a) * 0.25)
    assert read("(1~2~3@0.4)", UNIFORM).abs().max() <= 1


@given(st.lists(st.floats(-100, 100, width=32), min_size=8, max_size=8))
def test_a_latent_comes_back_to_the_bit(numbers: list[float]) -> None:
    latent = torch.tensor(numbers)
    assert torch.equal(read(write_latent(latent)), latent)


@given(st.text(alphabet="0123456789tz(~@.)+:%-abAB", max_size=40))
def test_any_text_is_a_latent_or_told_to_be_wrong(text: str) -> None:
    with contextlib.suppress(DcganError):
        assert read(text).isfinite().all()


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "where a seed"),
        ("12x", "'x' at character 3"),
        (str(2**63), "must be below"),
        ("1t0", "truncation above 0"),
        ("(1@0.5)", "2 to 12 faces"),
        ("(1~2@1.5)", "from 0 to 1"),
        ("(1~2", "2 to 12 faces"),
        ("1+nose:1", "no direction 'nose'"),
        ("1+weights-1:99", "within 20"),
        ("zAAAA", "this model's have 8"),
        (write_latent(torch.full((8,), torch.inf)), "beyond 100"),
        ("(" * 30 + "1", "6 deep"),
        ("(" + "~".join("1" * 13) + "@0.5)", "2 to 12 faces"),
        ("1" * 20_000, "too long"),
    ],
)
def test_what_is_wrong_is_told(text: str, told: str) -> None:
    with pytest.raises(DcganError, match=r".*") as error:
        read(text)
    assert told in str(error.value)
