"""Labels as the networks are told them: coded around 0, drawn by seed, set by name."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from dcgan.config import Label, label_groups, list_labels, unknown_label
from dcgan.draws import generator_for
from dcgan.errors import DcganError

ROWS = 2048  # training images whose labels a model keeps
Condition = Mapping[str, float] | Tensor
"""What generated images should show: some labels by name for all of them, or all labels of each, N x L."""
_WORDS = {"yes": 1.0, "true": 1.0, "no": 0.0, "false": 0.0}


class LabelCode(nn.Module):
    """Labels in their own units to codes, N x L both, and back.

    Yes is coded 1, no -1, a class as its one-hot, a number in standard deviations from the training images' mean.
    Unknown (NaN) is 0, and so adds nothing to whatever is linear in the code. `rows` holds the codes of training
    images, spread evenly over all of them: from these, labels that nobody gives are drawn.
    """

    middle: Tensor
    spread: Tensor
    rows: Tensor

    def __init__(self, labels: Sequence[Label]) -> None:
        super().__init__()
        self.labels = tuple(labels)
        binary = torch.tensor([label.kind == "binary" for label in self.labels])
        self.register_buffer("middle", torch.where(binary, 0.5, 0.0))
        self.register_buffer("spread", torch.where(binary, 0.5, 1.0))
        self.register_buffer("rows", torch.zeros(ROWS, len(self.labels)))

    def learn(self, values: Tensor) -> None:
        """Note mean and deviation of the numbers, and the rows, from training images' labels N x L."""
        for column, label in enumerate(self.labels):
            if label.kind == "number":
                known = values[:, column][~values[:, column].isnan()].double()
                self.middle[column] = known.mean()
                self.spread[column] = known.std(correction=0).clamp_min(1e-6)
        chosen = torch.arange(ROWS) * len(values) // ROWS
        self.rows.copy_(self.encode(values[chosen]))

    def encode(self, values: Tensor) -> Tensor:
        """Codes of labels, float32 on the CPU."""
        return ((values.float() - self.middle.cpu()) / self.spread.cpu()).nan_to_num(0.0)

    def decode(self, codes: Tensor) -> Tensor:
        """Labels of codes, NaN where a code says nothing, float32 on the CPU."""
        codes = codes.float().cpu()
        values = codes * self.spread.cpu() + self.middle.cpu()
        for columns in label_groups(self.labels):
            unknown = (codes[:, columns] == 0).all(1)
            values[unknown[:, None] & torch.isin(torch.arange(len(self.labels)), torch.tensor(columns))] = math.nan
        return values

    def draw(self, seeds: Sequence[int], condition: Condition | None = None) -> Tensor:
        """Codes N x L on the CPU, row i a function of `seeds[i]` and `condition` alone.

        Labels that a mapping leaves out are drawn from training images that agree with it (from any, if none does).
        Raises `DcganError` for names and values that cannot be.
        """
        if isinstance(condition, Tensor):
            if condition.shape != (len(seeds), len(self.labels)):
                raise DcganError(f"labels must be {len(seeds)} x {len(self.labels)}, not {tuple(condition.shape)}")
            return self.encode(condition)
        shares = [torch.rand((), dtype=torch.float64, generator=generator_for(seed, "labels", 0)) for seed in seeds]
        drawn = torch.stack(shares) if shares else torch.empty(0, dtype=torch.float64)
        return self._choose(drawn, condition or {})

    def draw_any(self, count: int, draws: torch.Generator) -> Tensor:
        """Codes of training images that `draws` chooses, N x L on the CPU."""
        return self._choose(torch.rand(count, dtype=torch.float64, generator=draws), {})

    def replace(self, codes: Tensor, condition: Mapping[str, float]) -> Tensor:
        """Codes with the labels of `condition` set, and all others as they were."""
        self.check(condition)
        values = torch.tensor([condition.get(label.name, math.nan) for label in self.labels])
        changed = codes.clone()
        for columns in label_groups(self.labels):
            given = ~values[columns].isnan()
            if values[columns].nan_to_num(0.0).sum() > 0 and len(columns) > 1:
                given[:] = True  # one class is: all others are not
            where = torch.tensor(columns)[given]
            changed[:, where] = self.encode(values.nan_to_num(0.0)[None])[:, where]
        return changed

    def check(self, condition: Mapping[str, float]) -> None:
        """Raise `DcganError` for a label there is not, a value out of range, or more than one class."""
        names = [label.name for label in self.labels]
        for name, value in condition.items():
            if name not in names:
                raise unknown_label(name, self.labels)
            column = names.index(name)
            low, high = self.limits(column)
            if not low <= value <= high:
                raise DcganError(f"{name} must be from {low:.4g} to {high:.4g}, not {value:g}")
        for columns in label_groups(self.labels):
            if sum(condition.get(names[column], 0.0) for column in columns) > 1 and len(columns) > 1:
                raise DcganError(f"an image has only one {self.labels[columns[0]].group}: give one of its classes")

    def limits(self, column: int) -> tuple[float, float]:
        """The least and the greatest value that a label may have: of a number, those of the training images."""
        if self.labels[column].kind != "number":
            return 0.0, 1.0
        codes = self.rows[:, column].cpu()
        known = codes[codes != 0] * self.spread[column].cpu() + self.middle[column].cpu()
        return float(known.min()), float(known.max())

    def _choose(self, shares: Tensor, condition: Mapping[str, float]) -> Tensor:
        """The training images' codes at these shares of the way through those that agree with the condition."""
        self.check(condition)
        rows = self.rows.cpu()
        if not condition:
            return rows[(shares * len(rows)).long()]
        known = self.decode(rows)
        agree = torch.ones(len(rows), dtype=torch.bool)
        for column, label in enumerate(self.labels):
            if label.name in condition and label.kind != "number":
                agree &= ((known[:, column] >= 0.5) == (condition[label.name] >= 0.5)) & ~known[:, column].isnan()
        rows = rows[agree] if agree.any() else rows
        return self.replace(rows[(shares * len(rows)).long()], condition)


