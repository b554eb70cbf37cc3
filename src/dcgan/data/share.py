"""Choosing a seeded share of however many images, in memory for the chosen alone."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from dcgan.data.packed import Indices

BLOCK = 1 << 20
"""Random numbers drawn at once."""
BITS = 16
"""The numbers are counted by their first bits, to find which can be among the smallest."""


def seeded_share(seed: int, count: int, chosen: int) -> Indices:
    """The sorted indices of the `chosen` smallest of `count` random numbers, of equal ones those drawn first.

    The numbers are the bit generator's own output: numpy promises to keep that stream, but not that of `permutation`.
    """
    counts = np.zeros(1 << BITS, np.int64)
    for _, numbers in _drawn(seed, count):
        counts += np.bincount(_first_bits(numbers), minlength=len(counts))
    edge = int(np.searchsorted(np.cumsum(counts), chosen, side="right"))  # all that begin with less are chosen
    below: list[Indices] = []
    at_edge: list[Indices] = []
    values: list[npt.NDArray[np.uint64]] = []
    for start, numbers in _drawn(seed, count):
        first_bits = _first_bits(numbers)
        below.append(start + np.flatnonzero(first_bits < edge))
        places = np.flatnonzero(first_bits == edge)
        at_edge.append(start + places)
        values.append(numbers[places])
    order = np.argsort(np.concatenate(values), kind="stable")[: chosen - sum(map(len, below))]
    return np.sort(np.concatenate([*below, np.concatenate(at_edge)[order]]))


def _drawn(seed: int, count: int) -> Iterator[tuple[int, npt.NDArray[np.uint64]]]:
    """The random numbers by the block, each with the index of its first."""
    generator = np.random.PCG64(seed)
    for start in range(0, count, BLOCK):
        yield start, generator.random_raw(min(BLOCK, count - start))


def _first_bits(numbers: npt.NDArray[np.uint64]) -> Indices:
    return (numbers >> np.uint64(64 - BITS)).astype(np.int64)
