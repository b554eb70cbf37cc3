"""Cut our own files short, and flip their bits: what reads them must notice, name the file, or go on as before."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import hostile
import numpy as np
import torch
from trials import TINY, Bench, Outcome, Tally, attempt, newest_run

from dcgan.checkpoint import load_tensors
from dcgan.data import PackedImages
from dcgan.explore.files import Direction, write_directions, write_latents, write_names
from dcgan.models import Generator

Check = Callable[[Bench, Path, Path], tuple[str, str | None]]


def damage_files(bench: Bench, count: int, draw: random.Random, tally: Tally) -> None:
    """Damage one file in a copy of a half-finished run and of its data, and use both; `count` times."""
    whole = bench.folder / "undamaged"
    make(bench, whole)
    kinds = list(KINDS)
    for number in range(count):
        name = kinds[number % len(kinds)]
        place = bench.folder / "damaged"
        shutil.copytree(whole, place)
        file = sorted(place.glob(name))[-1]
        how = _damage(file, draw)
        end, fault = KINDS[name](bench, place, file)
        tally.count(
            f"damaged {name.replace('*/', '').replace('faces/', 'data/').replace('listed/', 'data/')}", end, fault, how
        )
        shutil.rmtree(place)


def make(bench: Bench, place: Path) -> None:
    """A run that has some way to go, with all that is kept beside its model; and its data."""
    shutil.copytree(bench.data, place / "faces")
    (place / "photos").mkdir()
    for number in range(9):
        (place / "photos" / f"{number}.png").write_bytes(hostile.image(random.Random(number), "png"))
    attempt(["prepare", place / "photos", place / "listed", "--size", "32", "--workers", "1"])
    half = list(TINY)
    half[half.index("--kimg") + 1] = "0.056"
    outcome = attempt(["train", bench.data, "--run-dir", place / "runs", *half])
    if outcome.status:
        raise SystemExit(outcome.output)
    run = newest_run(place / "runs")
    generator = Generator.from_pretrained(run)
    write_names(run / "model.names.json", generator, {"hat": [1, 2], "plain": [3]})
    vector = torch.nn.functional.normalize(torch.arange(8.0), dim=0)
    write_directions(run / "model.directions.safetensors", generator, {"smile": Direction(vector, {})})
    write_latents(run / "latents.safetensors", generator, generator.latents([0, 1]), {"names": ["a", "b"]})


def _damage(file: Path, draw: random.Random) -> str:
    """Damage a file at random, and say how."""
    data = bytearray(file.read_bytes())
    how = draw.choice(("cut", "cut", "empty", "flip", "flip", "flip", "flips", "noise"))
    at = draw.randrange(len(data))
    if how in ("flip", "flips"):
        if draw.random() < 0.5:  # where most is decided
            at = draw.randrange(min(len(data), 600))
        for _ in range(1 if how == "flip" else 20):
            data[at] ^= 1 << draw.randrange(8)
            at = draw.randrange(len(data))
    elif how == "noise":
        data[at : at + 64] = draw.randbytes(64)
    else:
        data = data[: at if how == "cut" else 0]
    file.write_bytes(data)
    return f"{how} at {at}"


def resumed(bench: Bench, place: Path, file: Path) -> tuple[str, str | None]:
    """Going on with the run gives the very weights, or an error that names the file; so do both when it is mended."""
    outcome = bench.train(place / "runs")
    if outcome.status == 0 and outcome.fault is None:
        return "the same bits", bench.differing(newest_run(place / "runs"), figures=False)
    return "clear error", outcome.fault or _unnamed(outcome, file)


def edited(bench: Bench, place: Path, file: Path) -> tuple[str, str | None]:
    """Settings may be edited by hand: damage that leaves them valid cannot be told from that."""
    before = file.read_bytes()
    try:
        changed = json.loads(before) != json.loads((bench.folder / "undamaged" / file.relative_to(place)).read_bytes())
    except ValueError:
        changed = False
    outcome = bench.train(place / "runs")
    if outcome.status == 0 and outcome.fault is None:
        if changed:
            return "taken for an edited setting", None
        return "the same bits", bench.differing(newest_run(place / "runs"), figures=False)
    return "clear error", outcome.fault or _unnamed(outcome, file, "tiny")


def verified(bench: Bench, place: Path, file: Path) -> tuple[str, str | None]:
    """`info --verify` finds whatever would change a value that is read."""
    target = file if file.suffix == ".safetensors" else file.parent
    if file.suffix != ".safetensors":
        trained = attempt(["train", target, "--run-dir", place / "other", *TINY])
        if trained.fault is not None:
            return "", trained.fault
    else:
        grid = attempt(["generate", target, "--seeds", "0-3", "--grid", place / "grid.png"])
        if grid.fault is not None:
            return "", grid.fault
    outcome = attempt(["info", target, "--verify"])
    if outcome.status == 0 and outcome.fault is None:
        original = bench.folder / "undamaged" / target.relative_to(place)
        return "no value changed", None if _same_values(target, original) else "not noticed by info --verify"
    return "clear error", outcome.fault or _unnamed(outcome, file)


def _same_values(one: Path, other: Path) -> bool:
    if one.is_dir():
        sets = [PackedImages.open(path) for path in (one, other)]
        columns = [
            (packed.read(range(len(packed))), packed.held_out_indices, packed.labels, packed.landmarks)
            for packed in sets
        ]
        entries = [list(packed.entries()) if packed.has_entries else [] for packed in sets]
        return entries[0] == entries[1] and all(
            np.asarray(a).tobytes() == np.asarray(b).tobytes() for a, b in zip(*columns, strict=True)
        )
    tensors = [load_tensors(path)[0] for path in (one, other)]
    return tensors[0].keys() == tensors[1].keys() and all(
        torch.equal(tensor, tensors[1][name]) for name, tensor in tensors[0].items()
    )


def used(*command: object) -> Check:
    """A check that a command ends well, or names the file."""

    def check(bench: Bench, place: Path, file: Path) -> tuple[str, str | None]:
        run = newest_run(place / "runs")
        words = {"RUN": run, "FILE": file, "OUT": place / "out.png"}
        outcome = attempt([words.get(str(word), word) for word in command])
        if outcome.status == 0:
            return "still read", outcome.fault
        return "clear error", outcome.fault or _unnamed(outcome, file, "no name", "smile")

    return check


def _unnamed(outcome: Outcome, file: Path, *others: str) -> str | None:
    """What is wrong with an error that names neither the file nor its folder."""
    named: Sequence[str] = (file.name, file.parent.name, *others)
    return None if any(name in outcome.output for name in named) else f"does not name {file.name}: {outcome.output}"


KINDS: dict[str, Check] = {
    "runs/*/model.safetensors": verified,
    "runs/*/checkpoints/*/model.safetensors": resumed,
    "runs/*/checkpoints/*/training.safetensors": resumed,
    "runs/*/checkpoints/*/state.json": resumed,
    "runs/*/config.json": edited,
    "runs/*/metrics.jsonl": resumed,
    "runs/*/environment.json": resumed,
    "runs/*/samples/*.png": resumed,
    "runs/*/model.names.json": used("arithmetic", "RUN", "hat - plain", "--out", "OUT"),
    "runs/*/model.directions.safetensors": used("edit", "RUN", "--direction", "smile=1", "--out", "OUT"),
    "runs/*/latents.safetensors": used("interpolate", "RUN", "--latents", "FILE", "--out", "OUT"),
    "faces/images.npy": verified,
    "faces/labels.npy": verified,
    "faces/landmarks.npy": verified,
    "faces/held_out.npy": verified,
    "faces/dataset.json": verified,
    "listed/entries.jsonl": verified,
}
