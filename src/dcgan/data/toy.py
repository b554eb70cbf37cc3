"""Drawn faces: simple coloured portraits from a seed, with their attributes as labels and their landmarks.

They are the data of the quick start and of the tests, and an examination with known answers: every attribute
is drawn independently of every other, so what a network learned of one can be told from the rest.

Each shape is a signed distance (negative inside) turned into coverage over one pixel: its edges are smooth at
any size without supersampling. Only + - * / sqrt, comparisons and rounding are used, which IEEE 754 fixes to
the last bit, so a face has the same bytes on every machine and in every batch.

Face units: x to the right, y down, the head's centre at the origin, the frame about 2 wide. A `side` is -1
for the left of the image, +1 for the right. Inside `draw` each of a face's values is n x 1 x 1 x 1.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from dcgan.errors import DcganError

Floats = npt.NDArray[np.floating[Any]]  # float32 throughout; mypy cannot tell
Face = Mapping[str, Floats]
Point = tuple[Floats, Floats | float]

HAIR_COLOURS = {
    "black": (0.13, 0.11, 0.13),
    "brown": (0.31, 0.18, 0.11),
    "blond": (0.88, 0.72, 0.40),
    "red": (0.74, 0.31, 0.14),
    "grey": (0.70, 0.71, 0.74),
}
BINARIES = {  # the share of faces that have it
    "glasses": 0.4,
    "hat": 0.35,
    "beard": 0.4,
    "long_hair": 0.5,
    "bangs": 0.5,
    "earrings": 0.4,
    "mouth_open": 0.4,
}
NUMBERS = {  # uniform between
    "smile": (-1.0, 1.0),  # sad to smiling
    "pose": (-1.0, 1.0),  # turned to the left of the image, to the right
    "skin": (0.0, 1.0),  # dark to light
}
VARIATION = {  # uniform between, not labelled
    "x": (-0.05, 0.05),
    "y": (0.03, 0.10),
    "scale": (1.0, 1.12),
    "roll": (-0.10, 0.10),  # radians, nearly: twice the tangent of half the angle
    "light": (-1.0, 1.0),  # from the left, from the right
    "jaw": (0.92, 1.08),
    "parting": (-1.0, 1.0),
    "volume": (0.0, 1.0),
    "hair_shade": (0.88, 1.12),
    "eye_size": (0.92, 1.08),
    "iris": (0.0, 1.0),  # brown, green, blue
    "brow": (-1.0, 1.0),  # inner ends down, up
    "background_hue": (0.0, 1.0),
    "background_value": (0.5, 0.95),
    "shirt_hue": (0.0, 1.0),
    "shirt_value": (0.35, 0.95),
    "hat_hue": (0.0, 1.0),
    "frame_hue": (0.0, 1.0),
}

LABELS: tuple[tuple[str, str], ...] = (
    *((f"hair={colour}", "class") for colour in HAIR_COLOURS),
    *((name, "binary") for name in BINARIES),
    ("smiling", "binary"),  # smile > 0: the one column that another decides
    *((name, "number") for name in NUMBERS),
)
"""Name and kind of each column of the labels: a class is one of a one-hot group, a binary is 0 or 1."""

LANDMARKS: tuple[str, ...] = ("left_eye", "right_eye", "nose", "left_mouth", "right_mouth")
"""CelebA's five in its order. As there, left is the left of the image: the drawn person's right."""

SKIN_COLOURS = ((0.50, 0.33, 0.24), (0.67, 0.46, 0.34), (0.84, 0.63, 0.49), (0.98, 0.84, 0.74))
IRIS_COLOURS = ((0.33, 0.19, 0.09), (0.24, 0.42, 0.24), (0.20, 0.42, 0.66))
SMALLEST_SIZE = 16


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


def draw(attributes: Face, size: int) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.float32]]:
    """Draw faces of given attributes, all that `draw_attributes` names: images and landmarks of `DrawnFaces`.

    Values must keep within the tables' ranges, as every shape is drawn only where these let it be.
    """
    if size < SMALLEST_SIZE:
        raise DcganError(f"size {size} is too small for a drawn face: at least {SMALLEST_SIZE}")
    n = len(attributes["hair"])
    images = np.empty((n, size, size, 3), np.uint8)
    landmarks = np.empty((n, len(LANDMARKS), 2), np.float32)
    batch = max(1, 2**16 // size**2)  # what stays in the processor's cache is twice as fast
    for start in range(0, n, batch):
        part = slice(start, start + batch)
        face = {name: values[part].reshape(-1, 1, 1, 1) for name, values in attributes.items()}
        canvas = _canvas(face, size)
        for paint in (_background, _shirt, _long_hair, _neck, _ears, _head, _beard, _nose, _mouth, _eyes,
                      _brows, _hair, _glasses, _hat):  # fmt: skip
            paint(canvas, face)
        images[part] = np.rint(np.clip(canvas.image, 0, 1) * 255).astype(np.uint8).transpose(0, 2, 3, 1)
        landmarks[part] = _landmarks(face, size)
    return images, landmarks


# ---- the canvas, and shapes as signed distances ----


@dataclass(frozen=True)
class _Canvas:
    """A part of the picture and where its pixels lie on the face."""

    image: Floats  # n x 3 x h x w in [0, 1], painted in place
    x: Floats  # n x 1 x h x w, face units
    y: Floats
    pixel: Floats  # n x 1 x 1 x 1: the width of a pixel, face units

    def crop(self, left: float, right: float, top: float, bottom: float) -> _Canvas:
        """The part that can hold this rectangle of face units, wherever variation puts the face."""
        size = self.image.shape[2]
        turn = VARIATION["roll"][1]

        def pixels(low: float, high: float, across: float, shift: tuple[float, float]) -> slice:
            reach = turn * across + 2 / size
            low = min(scale * (low - reach) + shift[0] for scale in VARIATION["scale"])
            high = max(scale * (high + reach) + shift[1] for scale in VARIATION["scale"])
            return slice(max(0, int((low + 1) / 2 * size)), max(0, int((high + 1) / 2 * size) + 1))

        rows = pixels(top, bottom, max(abs(left), abs(right)), VARIATION["y"])
        columns = pixels(left, right, max(abs(top), abs(bottom)), VARIATION["x"])
        image, x, y = (a[:, :, rows, columns] for a in (self.image, self.x, self.y))
        return _Canvas(image, x, y, self.pixel)

    def sides(self, inner: float, outer: float, top: float, bottom: float) -> tuple[tuple[int, _Canvas], ...]:
        """The left and the right part, between two distances from the face's middle."""
        return (-1, self.crop(-outer, -inner, top, bottom)), (1, self.crop(inner, outer, top, bottom))

    def paint(self, distance: Floats, colour: Floats, opacity: Floats | float = 1.0, softness: float = 0.0) -> None:
        """Lay a colour (n x 3 x 1 x 1, or one a pixel) over a shape's inside, its edge `softness` wider."""
        coverage = np.clip(0.5 - distance / (self.pixel + softness), 0, 1)
        if softness:
            coverage *= coverage * (3 - 2 * coverage)
        coverage *= opacity
        self.image[...] += coverage * (colour - self.image)


