"""One small image classifier: reads attributes of images (classes, yes or no, numbers) after seeing labelled ones.

Which labels are of one group, what is unknown (NaN) and what each column means is told by the data set, so the same
network reads CelebA's attributes, classes of a folder and drawn faces alike.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol, Self

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from tqdm import tqdm

from dcgan.checkpoint import load_tensors, save_tensors, tensors_digest
from dcgan.config import Label, label_groups
from dcgan.data.labels import SOURCES_OF_LABELS, Labelled
from dcgan.draws import epoch_order, generator_for
from dcgan.errors import DcganError
from dcgan.images import Pixels, to_input, to_signed

FORMAT = 1
_BATCH = 256  # images read at a time, which matters for memory only


class LabelledImages(Labelled, Protocol):
    """What the classifier learns from: a `PackedImages`, or anything that has these."""

    digest: str
    size: int
    channels: int

    def read(self, indices: npt.ArrayLike) -> Pixels:
        """Images of these indices, uint8 n x size x size x channels."""


class Classifier(nn.Module):
    """Images N x C x S x S in [-1, 1] to one raw score a label, N x L (`scores` and `read` take any images).

    Convolutions with stride 2 down to 4x4, each doubling the channels, with BatchNorm and ReLU; then one linear
    layer over all places, because in aligned images it matters where something is.
    """

    def __init__(self, size: int, channels: int, labels: Sequence[Label], width: int = 32) -> None:
        """`labels` say what each score means; `width` is the first layer's number of channels."""
        super().__init__()
        self.size, self.channels, self.labels, self.width = size, channels, tuple(labels), width
        self.about: dict[str, Any] = {}
        """What it was trained on, and how well it did on images it had not seen."""
        layers: list[nn.Module] = []
        before, after = channels, width
        for _ in range(int(math.log2(size / 4))):
            layers += [nn.Conv2d(before, after, 3, 2, 1, bias=False), nn.BatchNorm2d(after), nn.ReLU(inplace=True)]
            before, after = after, min(2 * after, 8 * width)
        self.features = nn.Sequential(*layers, nn.Flatten())
        self.last = nn.Linear(before * 16, len(labels))
        # What a score of 0 and of 1 mean for a label that is a number; 0 and 1 themselves for the others.
        self.register_buffer("mean", torch.zeros(len(labels)))
        self.register_buffer("deviation", torch.ones(len(labels)))

    mean: Tensor
    deviation: Tensor

    @property
    def groups(self) -> list[list[int]]:
        """Columns that belong together: those of one class, every other alone."""
        return label_groups(self.labels)

    def forward(self, images: Tensor) -> Tensor:
        scores: Tensor = self.last(self.features(images))
        return scores

    @torch.inference_mode()
    def scores(self, images: Pixels) -> Tensor:
        """How sure it is, float32 N x L on the CPU, of uint8 images N x H x W x C of any size, grey or RGB.

        Log-odds of yes over no, or of one class over all others; a number in standard deviations of the training
        labels. Unlike `read`'s probabilities, these do not saturate.
        """
        self.eval()
        raw = [
            self(to_input(part.to(self.mean.device), self.size, self.channels)).float().cpu()
            for part in torch.from_numpy(images).split(_BATCH)
        ]
        scores = torch.cat([torch.empty(0, len(self.labels)), *raw])
        for columns in self.groups:
            if len(columns) > 1:
                others = [scores[:, [c for c in columns if c != column]].logsumexp(1) for column in columns]
                scores[:, columns] = scores[:, columns] - torch.stack(others, 1)
        return scores

    def read(self, images: Pixels) -> npt.NDArray[np.float32]:
        """Labels, N x L, of images as in `scores`: probabilities of yes and of each class, numbers in their units."""
        scores = self.scores(images)
        numbers = torch.tensor([label.kind == "number" for label in self.labels])
        return torch.where(numbers, scores * self.deviation.cpu() + self.mean.cpu(), scores.sigmoid()).numpy()

    @property
    def digest(self) -> str:
        """SHA-256 that identifies the weights and the meaning of the scores."""
        return tensors_digest(self.state_dict(), self._configuration())

    def save(self, path: str | Path) -> None:
        """Write one .safetensors file that holds all."""
        description = {"format": FORMAT, "kind": "classifier", **self._configuration(), "about": self.about}
        save_tensors(Path(path), self.state_dict(), {"dcgan": json.dumps(description)})

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read what `save` wrote; `DcganError` if it is missing, damaged or something else."""
        tensors, metadata = load_tensors(Path(path))
        try:
            stored = json.loads(metadata["dcgan"])
            if (stored["kind"], stored["format"]) != ("classifier", FORMAT):
                raise KeyError("kind")
            labels = [Label(*label) for label in stored["labels"]]
            classifier = cls(stored["size"], stored["channels"], labels, stored["width"])
            classifier.load_state_dict(tensors)
        except (KeyError, ValueError, TypeError, RuntimeError) as error:
            raise DcganError(f"{path} is no classifier that this version of dcgan can read") from error
        classifier.about = stored["about"]
        return classifier.eval()

    def _configuration(self) -> dict[str, Any]:
        labels = [list(label) for label in self.labels]
        return {"size": self.size, "channels": self.channels, "width": self.width, "labels": labels}


def train_classifier(
    data: LabelledImages,
    indices: npt.NDArray[np.int64],
    *,
    labels: Sequence[str] | None = None,
    epochs: float = 8.0,
    batch: int = 64,
    learning_rate: float = 5e-3,
    width: int = 32,
    shift: bool = True,
    flip: bool = False,
    seed: int = 0,
    device: str | torch.device = "cpu",
    progress: bool = False,
) -> Classifier:
    """Train on the images at `indices`; the same arguments give the same classifier on the same machine.

    `labels` are those to learn (default: all of the data's). AdamW with a learning rate that rises over the first
    tenth and falls to 0; with `shift` images are moved by up to 1/16 of their size, and with `flip` half of them are
    mirrored (not for labels that tell left from right). Unknown labels count for nothing. Raises `DcganError` for data
    without labels, names it does not have, or a label that is nowhere known.
    """
    columns, indices = _columns(data, labels), np.asarray(indices)
    assert data.labels is not None
    known = torch.from_numpy(np.array(data.labels[:, columns]))
    kinds = [Label(data.label_names[c], data.label_kinds[c]) for c in columns]
    unknown = [label.name for c, label in enumerate(kinds) if known[indices, c].isnan().all()]
    if unknown:
        nothing = f"{', '.join(unknown)} is nowhere known" if len(indices) else "there is no image to learn from"
        raise DcganError(f"{data.name}: {nothing}")
    classifier = _initial(Classifier(data.size, data.channels, kinds, width), known[indices], seed).to(device).train()
    standard = (known.to(device) - classifier.mean) / classifier.deviation
    optimizer = torch.optim.AdamW(classifier.parameters(), learning_rate, weight_decay=0.05)
    steps = max(1, round(epochs * len(indices) / batch))
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, learning_rate, total_steps=steps, pct_start=0.1)
    for step in tqdm(range(steps), desc="training the classifier", unit="step", disable=None if progress else True):
        chosen = indices[_batch_places(step, batch, len(indices), seed)]
        images = to_signed(torch.from_numpy(data.read(chosen)).to(device))
        loss = _loss(classifier, classifier(_augment(images, shift, flip, seed, step)), standard[chosen])
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        schedule.step()
    classifier.about = {
        "dataset": {"name": data.name, "digest": data.digest},
        "training": {"images": len(indices), "epochs": epochs, "flip": flip, "seed": seed},
    }
    return classifier.eval()


def measure(classifier: Classifier, data: LabelledImages, indices: npt.NDArray[np.int64]) -> dict[str, float]:
    """How well it reads the images at `indices`, by label; labels that are nowhere known there are left out.

    The share that is right for yes or no, and for a class as a whole (under the name before "=", or "class"); for a
    number the share of its variance that is explained (R2: 1 is perfect, 0 no better than the mean).
    """
    columns = _columns(data, [label.name for label in classifier.labels])
    assert data.labels is not None
    truth = data.labels[np.asarray(indices)[:, None], columns]
    parts = np.array_split(np.asarray(indices), max(1, len(indices) // _BATCH))
    found = np.concatenate([classifier.read(data.read(part)) for part in parts])
    figures: dict[str, float] = {}
    for group in classifier.groups:
        label = classifier.labels[group[0]]
        known = ~np.isnan(truth[:, group]).any(1)
        true, read = truth[known][:, group], found[known][:, group]
        if not known.any():
            continue
        if len(group) > 1:
            right = float((true.argmax(1) == read.argmax(1)).mean())
            figures[label.group] = right
        elif label.kind == "number":
            figures[label.name] = float(1 - ((true - read) ** 2).mean() / max(true.var(), 1e-12))
        else:
            figures[label.name] = float(((read > 0.5) == (true > 0.5)).mean())
    return figures


def _columns(data: LabelledImages, labels: Sequence[str] | None) -> list[int]:
    """Places of labels in the data's own; of all of them if None."""
    if data.labels is None or not data.label_names:
        raise DcganError(f"{data.name} has no labels: {SOURCES_OF_LABELS}")
    names = data.label_names if labels is None else labels
    for name in names:
        if name not in data.label_names:
            raise DcganError(f"{data.name} has no label {name!r}; it has {', '.join(data.label_names)}")
    return [data.label_names.index(name) for name in names]


def _initial(classifier: Classifier, known: Tensor, seed: int) -> Classifier:
    """Draw the weights (He et al. 2015), and note mean and deviation of the labels that are numbers."""
    draws = generator_for(seed, "classifier weights", 0)
    for module in classifier.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu", generator=draws)
    nn.init.normal_(classifier.last.weight, 0.0, 0.01, generator=draws)
    nn.init.zeros_(classifier.last.bias)
    for column, label in enumerate(classifier.labels):
        if label.kind == "number":
            values = known[:, column][~known[:, column].isnan()]
            classifier.mean[column] = values.mean()
            classifier.deviation[column] = values.std(correction=0).clamp_min(1e-6)
    return classifier.to(memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]  # missing in torch's stubs


def _batch_places(step: int, batch: int, count: int, seed: int) -> npt.NDArray[np.int64]:
    """Places of a step's images among `count`: the next ones in the order of their epochs."""
    positions = torch.arange(step * batch, (step + 1) * batch)
    epochs = positions // count
    places = torch.cat([epoch_order(seed, int(e), count)[positions[epochs == e] % count] for e in epochs.unique()])
    return places.numpy()


def _augment(images: Tensor, shift: bool, flip: bool, seed: int, step: int) -> Tensor:
    """Images N x C x S x S, with `shift` moved (the edge is repeated), and with `flip` half of them mirrored."""
    draws = generator_for(seed, "classifier augmentation", step)
    count, _, size, _ = images.shape
    most = size // 16 if shift else 0
    shifts = torch.randint(0, 2 * most + 1, (2, count, 1), generator=draws)
    places = torch.arange(size)
    rows, columns = (places + shifts - most).clamp(0, size - 1).to(images.device)  # each N x S
    if flip:
        mirrored = torch.rand(count, 1, generator=draws).to(images.device) < 0.5
        columns = torch.where(mirrored, columns.flip(1), columns)
    number = torch.arange(count, device=images.device)[:, None, None]
    # Indices first and last put channels last, which is both the order they are stored in and the faster one.
    moved = images.permute(0, 2, 3, 1)[number, rows[:, :, None], columns[:, None, :]]
    return moved.permute(0, 3, 1, 2)


def _loss(classifier: Classifier, scores: Tensor, truth: Tensor) -> Tensor:
    """Mean over the groups of labels: cross-entropy of classes and of yes or no, squared error of numbers.

    `scores` and `truth` are N x L; rows with an unknown label are left out of that label's mean.
    """
    losses = []
    for columns in classifier.groups:
        known = ~truth[:, columns].isnan().any(1)
        if not known.any():
            continue
        score, true = scores[known][:, columns], truth[known][:, columns]
        if len(columns) > 1:
            losses.append(F.cross_entropy(score, true))
        elif classifier.labels[columns[0]].kind == "number":
            losses.append(F.mse_loss(score, true))
        else:
            losses.append(F.binary_cross_entropy_with_logits(score, true))
    return torch.stack(losses).mean() if losses else scores.sum() * 0
