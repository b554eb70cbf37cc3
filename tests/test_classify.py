"""The classifier: what it learns, that it repeats, and what it makes of every kind of label and image."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy

from dcgan.classify import Classifier, _loss, measure, train_classifier
from dcgan.data import Label, PackedImages, PackedWriter
from dcgan.draws import generator_for
from dcgan.errors import DcganError


@dataclass(frozen=True)
class InMemory:
    """Labelled images as arrays."""

    images: npt.NDArray[np.uint8]
    labels: npt.NDArray[np.float32] | None
    label_names: tuple[str, ...]
    label_kinds: tuple[str, ...]
    name: str = "in memory"
    digest: str = "digest"
    size: int = 16
    channels: int = 3

    def read(self, indices: npt.ArrayLike) -> npt.NDArray[np.uint8]:
        return self.images[np.asarray(indices)]


@pytest.fixture(scope="module")
def shapes() -> InMemory:
    """Noise with a bright corner (one of three classes), a red tint (yes or no) and a brightness (a number)."""
    random = np.random.default_rng(0)
    n = 600
    corner, red, light = random.integers(0, 3, n), random.integers(0, 2, n), random.uniform(0, 10, n)
    images = random.uniform(0, 40, (n, 16, 16, 3)) + 8 * light[:, None, None, None]
    images[..., 0] += 40 * red[:, None, None]
    for i, (y, x) in enumerate(((0, 0), (0, 12), (12, 6))):
        images[corner == i, y : y + 4, x : x + 4] += 60
    labels = np.column_stack([np.eye(3)[corner], red, light]).astype(np.float32)
    kinds = ("class", "class", "class", "binary", "number")
    names = ("at=left", "at=right", "at=bottom", "red", "light")
    return InMemory(images.astype(np.uint8), labels, names, kinds)


TRAIN, TEST = np.arange(500), np.arange(500, 600)


@pytest.fixture(scope="module")
def classifier(shapes: InMemory) -> Classifier:
    return train_classifier(shapes, TRAIN, epochs=8, width=8)


def test_it_learns_classes_yes_or_no_and_numbers(shapes: InMemory, classifier: Classifier) -> None:
    figures = measure(classifier, shapes, TEST)
    assert list(figures) == ["at", "red", "light"]
    assert min(figures.values()) > 0.9
    read = classifier.read(shapes.read(TEST))
    np.testing.assert_allclose(read[:, :3].sum(1), 1, atol=1e-5)
    assert shapes.labels is not None
    assert np.abs(read[:, 4] - shapes.labels[TEST, 4]).mean() < 1  # in the label's own units


def test_scores_are_the_log_odds_of_what_is_read(shapes: InMemory, classifier: Classifier) -> None:
    scores = classifier.scores(shapes.read(TEST)).double()[:, :4]
    odds = torch.from_numpy(classifier.read(shapes.read(TEST))[:, :4]).double().logit(1e-6)
    sure = scores.abs() > 8  # where float32 probabilities saturate and scores do not
    torch.testing.assert_close(scores[~sure], odds[~sure], atol=1e-2, rtol=1e-2)


def test_the_same_arguments_give_the_same_classifier(shapes: InMemory) -> None:
    first, again, other = (train_classifier(shapes, TRAIN, epochs=0.5, width=4, seed=seed) for seed in (0, 0, 1))
    assert first.digest == again.digest
    assert first.digest != other.digest


def test_unknown_labels_count_for_nothing(shapes: InMemory) -> None:
    assert shapes.labels is not None
    hidden = shapes.labels.copy()
    hidden[::2, :3] = np.nan
    hidden[1::2, 3] = np.nan
    hidden[::3, 4] = np.nan
    partly = replace(shapes, labels=hidden)
    figures = measure(train_classifier(partly, TRAIN, epochs=12, width=8), shapes, TEST)
    assert min(figures.values()) > 0.85


def test_a_row_without_a_label_does_not_enter_that_labels_loss(classifier: Classifier) -> None:
    scores = torch.randn(6, 5, generator=generator_for(0, "scores", 0), requires_grad=True)
    truth = torch.eye(5).repeat(2, 1)[:6]
    hidden = truth.clone()
    hidden[:2, 3] = hidden[3, :3] = float("nan")
    loss = _loss(classifier, scores, hidden)
    expected = torch.stack(
        [
            cross_entropy(scores[[0, 1, 2, 4, 5], :3], truth[[0, 1, 2, 4, 5], :3]),
            binary_cross_entropy_with_logits(scores[2:, 3], truth[2:, 3]),
            (scores[:, 4] - truth[:, 4]).square().mean(),
        ]
    ).mean()
    torch.testing.assert_close(loss, expected)
    (gradient,) = torch.autograd.grad(loss, scores)
    assert gradient[:2, 3].eq(0).all()
    assert gradient[3, :3].eq(0).all()
    assert _loss(classifier, scores, torch.full((6, 5), float("nan"))) == 0


def test_some_labels_can_be_chosen(shapes: InMemory) -> None:
    chosen = train_classifier(shapes, TRAIN, labels=["light", "red"], epochs=2, width=4)
    assert [label.name for label in chosen.labels] == ["light", "red"]
    assert chosen.read(shapes.read([0, 1, 2])).shape == (3, 2)


def test_a_saved_classifier_reads_the_same(shapes: InMemory, classifier: Classifier, tmp_path: Path) -> None:
    classifier.save(tmp_path / "c.safetensors")
    loaded = Classifier.load(tmp_path / "c.safetensors")
    assert torch.equal(loaded.scores(shapes.images[:10]), classifier.scores(shapes.images[:10]))
    assert (loaded.digest, loaded.about, loaded.labels) == (classifier.digest, classifier.about, classifier.labels)


def test_images_of_other_sizes_and_in_grey_are_read(shapes: InMemory, classifier: Classifier) -> None:
    small = shapes.read(TEST)
    large = small.repeat(2, 1).repeat(2, 2)
    np.testing.assert_allclose(classifier.read(large)[:, :3], classifier.read(small)[:, :3], atol=0.3)
    grey = small[..., 1:2]
    assert np.array_equal(classifier.read(grey), classifier.read(grey.repeat(3, 3)))
    in_grey = Classifier(16, 1, [Label("a", "binary")], width=4).eval()
    np.testing.assert_allclose(in_grey.read(grey.repeat(3, 3)), in_grey.read(grey), atol=1e-5)
    assert classifier.read(small[:0]).shape == (0, 5)
    with pytest.raises(DcganError, match="not ones of 2 channels"):
        classifier.read(small[..., :2])


def test_mirroring_makes_left_and_right_alike(shapes: InMemory) -> None:
    mirrored = train_classifier(shapes, TRAIN, labels=["at=left", "at=right"], epochs=6, width=8, flip=True)
    figures = measure(mirrored, shapes, TEST)
    assert figures["at"] < 0.8  # it cannot know, which shows that images were mirrored


def test_it_learns_from_packed_images(faces32: PackedImages) -> None:
    classifier = train_classifier(faces32, faces32.training_indices, epochs=1, width=4)
    assert len(classifier.labels) == len(faces32.label_names)
    assert {"hair", "glasses", "smile"} <= set(measure(classifier, faces32, faces32.training_indices))
    assert classifier.about["dataset"]["digest"] == faces32.digest


def test_mistakes_are_named(shapes: InMemory, classifier: Classifier, tmp_path: Path) -> None:
    assert shapes.labels is not None
    with pytest.raises(DcganError, match="no label 'x'; it has at=left"):
        train_classifier(shapes, TRAIN, labels=["x"])
    with pytest.raises(DcganError, match="red is nowhere known"):
        train_classifier(replace(shapes, labels=np.full_like(shapes.labels, np.nan)), TRAIN, labels=["red"])
    with pytest.raises(DcganError, match="no image to learn from"):
        train_classifier(shapes, TRAIN[:0])
    with PackedWriter(tmp_path / "bare", 16, 3) as writer:
        writer.append(shapes.images)
    with pytest.raises(DcganError, match="has no labels"):
        train_classifier(PackedImages.open(tmp_path / "bare"), TRAIN)
    (tmp_path / "bad.safetensors").write_bytes(b"nothing")
    with pytest.raises(DcganError, match="damaged"):
        Classifier.load(tmp_path / "bad.safetensors")
    with pytest.raises(DcganError, match="does not exist"):
        Classifier.load(tmp_path / "none.safetensors")