def parse_condition(text: str, labels: Sequence[Label]) -> dict[str, float]:
    """Labels by name from text such as `smile=1,glasses=0,hair=red`; a class stands for itself.

    Raises `DcganError` for names that are not among `labels`, for a model without any, and for missing values.
    """
    if not labels:
        raise DcganError(
            "the model takes no condition, as it was trained without labels: train one with "
            "`dcgan train DATA --condition all`"
        )
    kinds = {label.name: label.kind for label in labels}
    condition: dict[str, float] = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        name, _, value = part.rpartition("=")
        if kinds.get(part) == "class":
            condition[part] = 1.0
        elif part in kinds:
            raise DcganError(f"condition {part!r} lacks a value: write {part}=1 or {part}=0")
        elif name not in kinds:
            raise unknown_label(part if not name or not _is_number(value) else name, labels)
        elif not _is_number(value):
            raise DcganError(f"{name} must be a number, yes or no, not {value!r}")
        else:
            condition[name] = _WORDS.get(value.lower(), math.nan) if value.lower() in _WORDS else float(value)
    if not condition:
        raise DcganError(f"condition {text!r} names no label; there are: {list_labels(labels)}")
    return condition


def condition_rows(code: LabelCode) -> list[tuple[str, dict[str, float]]]:
    """A title and a condition for each row of a grid: each class, no and yes of each attribute, numbers low and high.

    Low and high are where 5% and 95% of the training images are.
    """
    rows: list[tuple[str, dict[str, float]]] = []
    known = code.decode(code.rows)
    for column, label in enumerate(code.labels):
        if label.kind == "class":
            rows.append((label.name, {label.name: 1.0}))
        elif label.kind == "binary":
            rows += [(f"{label.name}={value:g}", {label.name: value}) for value in (0.0, 1.0)]
        else:
            values = known[:, column][~known[:, column].isnan()]
            ends = [float(values.quantile(share)) for share in (0.05, 0.95)]
            rows += [(f"{label.name}={value:.2g}", {label.name: value}) for value in ends]
    return rows


def _is_number(text: str) -> bool:
    try:
        return text.lower() in _WORDS or math.isfinite(float(text))
    except ValueError:
        return False