def _canvas(face: Face, size: int) -> _Canvas:
    n = len(face["hair"])
    place = ((np.arange(size, dtype=np.float32) + 0.5) * (2 / size) - 1).astype(np.float32)
    cosine, sine = _turn(face)
    x, y = place - face["x"], place[:, None] - face["y"]
    inverse = 1 / face["scale"]
    return _Canvas(
        image=np.empty((n, 3, size, size), np.float32),
        x=cosine * inverse * x + sine * inverse * y,
        y=cosine * inverse * y - sine * inverse * x,
        pixel=2 / size * inverse,
    )


def _turn(face: Face) -> tuple[Floats, Floats]:
    half = face["roll"] / 2  # the half angle's tangent gives both without trigonometry
    return (1 - half * half) / (1 + half * half), 2 * half / (1 + half * half)


def _length(x: Floats, y: Floats) -> Floats:
    length: Floats = np.sqrt(x * x + y * y)  # np.hypot rounds by library
    return length


def _ellipse(x: Floats, y: Floats, a: Floats | float, b: Floats | float) -> Floats:
    """Distance to an ellipse of half-axes a and b at the origin, exact to first order at its edge."""
    u, v = x / a, y / b
    distance: Floats = (u * u + v * v - 1) / (2 * _length(u / a, v / b) + 1e-6)
    return distance


