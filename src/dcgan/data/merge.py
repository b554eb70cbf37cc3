"""Joining packed sets: the parts of one source into what one job would have made, or whole sets one after the other."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from dcgan.config import Label, MergeConfig
from dcgan.data.packed import PackedImages
from dcgan.data.writer import OFFICIAL, PackedWriter, refuse_existing
from dcgan.errors import DcganError

BLOCK_BYTES = 16 << 20


def merge(config: MergeConfig) -> PackedImages:
    """Join packed sets into the folder `config.out` and open it; they stay as they are.

    All parts of a source (`prepare` with `part`) give the very files that one `prepare` of all of it gives. Whole sets
    are joined in the order given, and the held-out images chosen anew as for any set. Raises `DcganError` if they do
    not belong together, one is missing, damaged or given twice, or `out` is taken or cannot be written.
    """
    out = Path(config.out).expanduser()
    refuse_existing(out)
    if not config.parts:
        raise DcganError("name the sets to join: dcgan merge OUT PART...")
    sets = [PackedImages.open(Path(part).expanduser()) for part in config.parts]
    are_parts = any("part" in packed.manifest for packed in sets)
    sets = _in_order_of_parts(sets) if are_parts else sets
    model = max(sets, key=len)  # a part may be empty
    for packed in sets:
        _check_alike(model, packed)
    for packed in sets:
        packed.verify()
    _write(out, sets, are_parts)
    return PackedImages.open(out)


def _write(out: Path, sets: Sequence[PackedImages], are_parts: bool) -> None:
    first = sets[0].manifest
    official = any(packed.manifest["held_out"]["rule"] == OFFICIAL for packed in sets)
    with PackedWriter(
        out,
        first["size"],
        first["channels"],
        labels=[Label(**label) for label in first["labels"]],
        landmarks=first["landmarks"],
        held_out=first["settings"].get("held_out", 0.05),
        seed=first["settings"].get("seed", 0),
        name=first["name"] if are_parts else None,
        settings=first["settings"],
    ) as writer:
        for packed in sets:
            _copy(packed, writer, official)
        listed = all(packed.has_entries or not len(packed) for packed in sets) and writer.entries.count > 0
        if listed:
            digest = writer.entries.source_digest
        elif are_parts:
            digest = first["source"]["digest"]
        else:
            digest = hashlib.sha256("".join(packed.digest for packed in sets).encode()).hexdigest()
        writer.source = {"name": first["source"]["name"] if are_parts else writer.name, "digest": digest}
        writer.terms = "; ".join(dict.fromkeys(packed.terms for packed in sets if packed.terms))


def _copy(packed: PackedImages, writer: PackedWriter, official: bool) -> None:
    held_out = np.zeros(len(packed), bool)
    held_out[packed.held_out_indices] = True
    step = max(1, BLOCK_BYTES // (packed.size**2 * packed.channels))
    for start in range(0, len(packed), step):
        block = slice(start, min(start + step, len(packed)))
        writer.append(
            packed.read(range(block.start, block.stop)),
            None if packed.labels is None else packed.labels[block],
            None if packed.landmarks is None else packed.landmarks[block],
            held_out[block] if official else None,
        )
    before = len(writer.entries.skipped)
    if packed.has_entries:
        writer.append_entries(packed.entries())
    # What was no candidate at all comes first in the list of what was skipped.
    skipped = packed.manifest["skipped"]["files"]
    others = len(skipped) - (len(writer.entries.skipped) - before)
    writer.skipped += [(name, reason) for name, reason in skipped[:others]]


def _in_order_of_parts(sets: Sequence[PackedImages]) -> list[PackedImages]:
    """The parts 1 to N; a `DcganError` says which is missing, given twice, or of something else."""
    whole = next(packed for packed in sets if "part" in packed.manifest)
    expected: dict[str, Any] = whole.manifest["part"]
    found: dict[int, PackedImages] = {}
    for packed in sets:
        part = packed.manifest.get("part")
        if part is None:
            raise DcganError(f"{packed.path} is a whole set, and {whole.path} a part of one: they cannot be joined")
        if (part["of"], part["whole"]) != (expected["of"], expected["whole"]):
            raise DcganError(
                f"{packed.path} is part {part['number']} of {part['of']} of another source (or of another state of it) "
                f"than {whole.path}, part {expected['number']} of {expected['of']}: prepare all parts alike"
            )
        if part["number"] in found:
            raise DcganError(f"{packed.path} and {found[part['number']].path} are both part {part['number']}: give one")
        found[part["number"]] = packed
    missing = [f"{number}/{expected['of']}" for number in range(1, expected["of"] + 1) if number not in found]
    if missing:
        shown = ", ".join(missing[:5]) + (", ..." if len(missing) > 5 else "")
        raise DcganError(f"parts are missing: {shown}; make them with dcgan prepare --part")
    return [found[number] for number in sorted(found)]


def _check_alike(one: PackedImages, other: PackedImages) -> None:
    """Raise `DcganError` unless two sets have the same settings, labels and landmarks."""
    before, after = one.manifest, other.manifest
    is_part = "part" in before
    # Of whole sets, other splits or counts of faces may be joined.
    settings = set(before["settings"]) | set(after["settings"]) if is_part else {"crop", "held_out", "seed"}
    pairs = [(name, before["settings"].get(name), after["settings"].get(name)) for name in sorted(settings)]
    pairs += [(name, before[name], after[name]) for name in ("size", "channels", "labels", "landmarks")]
    if len(one) and len(other):
        pairs += [("rules of held-out images", *(m["held_out"]["rule"] == OFFICIAL for m in (before, after)))]
    pairs += [("terms", one.terms, other.terms)] if is_part else []
    for name, old, new in pairs:
        if old != new:
            told = "" if isinstance(old, (list, bool)) else f" ({old!r} and {new!r})"
            raise DcganError(f"{one.path} and {other.path} cannot be joined: their {name} differ{told}")
