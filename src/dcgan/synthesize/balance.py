"""Which labels synthetic faces get: as among real ones, or such that rare classes are filled up."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from dcgan.config import Label, label_groups
from dcgan.draws import generator_for
from dcgan.errors import DcganError


def filled_shares(counts: Tensor, more: int) -> Tensor:
    """Shares K of `more` new images that make K classes of `counts` images as even as can be.

    They fill the rarest up to the next rarest and so on, as water fills a vessel; the shares add up to 1.
    """
    counts = counts.double()
    level = counts.sort().values
    places = torch.arange(1, len(level) + 1)
    surfaces = (level.cumsum(0) + more) / places  # where the water would stand with only so many classes in it
    inside = surfaces >= level
    surface = surfaces[inside][-1]
    return (surface - counts).clamp_min(0) / more


def shares_of_data(labels: Sequence[Label], values: Tensor | None, more: int) -> list[Tensor | None]:
    """For each group of `labels` the shares of its classes (of no and yes) that `more` new images should have.

    `values`, N x L, are the labels of the images that these will be added to; None is an empty data set, and so all
    classes alike. Numbers have no shares: None.
    """
    shares: list[Tensor | None] = []
    for columns in label_groups(labels):
        if labels[columns[0]].kind == "number":
            shares.append(None)
            continue
        known = torch.zeros(1, len(columns)) if values is None else values[:, columns].nan_to_num(0.0)
        counts = known.sum(0)
        if len(columns) == 1:
            everyone = 0 if values is None else int((~values[:, columns[0]].isnan()).sum())
            counts = torch.stack([everyone - counts[0], counts[0]])
        shares.append(filled_shares(counts, more))
    return shares


def balanced_labels(
    labels: Sequence[Label], drawn: Tensor, seeds: Sequence[int], shares: Sequence[Tensor | None]
) -> Tensor:
    """Labels `drawn` (N x L) with classes and attributes drawn anew by `shares`, each group by itself.

    Row i depends on `seeds[i]` and `drawn[i]` alone. Which attributes go together is lost by it.
    """
    changed = drawn.clone()
    for columns, share in zip(label_groups(labels), shares, strict=True):
        if share is None:
            continue
        purpose = f"balance {labels[columns[0]].name}"
        points = torch.tensor([torch.rand((), generator=generator_for(seed, purpose, 0)).item() for seed in seeds])
        chosen = torch.searchsorted(share.cumsum(0)[:-1].float().contiguous(), points, right=True)
        one_hot = torch.nn.functional.one_hot(chosen, len(share)).float()
        changed[:, columns] = one_hot if len(columns) > 1 else one_hot[:, 1:]
    return changed


def require_labels(labels: Sequence[Label], purpose: str) -> None:
    """Raise `DcganError` for a model without labels."""
    if not labels:
        raise DcganError(f"{purpose} needs a model that was trained with --condition: this one knows no labels")