def _arc(x: Floats, y: Floats, reach: Floats | float, bend: Floats | float) -> Floats:
    """Distance to a flat arc from the origin to (+-reach, bend), measured upright; its ends thicken round."""
    t = np.clip(x / reach, -1, 1)
    return _length(x - t * reach, y - bend * t * t)


def _wave(t: Floats) -> Floats:
    """A smooth wave of period 1 in [0, 1], zero at the whole numbers."""
    t = t - np.floor(t)
    t = 4 * t * (1 - t)
    return t * t


# ---- colours ----


def _rgb(colour: tuple[float, float, float]) -> Floats:
    return np.array(colour, np.float32).reshape(1, 3, 1, 1)


def _blend(colours: Sequence[tuple[float, float, float]], t: Floats) -> Floats:
    """The colour at t in [0, 1] along a row of colours."""
    table = np.array(colours, np.float32)
    t = t * (len(colours) - 1)
    low = np.minimum(np.floor(t), len(colours) - 2)
    first, second = (table[(low + i).astype(int).reshape(-1)].reshape(-1, 3, 1, 1) for i in (0, 1))
    blended: Floats = first + (t - low) * (second - first)
    return blended


def _tint(hue: Floats, saturation: Floats | float, value: Floats | float) -> Floats:
    """A colour from hue, saturation and value, each in [0, 1] (the hue in any number of turns)."""
    turned = hue + np.array([0, 2 / 3, 1 / 3], np.float32).reshape(1, 3, 1, 1)
    pure: Floats = np.clip(np.abs((turned - np.floor(turned)) * 6 - 3) - 1, 0, 1)
    return value * (1 - saturation * (1 - pure))


def _skin(face: Face) -> Floats:
    return _blend(SKIN_COLOURS, face["skin"])


def _hair_colour(face: Face) -> Floats:
    colours = tuple(HAIR_COLOURS.values())
    return _blend(colours, face["hair"] / (len(colours) - 1)) * face["hair_shade"]


# ---- where things are ----


def _eye(face: Face, side: int) -> tuple[Floats, float, Floats]:
    """An eye's centre and how wide it seems: the one turned away is narrower and nearer."""
    pose = face["pose"]
    return side * (0.205 - 0.02 * pose * pose) + 0.13 * pose, 0.02, 1 - 0.14 * side * pose


def _pupil(face: Face, side: int) -> Point:
    x, y, _ = _eye(face, side)
    return x + 0.025 * face["pose"], y


def _nose_tip(face: Face) -> Point:
    return 0.19 * face["pose"], 0.19


def _lips(face: Face) -> tuple[Floats, Floats, Floats, Floats]:
    """The upper lip's line: its middle, half its width, and how far below the middle the corners lie."""
    bend = -0.13 * face["smile"]
    reach = 0.19 + 0.02 * face["smile"] - 0.015 * face["pose"] ** 2
    return 0.145 * face["pose"], 0.39 - bend / 2, reach, bend


def _ear(face: Face, side: int) -> tuple[Floats, float, Floats]:
    """An ear's centre and how wide it seems: the turned head hides one and shows the other."""
    pose = face["pose"]
    return side * 0.50 - 0.055 * pose, 0.06, 1 - 0.35 * side * pose


