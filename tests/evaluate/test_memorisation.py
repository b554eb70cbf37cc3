"""The memorisation audit flags whatever replays training images, and nothing that does not."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest
import torch
import torch.nn.functional as F

from dcgan.data import PackedImages
from dcgan.data.toy import draw_faces
from dcgan.evaluate import ModuleExtractor
from dcgan.evaluate.memorisation import (
    Audit,
    Views,
    audit,
    nearest_features,
    nearest_thumbnails,
    thumbnails,
)

Images = npt.NDArray[np.uint8]
COUNT = 300


def blurred(images: Images, sigma: float = 0.7) -> Images:
    """Images under a Gaussian of `sigma` pixels."""
    kernel = torch.exp(-(torch.arange(-3, 4) ** 2) / (2 * sigma**2))
    kernel = torch.outer(kernel, kernel).expand(3, 1, 7, 7) / kernel.sum() ** 2
    pixels = F.pad(torch.from_numpy(images).permute(0, 3, 1, 2).float(), (3, 3, 3, 3), mode="reflect")
    return F.conv2d(pixels, kernel, groups=3).round().byte().permute(0, 2, 3, 1).numpy()


def noisy(images: Images) -> Images:
    noise = np.random.default_rng(0).normal(0, 8, images.shape)
    return np.clip(images + noise, 0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def fresh() -> Images:
    """Faces that are in no data set."""
    return draw_faces(range(5000, 5000 + COUNT), 32).images


@pytest.fixture(scope="module")
def run(people: PackedImages, small: ModuleExtractor) -> Callable[[Images], Audit]:
    """Audit fakes against the drawn people."""

    def view(images: Images) -> Views:
        return Views(small(images), thumbnails(images))

    held_out, training = view(people.read(people.held_out_indices)), view(people.read(people.training_indices))
    return lambda fakes: audit(view(fakes), held_out, training, seed=0)


COPIERS: dict[str, Callable[[Images], Images]] = {
    "replayed": lambda images: images,
    "flipped": lambda images: images[:, :, ::-1].copy(),
    "blurred": blurred,
    "flipped and blurred": lambda images: blurred(images[:, :, ::-1].copy()),
    "noisy": noisy,
    "darker": lambda images: (images * 0.9).astype(np.uint8),
}


@pytest.mark.parametrize("share", [1.0, 0.1])
@pytest.mark.parametrize("how", COPIERS)
def test_copies_are_flagged(
    run: Callable[[Images], Audit], people: PackedImages, fresh: Images, how: str, share: float
) -> None:
    copies = round(share * COUNT)
    copied = COPIERS[how](people.read(people.training_indices[:copies]))
    found = run(np.concatenate([fresh[copies:], copied]))
    assert found.copies, found
    assert found.verdict.startswith("copies: about ")
    assert abs(int(found.verdict.split("about ")[1].split("%")[0]) / 100 - share) < 0.1
    # the closest pairs by pixels are copies beside their originals
    pairs = next(finding for finding in found.findings if finding.space == "pixels").pairs
    assert all(pair.training == pair.fake - (COUNT - copies) for pair in pairs)
    assert {pair.mirrored for pair in pairs} == {"flipped" in how}


def test_new_faces_are_cleared(run: Callable[[Images], Audit], people: PackedImages, fresh: Images) -> None:
    for new in (fresh, people.read(people.held_out_indices), blurred(fresh, 1.5), noisy(fresh)):
        found = run(new)
        assert not found.copies, found
        assert found.verdict == "no sign of copying"


def test_unrelated_images_are_cleared(run: Callable[[Images], Audit]) -> None:
    assert not run(np.random.default_rng(0).integers(0, 256, (COUNT, 32, 32, 3), dtype=np.uint8)).copies


def test_the_interval_holds_the_share_and_narrows_with_the_count(
    run: Callable[[Images], Audit], fresh: Images, people: PackedImages
) -> None:
    mixed = np.concatenate([fresh[:200], people.read(people.training_indices[:100])])
    many, few = (run(images).findings[0] for images in (mixed, mixed[::10]))
    for finding in (many, few):
        assert finding.low <= finding.near <= finding.high
    assert many.high - many.low < few.high - few.low


def test_an_audit_repeats_exactly(run: Callable[[Images], Audit], fresh: Images) -> None:
    assert run(fresh) == run(fresh)


def test_near_duplicates_within_the_data_are_not_held_against_fakes(
    people: PackedImages, fresh: Images, small: ModuleExtractor
) -> None:
    training = people.read(people.training_indices)
    held_out = people.read(people.held_out_indices)
    held_out[:12] = training[:12]  # 4% were saved twice
    views = [Views(small(images), thumbnails(images)) for images in (training, held_out)]
    again = np.concatenate([fresh[:288], training[50:62]])  # and of the fakes too
    found = audit(Views(small(again), thumbnails(again)), views[1], views[0], seed=0)
    assert not found.copies
    assert not found.is_blunt
    held_out[:30] = training[:30]
    blunt = Views(small(held_out), thumbnails(held_out))
    assert audit(Views(small(fresh), thumbnails(fresh)), blunt, views[0], seed=0).is_blunt


def test_nearest_equals_a_plain_search() -> None:
    generator = torch.Generator().manual_seed(0)
    training = torch.randn(70, 3, 16, 16, generator=generator) + 100
    queries = torch.randn(9, 3, 16, 16, generator=generator) + 100
    queries[3], queries[4] = training[11], training[12].flip(2)
    both = torch.stack(
        [torch.cdist(q.flatten(1).double(), training.flatten(1).double()) for q in (queries, queries.flip(3))]
    )
    found = nearest_thumbnails(queries, training)
    flat = torch.cat([*both], dim=1)
    assert torch.equal(found.index, flat.argmin(1) % 70)
    assert torch.equal(found.mirrored, flat.argmin(1) >= 70)
    expected = flat.sort(1).values[:, :50]
    torch.testing.assert_close(found.closeness, (expected[:, 0] / expected.mean(1)).float(), atol=1e-3, rtol=1e-4)
    assert (bool(found.mirrored[4]), int(found.index[4])) == (True, 12)
    by_feature = nearest_features(queries.flatten(1), training.flatten(1))
    assert torch.equal(by_feature.index, both[0].argmin(1))
    assert by_feature.closeness[3] < 1e-3
