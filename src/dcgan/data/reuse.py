"""An earlier packed set, whose images need not be decoded again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from dcgan.data.packed import Floats, Images, PackedImages
from dcgan.errors import DcganError


class Earlier(NamedTuple):
    """What an earlier set says of a file."""

    digest: str
    reason: str | None
    image: int
    """Its number in that set, if it was packed (`reason` is None)."""


class Reuse:
    """Finds what an earlier set, open as `packed`, holds of a source whose files are asked for in their order.

    Both lists are sorted, so they are walked side by side, in memory that does not grow with them. Raises
    `DcganError` if the set was packed by other settings, or does not tell of its files.
    """

    def __init__(self, packed: PackedImages, settings: Mapping[str, Any]) -> None:
        if not packed.has_entries:
            raise DcganError(f"{packed.path} cannot be reused: it does not tell of its files (drawn, or too old)")
        before = packed.manifest["settings"]
        for name in ("size", "channels", "crop"):
            if before.get(name) != settings[name]:
                differing = f"its {name} is {before.get(name)}, not {settings[name]}"
                raise DcganError(f"{packed.path} cannot be reused: {differing}")
        self._packed = packed
        self._walk = self._listed()
        self._next = next(self._walk, None)

    def find(self, name: str) -> Earlier | None:
        """What the set says of the file `name`, which sorts after those asked for before; None if it has none."""
        while self._next is not None and self._next[0] < name:
            self._next = next(self._walk, None)
        return self._next[1] if self._next is not None and self._next[0] == name else None

    def fill(
        self, pixels: Images, landmarks: Sequence[Floats | None], copied: Sequence[tuple[int, int]]
    ) -> tuple[Images, list[Floats | None]]:
        """The images and landmarks with the set's own at the places that `copied` pairs with its images."""
        places, images = [place for place, _ in copied], [image for _, image in copied]
        pixels[places] = self._packed.read(images)
        filled = list(landmarks)
        if self._packed.landmarks is not None:
            for place, image in copied:
                filled[place] = self._packed.landmarks[image]
        return pixels, filled

    def _listed(self) -> Iterator[tuple[str, Earlier]]:
        image = 0
        for entry in self._packed.entries():
            yield entry.name, Earlier(entry.digest, entry.reason, image)
            image += entry.reason is None