def _landmarks(face: Face, size: int) -> npt.NDArray[np.float32]:
    """n x K x 2 in pixels."""
    x, y, reach, bend = _lips(face)
    corners = (x - reach, y + bend), (x + reach, y + bend)
    points: Sequence[Point] = (_pupil(face, -1), _pupil(face, 1), _nose_tip(face), *corners)
    cosine, sine = _turn(face)
    landmarks = np.empty((len(x), len(LANDMARKS), 2), np.float32)
    for k, (px, py) in enumerate(points):
        landmarks[:, k, 0] = (face["x"] + face["scale"] * (cosine * px - sine * py)).reshape(-1)
        landmarks[:, k, 1] = (face["y"] + face["scale"] * (sine * px + cosine * py)).reshape(-1)
    return (landmarks + 1) * (size / 2) - 0.5


# ---- one function a feature, in the order they are painted ----


def _background(canvas: _Canvas, face: Face) -> None:
    hue, value = face["background_hue"], face["background_value"]
    top, bottom = _tint(hue, 0.30, value), _tint(hue + 0.08, 0.38, 0.75 * value)
    down = np.clip((canvas.y + 0.2 * face["light"] * canvas.x) / 2 + 0.5, 0, 1)
    canvas.image[...] = top + (bottom - top) * down


def _shoulders(canvas: _Canvas) -> Floats:
    return _ellipse(canvas.x, canvas.y - 1.2, 0.92, 0.5)


def _shirt(canvas: _Canvas, face: Face) -> None:
    part = canvas.crop(-1.2, 1.2, 0.6, 1.2)
    colour = _tint(face["shirt_hue"], 0.62, face["shirt_value"])
    shade = 1 - 0.22 * np.abs(part.x) + 0.06 * face["light"] * part.x
    part.paint(_shoulders(part), colour * shade)


def _long_hair(canvas: _Canvas, face: Face) -> None:
    part = canvas.crop(-0.85, 0.85, -0.75, 1.05)
    x, y = part.x + 0.05 * face["pose"], part.y
    width = 0.56 + 0.07 * face["volume"] + 0.03 * _wave(1.6 * y + face["volume"])
    body = _length(x, 1.1 * (y - np.clip(y, -0.15, 0.62))) - width
    body = np.maximum(body, _ellipse(x, y - 0.15, 0.95, 0.82))
    part.paint(body, _hair_colour(face) * (0.72 + 0.14 * _wave(5 * x)), face["long_hair"])


def _neck(canvas: _Canvas, face: Face) -> None:
    part = canvas.crop(-0.4, 0.4, 0.3, 1.1)
    x, y, skin = part.x, part.y, _skin(face)
    distance = _length(x, y - np.clip(y, 0.3, 0.72)) - 0.21
    collar = np.maximum(distance - 0.05, _shoulders(part))
    part.paint(collar, _tint(face["shirt_hue"], 0.7, face["shirt_value"] * 0.72))
    part.paint(distance, skin * 0.86)
    shadow = np.maximum(distance, _ellipse(x - 0.03 * face["pose"], y - 0.24, 0.42, 0.52))
    part.paint(shadow, skin * 0.66, 0.8, softness=0.08)


def _ears(canvas: _Canvas, face: Face) -> None:
    skin = _skin(face)
    for side, part in canvas.sides(0.3, 0.8, -0.2, 0.5):
        cx, cy, wide = _ear(face, side)
        x, y = part.x - cx, part.y - cy
        part.paint(_ellipse(x, y, 0.095 * wide, 0.14), skin * 0.93)
        part.paint(_ellipse(x - side * 0.01, y, 0.05 * wide, 0.085), skin * 0.72, softness=0.03)
        x, y = x - 0.035 * side, y - 0.2
        part.paint(_ellipse(x, y, 0.062, 0.075), _rgb((0.98, 0.80, 0.25)), face["earrings"])
        part.paint(_ellipse(x, y + 0.025, 0.025, 0.025), _rgb((1.0, 0.97, 0.80)), face["earrings"])


