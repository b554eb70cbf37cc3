"""A share chosen by the block is the one that sorting all numbers chooses."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from dcgan.data import share
from dcgan.data.share import seeded_share


@given(
    seed=st.integers(0, 2**31), count=st.integers(1, 300), part=st.floats(0, 1), bits=st.integers(1, 16),
    block=st.integers(1, 400),
)  # fmt: skip
@example(seed=0, count=300, part=1.0, bits=1, block=7)
def test_it_is_the_beginning_of_the_sorted_numbers(seed: int, count: int, part: float, bits: int, block: int) -> None:
    chosen = round(part * count)
    expected = np.sort(np.argsort(np.random.PCG64(seed).random_raw(count), kind="stable")[:chosen])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(share, "BITS", bits)
        patch.setattr(share, "BLOCK", block)
        found = seeded_share(seed, count, chosen)
    assert found.dtype == np.int64
    np.testing.assert_array_equal(found, expected)


def test_of_equal_numbers_the_first_are_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    class Few:
        def __init__(self, seed: int) -> None:
            self._random = np.random.default_rng(seed)

        def random_raw(self, count: int) -> np.ndarray:
            return self._random.integers(0, 5, count).astype(np.uint64) << np.uint64(40)

    monkeypatch.setattr(np.random, "PCG64", Few)
    monkeypatch.setattr(share, "BLOCK", 1000)
    expected = np.sort(np.argsort(Few(0).random_raw(1000), kind="stable")[:317])
    np.testing.assert_array_equal(seeded_share(0, 1000, 317), expected)
