"""Pictures with words."""

from __future__ import annotations

import numpy as np

from dcgan.explore.sheets import LINE, as_rgb, numbered, sheet, signed

IMAGES = np.random.default_rng(0).integers(0, 256, (4, 10, 12, 3), dtype=np.uint8)


def test_images_stand_untouched_in_their_cells() -> None:
    picture = sheet([[IMAGES[0], IMAGES[1]], [None, IMAGES[2], IMAGES[3]]], ["a", "bb"], ["two words", "one", ""])
    left = picture.shape[1] - (3 * 12 + 2 * 2)
    assert left > 0
    for image, row, column in ((0, 0, 0), (1, 0, 1), (2, 1, 1), (3, 1, 2)):
        y, x = 2 * LINE + row * 12, left + column * 14
        assert np.array_equal(picture[y : y + 10, x : x + 12], IMAGES[image])
        picture[y : y + 10, x : x + 12] = 255
    for part in (picture[: 2 * LINE], picture[2 * LINE :, :left]):
        assert part.min() < 128  # the words
        part[...] = 255
    assert (picture == 255).all()


def test_a_sheet_without_words_has_no_margin() -> None:
    assert sheet([list(IMAGES)]).shape == (10, 4 * 14 - 2, 3)


def test_captions_stand_below_and_differ() -> None:
    tall = numbered(IMAGES[[0, 0]], [7, 8])
    assert tall.shape == (2, 10 + LINE, 12, 3)
    assert np.array_equal(tall[:, :10], IMAGES[[0, 0]])
    assert not np.array_equal(tall[0, 10:], tall[1, 10:])


def test_grey_and_transparent_images_become_rgb() -> None:
    grey = np.array([[[[9]]]], np.uint8)
    assert as_rgb(grey).tolist() == [[[[9, 9, 9]]]]
    assert as_rgb(np.array([[9, 0], [9, 255]], np.uint8)).tolist() == [[255] * 3, [9] * 3]
    assert as_rgb(np.array([1, 2, 3, 0], np.uint8)).tolist() == [255] * 3


def test_amounts_carry_their_sign() -> None:
    assert [signed(amount) for amount in (-2.0, 0.0, 1.5, 3)] == ["-2", "0", "+1.5", "+3"]