def _head_distance(canvas: _Canvas, face: Face) -> Floats:
    skull = _ellipse(canvas.x, canvas.y + 0.08, 0.5, 0.56)
    jaw = _ellipse(canvas.x - 0.04 * face["pose"], canvas.y - 0.16, 0.42 * face["jaw"], 0.5)
    overlap = np.maximum(0.12 - np.abs(skull - jaw), 0)
    return np.minimum(skull, jaw) - overlap * overlap * (0.25 / 0.12)  # a smooth union


def _head(canvas: _Canvas, face: Face) -> None:
    part = canvas.crop(-0.56, 0.56, -0.68, 0.72)
    x, y, skin = part.x, part.y, _skin(face)
    distance = _head_distance(part, face)
    edge = np.clip(1 + distance / 0.22, 0, 1)
    light = 1 + 0.12 * face["light"] * x - 0.06 * y - 0.16 * edge * edge
    part.paint(distance, skin * light)
    blush = skin * _rgb((1.02, 0.74, 0.72))
    for side in (-1, 1):
        cheek_x = side * 0.27 + 0.10 * face["pose"]
        part.paint(_ellipse(x - cheek_x, y - 0.22, 0.11, 0.09), blush, 0.4, softness=0.16)


def _beard(canvas: _Canvas, face: Face) -> None:
    part = canvas.crop(-0.56, 0.56, -0.05, 0.76)
    x, y = part.x - 0.1 * face["pose"], part.y
    cheek = 0.285 - 1.35 * x * x + 0.02 * _wave(6 * x)
    distance = np.maximum(_head_distance(part, face) - 0.03, (cheek - y) * 0.8)
    distance = np.maximum(distance, -0.02 - part.y)
    colour = _hair_colour(face) * (0.82 + 0.12 * _wave(7 * x))
    part.paint(distance, colour, 0.94 * face["beard"], softness=0.02)


def _nose(canvas: _Canvas, face: Face) -> None:
    part = canvas.crop(-0.32, 0.32, -0.1, 0.3)
    cx, cy = _nose_tip(face)
    x, y, skin = part.x - cx, part.y - cy, _skin(face)
    part.paint(_ellipse(x, y, 0.075, 0.06), skin * 1.06, 0.8, softness=0.05)
    part.paint(_arc(x, y - 0.06, 0.07, -0.03) - 0.016, skin * 0.62)


def _mouth(canvas: _Canvas, face: Face) -> None:
    part = canvas.crop(-0.36, 0.36, 0.25, 0.66)
    cx, cy, reach, bend = _lips(face)
    x, y, gap = part.x - cx, part.y - cy, 0.14 * face["mouth_open"]
    lips = _skin(face) * _rgb((1.0, 0.58, 0.57))
    upper, lower = _arc(x, y, reach, bend), _arc(x, y - gap, reach, bend - gap)
    t = np.clip(x / reach, -1, 1)
    above, below = bend * t * t - y, y - gap * (1 - t * t) - bend * t * t
    inside = np.maximum(np.maximum(above, below), np.abs(x) - reach)
    part.paint(np.minimum(np.minimum(upper, lower) - 0.034, inside), lips)
    part.paint(np.minimum(inside, upper - 0.013), lips * 0.38)
    teeth = np.maximum(inside, y - bend * t * t - 0.055)
    part.paint(teeth, _rgb((0.97, 0.96, 0.93)), face["mouth_open"])


def _eyes(canvas: _Canvas, face: Face) -> None:
    skin, iris = _skin(face), _blend(IRIS_COLOURS, face["iris"])
    for side, part in canvas.sides(-0.2, 0.5, -0.15, 0.2):
        (cx, cy, wide), (px, py) = _eye(face, side), _pupil(face, side)
        a, b = 0.125 * wide * face["eye_size"], 0.092 * face["eye_size"]
        x, y = part.x - cx, part.y - cy
        part.paint(_ellipse(x, y, a * 1.25, b * 1.4), skin * 0.8, 0.5, softness=0.06)
        white = _ellipse(x, y, a, b)
        part.paint(white, _rgb((0.98, 0.98, 0.97)))
        x, y = part.x - px, part.y - py
        ball = _length(x, y)
        part.paint(np.maximum(ball - 0.088, white), iris)
        part.paint(ball - 0.048, _rgb((0.05, 0.04, 0.05)))
        glint = _length(x - 0.035 * face["light"], y + 0.035)
        part.paint(glint - 0.022, _rgb((1.0, 1.0, 1.0)))
        lid = _arc(part.x - cx, part.y - cy + b * 0.92, a * 1.05, b * 0.8)
        part.paint(lid - 0.018, skin * 0.28)


