"""Names in a temporary file: the order, the last place and the search of a sorted list of them."""

from __future__ import annotations

import os
from contextlib import closing
from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from dcgan.data.names import Names
from dcgan.errors import DcganError

# Any code points, among them the surrogates that stand for what is not UTF-8 in a file's name.
any_name = st.text(st.characters(), min_size=1) | st.binary(min_size=1).map(os.fsdecode)


@given(added=st.lists(st.tuples(any_name, st.integers(0, 2**63 - 1))), other=any_name)
@example(added=[("\U0001f600", 1), ("\uffff", 2), ("\udcff", 3), ("a/b", 4), ("a-b", 5), ("a", 6)], other="a")
def test_they_are_as_a_sorted_list_of_what_was_added(added: list[tuple[str, int]], other: str) -> None:
    with closing(Names()) as names:
        for name, offset in added:
            names.add(name, offset, offset // 2)
        places = dict(added)  # the last counts
        expected = sorted(places)
        assert list(names) == expected
        assert [names.place(name) for name in expected] == [(places[name], places[name] // 2) for name in expected]
        assert all(name in names for name in expected)
        assert (other in names) == (other in places)
        assert names.after(other) == min((name for name in expected if name > other), default=None)
        assert list(pairwise(expected)) == [(name, after) for name in expected if (after := names.after(name))]


def test_they_are_gone_through_by_several_at_once() -> None:
    with closing(Names()) as names:
        for name in "cab":
            names.add(name)
        assert [one + other for one in names for other in names if names.place(other) == (0, 0)] == [
            *("aa", "ab", "ac", "ba", "bb", "bc", "ca", "cb", "cc")
        ]


def fill(names: Names) -> None:
    for number in range(10_000):
        names.add(f"{number:050}.jpg")


def test_a_full_disk_is_told() -> None:
    with closing(Names()) as names:
        names._database.execute("PRAGMA max_page_count = 20")
        with pytest.raises(DcganError, match=r"temporary file: database or disk is full; TMPDIR"):
            fill(names)
