"""Drawn faces: simple coloured portraits from a seed, with their attributes as labels and their landmarks.

They are the data of the quick start and of the tests, and an examination with known answers: every attribute
is drawn independently of every other, so what a network learned of one can be told from the rest.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from dcgan.data.canvas import Floats
from dcgan.data.portrait import BINARIES, HAIR_COLOURS, LANDMARKS, NUMBERS, VARIATION, draw
from dcgan.errors import DcganError

__all__ = ["LABELS", "LANDMARKS", "DrawnFaces", "draw_attributes", "draw_faces"]

LABELS: tuple[tuple[str, str], ...] = (
    *((f"hair={colour}", "class") for colour in HAIR_COLOURS),
    *((name, "binary") for name in BINARIES),
    ("smiling", "binary"),  # smile > 0: the one column that another decides
    *((name, "number") for name in NUMBERS),
)
"""Name and kind of each column of the labels: a class is one of a one-hot group, a binary is 0 or 1."""


@dataclass(frozen=True)
class DrawnFaces:
    """Faces with all that is known of them, in the order of the indices asked for."""

    images: npt.NDArray[np.uint8]
    """n x size x size x 3, RGB."""
    labels: npt.NDArray[np.float32]
    """n x L, columns as in `LABELS`."""
    landmarks: npt.NDArray[np.float32]
    """n x K x 2, as in `LANDMARKS`: (x, y) in pixels of the image, (0, 0) the top left pixel's centre."""


def draw_faces(indices: Sequence[int], size: int, seed: int = 0) -> DrawnFaces:
    """Draw the faces of these numbers; face i depends on (seed, i) alone, and shows the same at every size.

    `indices` and `seed` lie in [0, 2**64), `size` is at least 16 pixels; otherwise `DcganError`.
    """
    attributes = draw_attributes(indices, seed)
    images, landmarks = draw(attributes, size)
    columns = [(attributes["hair"] == i).astype(np.float32) for i in range(len(HAIR_COLOURS))]
    columns += [attributes[name] for name in BINARIES]
    columns += [(attributes["smile"] > 0).astype(np.float32)]
    columns += [attributes[name] for name in NUMBERS]
    return DrawnFaces(images, np.stack(columns, axis=1), landmarks)


def draw_attributes(indices: Sequence[int], seed: int = 0) -> dict[str, Floats]:
    """Draw what decides each face, by name: "hair" (a place in `HAIR_COLOURS`) and all in the tables above.

    Each is float32 of shape (n,); `indices` and `seed` as for `draw_faces`.
    """
    for number in (seed, *indices):
        if not 0 <= number < 2**64:
            raise DcganError(f"{number} is no number or seed of a drawn face: give one from 0 to 2**64 - 1")
    names = ("hair", *BINARIES, *NUMBERS, *VARIATION)
    # numpy promises the raw words of a bit generator for good, but not what its distributions make of them.
    words = [np.random.Philox(key=np.array([seed, i], np.uint64)).random_raw(len(names)) for i in indices]
    uniform = (np.array(words, np.uint64).reshape(-1, len(names)) >> 40).astype(np.float32) * 2.0**-24
    drawn = dict(zip(names, uniform.T, strict=True))
    return {
        "hair": np.floor(drawn["hair"] * len(HAIR_COLOURS)),
        **{name: (drawn[name] < share).astype(np.float32) for name, share in BINARIES.items()},
        **{name: low + (high - low) * drawn[name] for name, (low, high) in (NUMBERS | VARIATION).items()},
    }
