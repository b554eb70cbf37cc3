"""Adding and subtracting faces."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from dcgan.cli import main
from dcgan.config import ArithmeticConfig
from dcgan.errors import DcganError
from dcgan.explore.arithmetic import add_up, arithmetic, figure, jittered, parse_expression
from dcgan.explore.sheets import LINE
from dcgan.models import Generator

NAMES = ["smiling woman", "self-portrait", "a+b", "man"]


@given(st.lists(st.tuples(st.sampled_from([1, -1]), st.sampled_from(NAMES)), min_size=1), st.sampled_from([" ", "  "]))
def test_a_sum_is_read_as_it_was_written(terms: list[tuple[int, str]], space: str) -> None:
    text = space.join(f"{'+' if sign > 0 else '-'}{space}{name}" for sign, name in terms)
    assert parse_expression(text, NAMES) == terms
    assert parse_expression(text.removeprefix("+"), NAMES) == terms


def test_mistakes_in_a_sum_are_named() -> None:
    with pytest.raises(DcganError, match="no name 'woman', 'boy'; known are: smiling woman, self-portrait, a"):
        parse_expression("woman - man + boy - woman", NAMES)
    with pytest.raises(DcganError, match="known are: none yet; save some with `dcgan pick`"):
        parse_expression("woman", [])
    for text in ("", "man -", "+", "man + + man"):
        with pytest.raises(DcganError, match=r"no sum|no name"):
            parse_expression(text, NAMES)


def test_the_sum_is_of_means(model: Path) -> None:
    generator = Generator.from_pretrained(model)
    names = {"a": [1, 2, 3], "b": [4]}
    terms = parse_expression("a - b + a", names)
    expected = 2 * generator.latents([1, 2, 3]).mean(0) - generator.latents([4])[0]
    torch.testing.assert_close(add_up(generator, terms, names), expected)


def test_neighbours_lie_within_the_jitter_around_the_result() -> None:
    around = jittered(torch.arange(100.0), 0.25)
    away = around - torch.arange(100.0)
    assert away[4].eq(0).all()
    assert 0.24 < away.abs().max() <= 0.25
    assert len(around.unique(dim=0)) == 9
    assert torch.equal(around, jittered(torch.arange(100.0), 0.25))


def test_picked_names_are_added_up_and_drawn(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], told: Callable[..., str]
) -> None:
    file, grid, out = tmp_path / "names.json", tmp_path / "pick.png", tmp_path / "sum.png"
    assert main(["pick", str(model), "--first", "10", "--count", "5", "--out", str(grid)]) == 0
    with Image.open(grid) as image:
        picture = np.asarray(image)
    generator = Generator.from_pretrained(model)
    assert np.array_equal(picture[:32, 34:66], generator.sample([11])[0])
    for name, seeds in (("a  face", "1,2,3,4"), ("another", "5")):
        assert main(["pick", str(model), name, "--seeds", seeds, "--file", str(file)]) == 0
    assert "a face: 1,2,3,4" in capsys.readouterr().out
    assert main(["arithmetic", str(model), "a face - another", "--file", str(file), "--out", str(out)]) == 0
    path, latent = arithmetic(
        ArithmeticConfig(model=str(model), expression="a face - another", file=str(file), out=str(out))
    )
    torch.testing.assert_close(latent, generator.latents([1, 2, 3, 4]).mean(0) - generator.latents([5])[0])
    with Image.open(path) as image:
        centre = np.asarray(image)[2 * LINE + 34 : 2 * LINE + 66, -66:-34]
    assert np.array_equal(centre, generator.render(latent[None])[0])

    assert "no name 'nobody'; known are: a face, another" in told("arithmetic", model, "nobody", "--file", file)
    assert "cannot be told from a sum" in told("pick", model, "a - b", "--seeds", "1", "--file", file)
    assert "give --seeds" in told("pick", model, "a", "--file", file)
    assert "seeds must look like" in told("pick", model, "a", "--seeds", "x", "--file", file)


def test_names_of_another_model_are_refused(
    model: Path, make_model: Callable[..., Path], tmp_path: Path, told: Callable[..., str]
) -> None:
    other = make_model(seed=1)
    assert main(["pick", str(other), "a", "--seeds", "1", "--file", str(tmp_path / "n.json")]) == 0
    assert "made for another model" in told("arithmetic", model, "a", "--file", tmp_path / "n.json")


def test_the_figure_has_a_column_for_each_term_and_the_result_at_the_right() -> None:
    images = np.random.default_rng(0).integers(0, 256, (12, 8, 8, 3), dtype=np.uint8)
    picture = figure([images[:1], images[1:3]], [images[9], images[10]], images[:9], ["a", "- b"])
    for image, row, column_from_right in ((8, 2, 0), (4, 1, 1), (2, 1, 4), (0, 0, 5), (9, 3, 5), (10, 3, 4)):
        y, x = 2 * LINE + 10 * row, picture.shape[1] - 8 - 10 * column_from_right
        assert np.array_equal(picture[y : y + 8, x : x + 8], images[image])
