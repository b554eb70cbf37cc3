"""Draws a face from what decides it: a table of attributes, and one small function a feature.

Face units: x to the right, y down, the head's centre at the origin, the frame about 2 wide. A `side` is -1
for the left of the image, +1 for the right. Inside `draw` each of a face's values is n x 1 x 1 x 1.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from dcgan.data.canvas import Canvas, Floats, arc, blend, ellipse, length, rgb, tint, wave
from dcgan.errors import DcganError

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

LANDMARKS: tuple[str, ...] = ("left_eye", "right_eye", "nose", "left_mouth", "right_mouth")
"""CelebA's five in its order. As there, left is the left of the image: the drawn person's right."""

SKIN_COLOURS = ((0.50, 0.33, 0.24), (0.67, 0.46, 0.34), (0.84, 0.63, 0.49), (0.98, 0.84, 0.74))
IRIS_COLOURS = ((0.33, 0.19, 0.09), (0.24, 0.42, 0.24), (0.20, 0.42, 0.66))
SMALLEST_SIZE = 16


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


def _canvas(face: Face, size: int) -> Canvas:
    n = len(face["hair"])
    place = ((np.arange(size, dtype=np.float32) + 0.5) * (2 / size) - 1).astype(np.float32)
    cosine, sine = _turn(face)
    x, y = place - face["x"], place[:, None] - face["y"]
    inverse = 1 / face["scale"]
    return Canvas(
        image=np.empty((n, 3, size, size), np.float32),
        x=cosine * inverse * x + sine * inverse * y,
        y=cosine * inverse * y - sine * inverse * x,
        pixel=2 / size * inverse,
        sway=VARIATION,
    )


def _turn(face: Face) -> tuple[Floats, Floats]:
    half = face["roll"] / 2  # the half angle's tangent gives both without trigonometry
    return (1 - half * half) / (1 + half * half), 2 * half / (1 + half * half)


def _skin(face: Face) -> Floats:
    return blend(SKIN_COLOURS, face["skin"])


def _hair_colour(face: Face) -> Floats:
    colours = tuple(HAIR_COLOURS.values())
    return blend(colours, face["hair"] / (len(colours) - 1)) * face["hair_shade"]


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


def _background(canvas: Canvas, face: Face) -> None:
    hue, value = face["background_hue"], face["background_value"]
    top, bottom = tint(hue, 0.30, value), tint(hue + 0.08, 0.38, 0.75 * value)
    down = np.clip((canvas.y + 0.2 * face["light"] * canvas.x) / 2 + 0.5, 0, 1)
    canvas.image[...] = top + (bottom - top) * down


def _shoulders(canvas: Canvas) -> Floats:
    return ellipse(canvas.x, canvas.y - 1.2, 0.92, 0.5)


def _shirt(canvas: Canvas, face: Face) -> None:
    part = canvas.crop(-1.2, 1.2, 0.6, 1.2)
    colour = tint(face["shirt_hue"], 0.62, face["shirt_value"])
    shade = 1 - 0.22 * np.abs(part.x) + 0.06 * face["light"] * part.x
    part.paint(_shoulders(part), colour * shade)


def _long_hair(canvas: Canvas, face: Face) -> None:
    part = canvas.crop(-0.85, 0.85, -0.75, 1.05)
    x, y = part.x + 0.05 * face["pose"], part.y
    width = 0.56 + 0.07 * face["volume"] + 0.03 * wave(1.6 * y + face["volume"])
    body = length(x, 1.1 * (y - np.clip(y, -0.15, 0.62))) - width
    body = np.maximum(body, ellipse(x, y - 0.15, 0.95, 0.82))
    part.paint(body, _hair_colour(face) * (0.72 + 0.14 * wave(5 * x)), face["long_hair"])


def _neck(canvas: Canvas, face: Face) -> None:
    part = canvas.crop(-0.4, 0.4, 0.3, 1.1)
    x, y, skin = part.x, part.y, _skin(face)
    distance = length(x, y - np.clip(y, 0.3, 0.72)) - 0.21
    collar = np.maximum(distance - 0.05, _shoulders(part))
    part.paint(collar, tint(face["shirt_hue"], 0.7, face["shirt_value"] * 0.72))
    part.paint(distance, skin * 0.86)
    shadow = np.maximum(distance, ellipse(x - 0.03 * face["pose"], y - 0.24, 0.42, 0.52))
    part.paint(shadow, skin * 0.66, 0.8, softness=0.08)


def _ears(canvas: Canvas, face: Face) -> None:
    skin = _skin(face)
    for side, part in canvas.sides(0.3, 0.8, -0.2, 0.5):
        cx, cy, wide = _ear(face, side)
        x, y = part.x - cx, part.y - cy
        part.paint(ellipse(x, y, 0.095 * wide, 0.14), skin * 0.93)
        part.paint(ellipse(x - side * 0.01, y, 0.05 * wide, 0.085), skin * 0.72, softness=0.03)
        x, y = x - 0.035 * side, y - 0.2
        part.paint(ellipse(x, y, 0.062, 0.075), rgb((0.98, 0.80, 0.25)), face["earrings"])
        part.paint(ellipse(x, y + 0.025, 0.025, 0.025), rgb((1.0, 0.97, 0.80)), face["earrings"])


def _head_distance(canvas: Canvas, face: Face) -> Floats:
    skull = ellipse(canvas.x, canvas.y + 0.08, 0.5, 0.56)
    jaw = ellipse(canvas.x - 0.04 * face["pose"], canvas.y - 0.16, 0.42 * face["jaw"], 0.5)
    overlap = np.maximum(0.12 - np.abs(skull - jaw), 0)
    return np.minimum(skull, jaw) - overlap * overlap * (0.25 / 0.12)  # a smooth union


def _head(canvas: Canvas, face: Face) -> None:
    part = canvas.crop(-0.56, 0.56, -0.68, 0.72)
    x, y, skin = part.x, part.y, _skin(face)
    distance = _head_distance(part, face)
    edge = np.clip(1 + distance / 0.22, 0, 1)
    light = 1 + 0.12 * face["light"] * x - 0.06 * y - 0.16 * edge * edge
    part.paint(distance, skin * light)
    blush = skin * rgb((1.02, 0.74, 0.72))
    for side in (-1, 1):
        cheek_x = side * 0.27 + 0.10 * face["pose"]
        part.paint(ellipse(x - cheek_x, y - 0.22, 0.11, 0.09), blush, 0.4, softness=0.16)


def _beard(canvas: Canvas, face: Face) -> None:
    part = canvas.crop(-0.56, 0.56, -0.05, 0.76)
    x, y = part.x - 0.1 * face["pose"], part.y
    cheek = 0.285 - 1.35 * x * x + 0.02 * wave(6 * x)
    distance = np.maximum(_head_distance(part, face) - 0.03, (cheek - y) * 0.8)
    distance = np.maximum(distance, -0.02 - part.y)
    colour = _hair_colour(face) * (0.82 + 0.12 * wave(7 * x))
    part.paint(distance, colour, 0.94 * face["beard"], softness=0.02)


def _nose(canvas: Canvas, face: Face) -> None:
    part = canvas.crop(-0.32, 0.32, -0.1, 0.3)
    cx, cy = _nose_tip(face)
    x, y, skin = part.x - cx, part.y - cy, _skin(face)
    part.paint(ellipse(x, y, 0.075, 0.06), skin * 1.06, 0.8, softness=0.05)
    part.paint(arc(x, y - 0.06, 0.07, -0.03) - 0.016, skin * 0.62)


def _mouth(canvas: Canvas, face: Face) -> None:
    part = canvas.crop(-0.36, 0.36, 0.25, 0.66)
    cx, cy, reach, bend = _lips(face)
    x, y, gap = part.x - cx, part.y - cy, 0.14 * face["mouth_open"]
    lips = _skin(face) * rgb((1.0, 0.58, 0.57))
    upper, lower = arc(x, y, reach, bend), arc(x, y - gap, reach, bend - gap)
    t = np.clip(x / reach, -1, 1)
    above, below = bend * t * t - y, y - gap * (1 - t * t) - bend * t * t
    inside = np.maximum(np.maximum(above, below), np.abs(x) - reach)
    part.paint(np.minimum(np.minimum(upper, lower) - 0.034, inside), lips)
    part.paint(np.minimum(inside, upper - 0.013), lips * 0.38)
    teeth = np.maximum(inside, y - bend * t * t - 0.055)
    part.paint(teeth, rgb((0.97, 0.96, 0.93)), face["mouth_open"])


def _eyes(canvas: Canvas, face: Face) -> None:
    skin, iris = _skin(face), blend(IRIS_COLOURS, face["iris"])
    for side, part in canvas.sides(-0.2, 0.5, -0.15, 0.2):
        (cx, cy, wide), (px, py) = _eye(face, side), _pupil(face, side)
        a, b = 0.125 * wide * face["eye_size"], 0.092 * face["eye_size"]
        x, y = part.x - cx, part.y - cy
        part.paint(ellipse(x, y, a * 1.25, b * 1.4), skin * 0.8, 0.5, softness=0.06)
        white = ellipse(x, y, a, b)
        part.paint(white, rgb((0.98, 0.98, 0.97)))
        x, y = part.x - px, part.y - py
        ball = length(x, y)
        part.paint(np.maximum(ball - 0.088, white), iris)
        part.paint(ball - 0.048, rgb((0.05, 0.04, 0.05)))
        glint = length(x - 0.035 * face["light"], y + 0.035)
        part.paint(glint - 0.022, rgb((1.0, 1.0, 1.0)))
        lid = arc(part.x - cx, part.y - cy + b * 0.92, a * 1.05, b * 0.8)
        part.paint(lid - 0.018, skin * 0.28)


def _brows(canvas: Canvas, face: Face) -> None:
    colour = _hair_colour(face) * 0.7
    for side, part in canvas.sides(-0.13, 0.5, -0.34, 0.02):
        cx, _, wide = _eye(face, side)
        x = part.x - cx - 0.01 * side
        y = part.y + 0.165 - 0.12 * side * face["brow"] * x
        part.paint(arc(x, y, 0.125 * wide, 0.035) - 0.024, colour)


def _hair(canvas: Canvas, face: Face) -> None:
    part = canvas.crop(-0.7, 0.7, -0.85, 0.1)
    x, y, bangs = part.x, part.y, face["bangs"]
    pose, volume = face["pose"], face["volume"]
    outer = ellipse(x + 0.03 * pose, y + 0.14, 0.545 + 0.05 * volume, 0.575 + 0.07 * volume)
    off = x - 0.26 * face["parting"] * (1 - bangs) - 0.06 * pose
    line = -0.46 + 0.22 * bangs + (1.5 - 1.1 * bangs) * off * off + 0.045 * bangs * wave(4.5 * off)
    opening = np.maximum(ellipse(x - 0.03 * pose, y - 0.15, 0.46, 0.72), (line - y) * 0.8)
    distance = np.maximum(np.maximum(outer, -opening), y - 0.03)
    sheen = np.clip(1 - np.abs(y + 0.50 - 0.5 * x * x) / 0.12, 0, 1) * 0.22
    part.paint(distance, _hair_colour(face) * (0.92 + 0.16 * wave(5 * off) + sheen))


def _glasses(canvas: Canvas, face: Face) -> None:
    frame, opacity = tint(face["frame_hue"], 0.6, 0.28), face["glasses"]
    (left, cy, _), (right, _, _) = _eye(face, -1), _eye(face, 1)
    for side, part in canvas.sides(-0.2, 0.62, -0.2, 0.24):
        cx, _, wide = _eye(face, side)
        x, y = part.x - cx, part.y - cy
        rim = ellipse(x, y, 0.168 * wide, 0.15)
        part.paint(rim, rgb((0.9, 0.96, 1.0)), 0.14 * opacity)
        part.paint(np.abs(rim) - 0.019, frame, opacity)
        temple = arc(x - side * 0.26, y + 0.03, 0.1, 0.0)
        part.paint(np.maximum(temple - 0.017, _head_distance(part, face)), frame, opacity)
    part = canvas.crop(-0.3, 0.3, -0.2, 0.24)
    bridge = arc(part.x - (left + right) / 2, part.y - cy + 0.045, 0.045, 0.02)
    part.paint(bridge - 0.018, frame, opacity)


def _hat(canvas: Canvas, face: Face) -> None:
    part = canvas.crop(-0.75, 0.75, -1.0, -0.15)
    x, y, opacity = part.x - 0.01 * face["pose"], part.y, face["hat"]
    colour = tint(face["hat_hue"], 0.62, 0.78)
    dome = np.maximum(ellipse(x, y + 0.40, 0.615, 0.47), y + 0.37)
    rib = 0.86 + 0.14 * wave(4.5 * x + 0.5) + 0.1 * face["light"] * x
    part.paint(dome, colour * rib, opacity)
    curved = y + 0.395 - 0.12 * x * x
    off = length(x - np.clip(x, -0.56, 0.56), curved - np.clip(curved, -0.035, 0.035))
    part.paint(off - 0.065, (colour + 0.3 * (1 - colour)) * (0.9 + 0.1 * rib), opacity)
