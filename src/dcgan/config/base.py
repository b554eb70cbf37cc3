"""What all settings share: checks that name the setting at fault, and reading settings from JSON."""

from __future__ import annotations

import difflib
import math
import types
import typing
from collections.abc import Sequence
from typing import Annotated, Any, Literal, NamedTuple, TypeVar

from tyro.conf import arg

from dcgan import __version__
from dcgan.errors import DcganError

Count = Annotated[int, arg(aliases=["-n"])]
Device = Literal["auto", "cpu", "cuda", "mps"]
Settings = TypeVar("Settings")


class Label(NamedTuple):
    """One column of the labels."""

    name: str
    kind: str
    """class: one column of a one-hot; binary: 0 or 1; number: any real number. NaN is unknown in all."""

    @property
    def group(self) -> str:
        """For a class, what it is one of: its name up to "=", or "class"."""
        return self.name.partition("=")[0] if "=" in self.name else "class"


def label_groups(labels: Sequence[Label]) -> list[list[int]]:
    """Columns that belong together: those of one class, every other alone."""
    groups: dict[object, list[int]] = {}
    for column, label in enumerate(labels):
        groups.setdefault(label.group if label.kind == "class" else column, []).append(column)
    return list(groups.values())


def list_labels(labels: Sequence[Label]) -> str:
    """Their names, for a message."""
    return ", ".join(label.name for label in labels)


def unknown_label(name: str, labels: Sequence[Label]) -> DcganError:
    """The error for a label that is not there: it names those that are like it, or all."""
    names = {label.name.lower(): label.name for label in labels}
    close = [names[match] for match in difflib.get_close_matches(name.lower(), names, n=3)]
    told = f"did you mean {' or '.join(close)}?" if close else f"there are: {list_labels(labels)}"
    return DcganError(f"there is no label {name!r}; {told}")


def require(condition: bool, message: str) -> None:
    """Raise `DcganError` with `message` unless `condition` holds."""
    if not condition:
        raise DcganError(message)


def require_positive(settings: object, *names: str) -> None:
    """Raise `DcganError` unless each named setting is above 0, or None."""
    for name in names:
        value = getattr(settings, name)
        require(value is None or 0 < value < math.inf, f"{name} must be above 0, not {value}")


def from_json(kind: type[Settings], values: object, origin: str) -> Settings:
    """Make settings of `kind` from a JSON object; a wrong key or type is a `DcganError` that names `origin`."""
    require(isinstance(values, dict), f"{origin} must hold a JSON object of settings")
    assert isinstance(values, dict)
    hints = typing.get_type_hints(kind)
    for name, value in values.items():
        told = f"{origin}: dcgan {__version__} has no setting named {name!r}: remove it, or take the version that has"
        require(name in hints, told)
        require(_fits(value, hints[name]), f"{origin}: {name} cannot be {value!r}")
    try:
        return kind(**values)
    except DcganError as error:
        raise DcganError(f"{origin}: {error}") from error


def _fits(value: object, hint: Any) -> bool:
    """Whether a JSON value is of the type a field is declared with (a whole number is a float too)."""
    if typing.get_origin(hint) is Literal:
        return value in typing.get_args(hint)
    if typing.get_origin(hint) is types.UnionType:
        return any(_fits(value, option) for option in typing.get_args(hint))
    if hint == tuple[Label, ...]:
        return isinstance(value, (list, tuple)) and all(map(_is_label, value))
    if hint is float:
        return isinstance(value, (int, float)) and not isinstance(value, bool)
    return type(value) is hint


def _is_label(value: object) -> bool:
    return isinstance(value, (list, tuple)) and len(value) == 2 and all(isinstance(part, str) for part in value)