def _brows(canvas: _Canvas, face: Face) -> None:
    colour = _hair_colour(face) * 0.7
    for side, part in canvas.sides(-0.13, 0.5, -0.34, 0.02):
        cx, _, wide = _eye(face, side)
        x = part.x - cx - 0.01 * side
        y = part.y + 0.165 - 0.12 * side * face["brow"] * x
        part.paint(_arc(x, y, 0.125 * wide, 0.035) - 0.024, colour)


def _hair(canvas: _Canvas, face: Face) -> None:
    part = canvas.crop(-0.7, 0.7, -0.85, 0.1)
    x, y, bangs = part.x, part.y, face["bangs"]
    pose, volume = face["pose"], face["volume"]
    outer = _ellipse(x + 0.03 * pose, y + 0.14, 0.545 + 0.05 * volume, 0.575 + 0.07 * volume)
    off = x - 0.26 * face["parting"] * (1 - bangs) - 0.06 * pose
    line = -0.46 + 0.22 * bangs + (1.5 - 1.1 * bangs) * off * off + 0.045 * bangs * _wave(4.5 * off)
    opening = np.maximum(_ellipse(x - 0.03 * pose, y - 0.15, 0.46, 0.72), (line - y) * 0.8)
    distance = np.maximum(np.maximum(outer, -opening), y - 0.03)
    sheen = np.clip(1 - np.abs(y + 0.50 - 0.5 * x * x) / 0.12, 0, 1) * 0.22
    part.paint(distance, _hair_colour(face) * (0.92 + 0.16 * _wave(5 * off) + sheen))


def _glasses(canvas: _Canvas, face: Face) -> None:
    frame, opacity = _tint(face["frame_hue"], 0.6, 0.28), face["glasses"]
    (left, cy, _), (right, _, _) = _eye(face, -1), _eye(face, 1)
    for side, part in canvas.sides(-0.2, 0.62, -0.2, 0.24):
        cx, _, wide = _eye(face, side)
        x, y = part.x - cx, part.y - cy
        rim = _ellipse(x, y, 0.168 * wide, 0.15)
        part.paint(rim, _rgb((0.9, 0.96, 1.0)), 0.14 * opacity)
        part.paint(np.abs(rim) - 0.019, frame, opacity)
        temple = _arc(x - side * 0.26, y + 0.03, 0.1, 0.0)
        part.paint(np.maximum(temple - 0.017, _head_distance(part, face)), frame, opacity)
    part = canvas.crop(-0.3, 0.3, -0.2, 0.24)
    bridge = _arc(part.x - (left + right) / 2, part.y - cy + 0.045, 0.045, 0.02)
    part.paint(bridge - 0.018, frame, opacity)


def _hat(canvas: _Canvas, face: Face) -> None:
    part = canvas.crop(-0.75, 0.75, -1.0, -0.15)
    x, y, opacity = part.x - 0.01 * face["pose"], part.y, face["hat"]
    colour = _tint(face["hat_hue"], 0.62, 0.78)
    dome = np.maximum(_ellipse(x, y + 0.40, 0.615, 0.47), y + 0.37)
    rib = 0.86 + 0.14 * _wave(4.5 * x + 0.5) + 0.1 * face["light"] * x
    part.paint(dome, colour * rib, opacity)
    curved = y + 0.395 - 0.12 * x * x
    off = _length(x - np.clip(x, -0.56, 0.56), curved - np.clip(curved, -0.035, 0.035))
    part.paint(off - 0.065, (colour + 0.3 * (1 - colour)) * (0.9 + 0.1 * rib), opacity)
