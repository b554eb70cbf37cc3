"""The drawn faces: the same everywhere, labels that are independent, and pictures that do what the labels say."""

import hashlib
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dcgan.data import portrait, toy
from dcgan.data.canvas import Canvas
from dcgan.errors import DcganError

SIZES = (32, 64, 128)
NAMES = [name for name, _ in toy.LABELS]
MIRRORED = ("x", "pose", "roll", "light", "parting")  # what changes sign in a mirror

Array = npt.NDArray[np.floating]


def faces(n: int, **fixed: float) -> dict[str, Array]:
    """The attributes of the first n faces, some of them set alike for all."""
    return toy.draw_attributes(range(n)) | {name: np.full(n, fixed[name], np.float32) for name in fixed}


def brightness(images: npt.NDArray[np.uint8], points: Array, right: int = 0, down: int = 0) -> Array:
    """Mean over the channels of the pixel nearest to each image's point (n x 2, as x and y), or some way off."""
    column, row = np.rint(points).astype(int).T
    return images[np.arange(len(images)), row + down, column + right].mean(axis=-1)


def difference(first: npt.NDArray[np.uint8], second: npt.NDArray[np.uint8]) -> Array:
    """How far two sets of images lie apart at each pixel: n x h x w."""
    return np.abs(first.astype(float) - second).max(axis=-1)


def centroids(weights: Array) -> Array:
    """The mean (x, y) of n x h x w weights: n x 2."""
    places = np.arange(weights.shape[1])
    return np.stack([weights.sum(axis=1) @ places, weights.sum(axis=2) @ places], axis=1) / weights.sum((1, 2))[:, None]


# ---- the same everywhere ----


