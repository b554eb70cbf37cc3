"""A batch of pictures to paint on, shapes as signed distances, and colours: what drawn faces are made with.

Each shape is a signed distance (negative inside) turned into coverage over one pixel: its edges are smooth at
any size without supersampling. Only + - * / sqrt, comparisons and rounding are used, which IEEE 754 fixes to
the last bit, so a picture has the same bytes on every machine and in every batch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.floating[Any]]  # float32 throughout; mypy cannot tell


@dataclass(frozen=True)
class Canvas:
    """A part of the picture and where its pixels lie on the face."""

    image: Floats  # n x 3 x h x w in [0, 1], painted in place
    x: Floats  # n x 1 x h x w, face units
    y: Floats
    pixel: Floats  # n x 1 x 1 x 1: the width of a pixel, face units
    sway: Mapping[str, tuple[float, float]]  # how far x, y, scale and roll may move what is drawn

    def crop(self, left: float, right: float, top: float, bottom: float) -> Canvas:
        """The part that can hold this rectangle of face units, wherever variation puts the face."""
        size = self.image.shape[2]
        turn = self.sway["roll"][1]

        def pixels(low: float, high: float, across: float, shift: tuple[float, float]) -> slice:
            reach = turn * across + 2 / size
            low = min(scale * (low - reach) + shift[0] for scale in self.sway["scale"])
            high = max(scale * (high + reach) + shift[1] for scale in self.sway["scale"])
            return slice(max(0, int((low + 1) / 2 * size)), max(0, int((high + 1) / 2 * size) + 1))

        rows = pixels(top, bottom, max(abs(left), abs(right)), self.sway["y"])
        columns = pixels(left, right, max(abs(top), abs(bottom)), self.sway["x"])
        image, x, y = (a[:, :, rows, columns] for a in (self.image, self.x, self.y))
        return Canvas(image, x, y, self.pixel, self.sway)

    def sides(self, inner: float, outer: float, top: float, bottom: float) -> tuple[tuple[int, Canvas], ...]:
        """The left and the right part, between two distances from the face's middle."""
        return (-1, self.crop(-outer, -inner, top, bottom)), (1, self.crop(inner, outer, top, bottom))

    def paint(self, distance: Floats, colour: Floats, opacity: Floats | float = 1.0, softness: float = 0.0) -> None:
        """Lay a colour (n x 3 x 1 x 1, or one a pixel) over a shape's inside, its edge `softness` wider."""
        coverage = np.clip(0.5 - distance / (self.pixel + softness), 0, 1)
        if softness:
            coverage *= coverage * (3 - 2 * coverage)
        coverage *= opacity
        self.image[...] += coverage * (colour - self.image)


def length(x: Floats, y: Floats) -> Floats:
    """Distance from the origin."""
    root: Floats = np.sqrt(x * x + y * y)  # np.hypot rounds by library
    return root


def ellipse(x: Floats, y: Floats, a: Floats | float, b: Floats | float) -> Floats:
    """Distance to an ellipse of half-axes a and b at the origin, exact to first order at its edge."""
    u, v = x / a, y / b
    distance: Floats = (u * u + v * v - 1) / (2 * length(u / a, v / b) + 1e-6)
    return distance


def arc(x: Floats, y: Floats, reach: Floats | float, bend: Floats | float) -> Floats:
    """Distance to a flat arc from the origin to (+-reach, bend), measured upright; its ends thicken round."""
    t = np.clip(x / reach, -1, 1)
    return length(x - t * reach, y - bend * t * t)


def wave(t: Floats) -> Floats:
    """A smooth wave of period 1 in [0, 1], zero at the whole numbers."""
    t = t - np.floor(t)
    t = 4 * t * (1 - t)
    return t * t


def rgb(colour: tuple[float, float, float]) -> Floats:
    """A colour as 1 x 3 x 1 x 1."""
    return np.array(colour, np.float32).reshape(1, 3, 1, 1)


def blend(colours: Sequence[tuple[float, float, float]], t: Floats) -> Floats:
    """The colour at t in [0, 1] along a row of colours."""
    table = np.array(colours, np.float32)
    t = t * (len(colours) - 1)
    low = np.minimum(np.floor(t), len(colours) - 2)
    first, second = (table[(low + i).astype(int).reshape(-1)].reshape(-1, 3, 1, 1) for i in (0, 1))
    blended: Floats = first + (t - low) * (second - first)
    return blended


def tint(hue: Floats, saturation: Floats | float, value: Floats | float) -> Floats:
    """A colour from hue, saturation and value, each in [0, 1] (the hue in any number of turns)."""
    turned = hue + np.array([0, 2 / 3, 1 / 3], np.float32).reshape(1, 3, 1, 1)
    pure: Floats = np.clip(np.abs((turned - np.floor(turned)) * 6 - 3) - 1, 0, 1)
    return value * (1 - saturation * (1 - pure))