@settings(max_examples=15)
@given(st.lists(st.integers(0, 2**64 - 1), max_size=40), st.integers(0, 2**64 - 1), st.sampled_from(SIZES))
def test_a_face_is_the_same_alone_and_in_any_batch(indices: list[int], seed: int, size: int) -> None:
    together = toy.draw_faces(indices, size, seed)
    assert together.images.shape == (len(indices), size, size, 3)
    for i in {0, len(indices) // 2, len(indices) - 1} if indices else set():
        alone = toy.draw_faces([indices[i]], size, seed)
        np.testing.assert_array_equal(together.images[i], alone.images[0])
        np.testing.assert_array_equal(together.labels[i], alone.labels[0])
        np.testing.assert_array_equal(together.landmarks[i], alone.landmarks[0])


def test_faces_are_the_same_bytes_on_every_machine() -> None:
    """A data set's digest, and with it exact resumption, hangs on this: change the digest only with the drawing."""
    drawn = toy.draw_faces(range(64), 64)
    arrays = (drawn.images, drawn.labels, drawn.landmarks)
    assert [a.dtype.str for a in arrays] == ["|u1", "<f4", "<f4"]
    digest = hashlib.sha256(b"".join(a.tobytes() for a in arrays)).hexdigest()
    assert digest == "703c6746c185b73507d5b2ceb1bd8d9f11d1982ee64f3985caaaca1080fc488c"


def test_seed_and_number_both_count_and_are_not_exchangeable() -> None:
    images = [toy.draw_faces([i], 32, seed).images for i, seed in ((1, 2), (2, 1), (1, 1), (2, 2))]
    for i, image in enumerate(images):
        assert all((image != other).mean() > 0.5 for other in images[:i])


@pytest.mark.parametrize("size", SIZES)
def test_what_lies_outside_a_crop_is_untouched_by_its_shapes(monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    """Crops are for speed alone: faces at the ends of every range look the same without them."""
    extremes = faces(100)
    sign = np.random.default_rng(0)
    for name, ends in (portrait.NUMBERS | portrait.VARIATION).items():
        extremes[name] = sign.choice(np.array(ends, np.float32), 100)
    cropped, _ = portrait.draw(extremes, size)
    monkeypatch.setattr(Canvas, "crop", lambda canvas, *_: canvas)
    np.testing.assert_array_equal(cropped, portrait.draw(extremes, size)[0])


@pytest.mark.parametrize("size", [32, 64])
def test_a_face_twice_as_large_is_the_same_face(size: int) -> None:
    small, large = toy.draw_faces(range(100), size), toy.draw_faces(range(100), 2 * size)
    np.testing.assert_array_equal(small.labels, large.labels)
    np.testing.assert_allclose((large.landmarks + 0.5) / 2 - 0.5, small.landmarks, atol=1e-4)
    averaged = large.images.reshape(100, size, 2, size, 2, 3).mean(axis=(2, 4))
    error = np.abs(averaged - small.images)
    assert error.mean() < 1.5
    assert np.quantile(error, 0.99) < 20


def test_a_mirrored_face_is_the_face_in_a_mirror() -> None:
    """So a horizontal flip is a fair augmentation: x becomes size - 1 - x, and left becomes right."""
    original = faces(100)
    images, landmarks = portrait.draw(original, 64)
    mirrored, swapped = portrait.draw(original | {name: -original[name] for name in MIRRORED}, 64)
    assert difference(images[:, :, ::-1], mirrored).max() <= 1  # rounding
    names = list(toy.LANDMARKS)
    other = {"left": "right", "right": "left"}
    order = [names.index("_".join(other.get(word, word) for word in name.split("_"))) for name in names]
    np.testing.assert_allclose([63, 0] + [-1, 1] * landmarks[:, order], swapped, atol=1e-4)


@pytest.mark.parametrize(
    ("indices", "size", "seed"), [([0], 15, 0), ([-1], 64, 0), ([2**64], 64, 0), ([0], 64, -1), ([0], 64, 2**64)]
)
def test_impossible_requests_are_refused(indices: list[int], size: int, seed: int) -> None:
    with pytest.raises(DcganError):
        toy.draw_faces(indices, size, seed)


# ---- labels ----


def test_labels_are_of_their_kinds() -> None:
    labels = toy.draw_faces(range(500), 16).labels
    assert labels.shape == (500, len(toy.LABELS))
    for column, (name, kind) in zip(labels.T, toy.LABELS, strict=True):
        if kind == "number":
            low, high = portrait.NUMBERS[name]
            assert low <= column.min() < low + 0.1 * (high - low)
            assert high >= column.max() > high - 0.1 * (high - low)
        else:
            assert set(column) == {0, 1}
    group = [name.startswith("hair=") for name in NAMES]
    np.testing.assert_array_equal(labels[:, group].sum(axis=1), 1)
    np.testing.assert_array_equal(labels[:, NAMES.index("smiling")], labels[:, NAMES.index("smile")] > 0)


def test_labels_are_balanced_and_independent_of_each_other_and_of_the_rest() -> None:
    labels = toy.draw_faces(range(2000), 16).labels
    for column, (name, kind) in zip(labels.T, toy.LABELS, strict=True):
        if kind != "number":
            low, high = (0.15, 0.25) if kind == "class" else (0.3, 0.55)
            assert low < column.mean() < high, name
    columns = dict(zip(NAMES, labels.T, strict=True))
    columns |= {name: values for name, values in toy.draw_attributes(range(2000)).items() if name in portrait.VARIATION}
    correlations = np.corrcoef(np.stack(list(columns.values())))
    for i, first in enumerate(columns):
        for j, second in enumerate(list(columns)[:i]):
            related = first.startswith("hair=") and second.startswith("hair=")
            if not related and {first, second} != {"smile", "smiling"}:
                assert abs(correlations[i, j]) < 0.08, (first, second)


# ---- landmarks, and what each attribute changes ----


def test_eye_landmarks_are_on_dark_pupils() -> None:
    images, landmarks = portrait.draw(faces(100, glasses=0, beard=0), 128)
    for k in (0, 1):
        pupil = brightness(images, landmarks[:, k], down=1)  # a highlight lies above
        assert pupil.max() < 60
        assert (brightness(images, landmarks[:, k], down=11) > pupil + 40).all()  # the cheek


def test_irises_lie_around_the_eye_landmarks() -> None:
    brown, landmarks = portrait.draw(faces(100, iris=0, glasses=0), 128)
    blue, _ = portrait.draw(faces(100, iris=1, glasses=0), 128)
    changed = difference(brown, blue)
    middle = landmarks[:, :2, 0].mean(axis=1)[:, None, None]
    for k, half in ((0, np.arange(128) < middle), (1, np.arange(128) > middle)):
        assert np.abs(centroids(changed * half) - landmarks[:, k]).max() < 2


def test_mouth_landmarks_are_the_corners_of_the_lips() -> None:
    for smile in (-1.0, 0.0, 1.0):
        images, landmarks = portrait.draw(faces(100, smile=smile, beard=0, mouth_open=0), 128)
        for k, outward in ((3, -1), (4, 1)):
            lip = brightness(images, landmarks[:, k])
            assert (brightness(images, landmarks[:, k], right=7 * outward) > lip + 10).mean() > 0.95


def test_a_smile_lifts_the_corners_of_the_mouth_and_leaves_the_other_landmarks() -> None:
    (_, sad), (_, glad) = (portrait.draw(faces(100, smile=smile), 64) for smile in (-1, 1))
    np.testing.assert_array_equal(sad[:, :3], glad[:, :3])
    assert (glad[:, 3:, 1] < sad[:, 3:, 1] - 2).all()


def test_pose_moves_the_nose_most() -> None:
    (_, left), (_, right) = (portrait.draw(faces(100, pose=pose), 64) for pose in (-1, 1))
    moved = (right - left)[..., 0]
    assert (moved > 5).all()
    assert (moved.argmax(axis=1) == 2).all()


REGIONS: dict[str, Callable[[Array, Array], npt.NDArray[np.bool_]]] = {
    "glasses": lambda x, y: (np.abs(x) < 0.75) & (np.abs(y) < 0.22),
    "hat": lambda x, y: y < -0.15,
    "bangs": lambda x, y: y < 0.1,
    "earrings": lambda x, y: (np.abs(x) > 0.25) & (np.abs(y - 0.25) < 0.15),
    "beard": lambda x, y: (np.abs(x) < 0.85) & (y > -0.1),
    "mouth_open": lambda x, y: (np.abs(x) < 0.4) & (y > 0.2) & (y < 0.72),
    "smile": lambda x, y: (np.abs(x) < 0.45) & (y > 0.2) & (y < 0.72),
    "shirt_hue": lambda x, y: y > 0.5,
    "brow": lambda x, y: (y < 0.0) & (y > -0.4),
}


@pytest.mark.parametrize("name", REGIONS)
def test_an_attribute_changes_its_own_region_alone(name: str) -> None:
    """In units of half the frame, from the point between the eyes along the line of the eyes."""
    low, high = (portrait.NUMBERS | portrait.VARIATION).get(name, (0, 1))
    if name.endswith("hue"):
        high = 0.5  # the other end is the same colour again
    seen = {"hat": 0.0, "long_hair": 0.0}  # nothing hides what changes
    images, landmarks = portrait.draw(faces(100, **(seen | {name: low})), 64)
    others, _ = portrait.draw(faces(100, **(seen | {name: high})), 64)
    origin, along = landmarks[:, :2].mean(axis=1), landmarks[:, 1] - landmarks[:, 0]
    along /= np.sqrt((along**2).sum(axis=1, keepdims=True))
    place = np.stack(np.meshgrid(np.arange(64), np.arange(64)), axis=-1) - origin[:, None, None]
    x = np.einsum("nhwc,nc->nhw", place, along) / 32
    y = np.einsum("nhwc,nc->nhw", place, along[:, ::-1] * [-1, 1]) / 32
    changed = difference(images, others)
    assert changed[~REGIONS[name](x, y)].max() == 0
    assert (changed.max(axis=(1, 2)) > 20).mean() > 0.95
