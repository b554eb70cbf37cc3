"""What an evaluation leaves: evaluation.json for programs, evaluation.md with pictures for people, a line to print."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from dcgan.checkpoint import write_bytes, write_json
from dcgan.evaluate.by_class import FEWEST_OF_A_CLASS, ByClass, in_words
from dcgan.evaluate.evaluation import Evaluation
from dcgan.evaluate.memorisation import CONFIDENCE, NEAREST_SHARE, NEIGHBOURS, Audit, Finding
from dcgan.images import Pixels, make_grid, save_image

FORMAT = 1
RESULT_FILE = "evaluation.json"
PAGE_FILE = "evaluation.md"
FAKES_FILE = "fakes.png"
MEANINGS = {
    "kernel_distance": ("lower", "the same question as the Frechet distance, without its bias at small counts"),
    "precision": ("higher", "share of fakes that lie among the real images: realism"),
    "recall": ("higher", "share of real images that lie among the fakes: variety"),
    "density": ("higher", "how densely real images lie around the fakes: realism, robust to outliers"),
    "coverage": ("higher", "share of real images with a fake beside them: variety, robust to outliers"),
}
"""What each figure after the Frechet distance says, and which way is better."""
FRECHET = ("lower", "distance between the two sets as a whole: realism and variety together")


def write_report(evaluation: Evaluation, folder: Path) -> None:
    """Write evaluation.json, evaluation.md and its pictures into `folder`, replacing those of an earlier time."""
    save_image(folder / FAKES_FILE, make_grid(evaluation.samples))
    for space, pairs in evaluation.pairs.items():
        save_image(folder / pairs_file(space), make_grid(enlarged(pairs), columns=4, gap=8))
    write_bytes(folder / PAGE_FILE, page(evaluation).encode())
    write_json(folder / RESULT_FILE, as_json(evaluation))


def as_json(evaluation: Evaluation) -> dict[str, Any]:
    """All but the pictures."""
    found = evaluation.audit
    return {
        "format": FORMAT,
        "protocol": evaluation.protocol,
        "model": evaluation.model,
        "data": evaluation.data,
        "figures": evaluation.figures,
        "kernel": dataclasses.asdict(evaluation.measured.kernel),
        "floor": None if evaluation.floor is None else dataclasses.asdict(evaluation.floor),
        "audit": {"verdict": None, "reason": found} if isinstance(found, str) else audit_as_json(found),
        "by_class": None if evaluation.by_class is None else dataclasses.asdict(evaluation.by_class),
        "notes": list(evaluation.notes),
        "seconds": evaluation.seconds,
        "environment": evaluation.environment,
    }


def audit_as_json(audit: Audit) -> dict[str, Any]:
    """The audit with its verdict."""
    return {
        "verdict": audit.verdict,
        "copies": audit.copies,
        "confidence": CONFIDENCE,
        **dataclasses.asdict(audit),
    }


def summary(evaluation: Evaluation, folder: Path) -> str:
    """The whole outcome in one line."""
    best = evaluation.floor.figures if evaluation.floor else {}
    parts = []
    for name in evaluation.figures:
        floor = f" (floor {rounded(best[name])})" if name in best else ""
        parts.append(f"{name} {shown(evaluation, name)}{floor}")
    found = evaluation.audit
    verdict = "no memorisation audit" if isinstance(found, str) else found.verdict
    if evaluation.by_class is not None:
        verdict = f"{in_words(evaluation.by_class.fidelity)}; {verdict}"
    return f"{', '.join(parts)}; {verdict}; {folder / PAGE_FILE}"


def page(evaluation: Evaluation) -> str:
    """The report as Markdown."""
    protocol, model = evaluation.protocol, evaluation.model
    parts = [
        f"# Evaluation of {model['path']}",
        f"{protocol['fakes']} fakes ({model['images']}) against {protocol['reals']} training images of "
        f"{evaluation.data['name'] or evaluation.data['reference']}, by {protocol['extractor']}.",
        figures_table(evaluation),
        f"![fakes]({FAKES_FILE})",
        "*The first fakes, unpicked.*",
        *(f"> **Note:** {note}" for note in evaluation.notes),
        *([] if evaluation.by_class is None else class_section(evaluation.by_class)),
        "## Memorisation",
        *audit_section(evaluation.audit),
        "## Protocol",
        "Figures compare with others only where all of this is equal (`dcgan compare` sees to it).",
        table(["what", "value"], [[name.replace("_", " "), str(value)] for name, value in protocol.items()]),
        "## What was measured, and on what",
        table(["what", "value"], flat({"model": model, "data": evaluation.data, **evaluation.environment})),
    ]
    return "\n\n".join(parts) + "\n"


def figures_table(evaluation: Evaluation) -> str:
    """Each figure beside its floor."""
    floor, kernel = evaluation.floor, evaluation.measured.kernel
    rows = []
    for name in evaluation.figures:
        better, meaning = MEANINGS.get(name, FRECHET)
        beside = rounded(floor.figures[name]) if floor else ""
        rows.append([name, shown(evaluation, name), beside, better, meaning])
    lines = [table(["figure", "value", "floor", "better", "what it says"], rows), ""]
    if floor:
        lines.append(
            f"*Floor: the same figure between two disjoint random parts of the training images, {floor.reals} and "
            f"{floor.fakes} of them: what a perfect generator would get at these counts.*"
        )
    lines.append(
        f"*Kernel distance: mean over {kernel.subsets} subsets of {kernel.subset_size}, ± its standard error.*"
    )
    return "\n".join(lines)


def class_section(by_class: ByClass) -> list[str]:
    """Each class's distance, and the labels read back."""
    parts = ["## By class"]
    rows = []
    for found in by_class.distances:
        kernel = found.kernel
        error = "" if kernel is None or kernel.standard_error is None else f" ± {kernel.standard_error:.2g}"
        value = "too few images" if kernel is None else rounded(kernel.value) + error
        floor = "" if found.floor is None else rounded(found.floor)
        rows.append([found.name, str(found.reals), str(found.fakes), value, floor])
    if rows:
        parts += [
            table(["class", "reals", "fakes", "kernel distance", "floor"], rows),
            "*The kernel distance has no bias at small counts, so classes of different size compare. Below "
            f"{FEWEST_OF_A_CLASS} images on a side there is none. Floor: between two halves of the class's reals.*",
        ]
    fidelity = by_class.fidelity
    parts += [
        table(
            ["label", "fakes", "held-out reals", "what"],
            [
                [
                    name,
                    f"{value:.3f}",
                    f"{fidelity.reals[name]:.3f}" if name in fidelity.reals else "",
                    "R2" if name in fidelity.numbers else "share right",
                ]
                for name, value in fidelity.fakes.items()
            ],
        ),
        f"*Labels read back from {fidelity.fake_count} fakes, and from {fidelity.real_count} real images that neither "
        f"saw, by a classifier that learned from {fidelity.training_count} real images.*",
    ]
    return parts


def audit_section(found: Audit | str) -> list[str]:
    """The audit's verdict, figures and pictures."""
    if isinstance(found, str):
        return [f"No audit could be made: {found}."]
    rows = [
        [
            f.space,
            f"{f.near:.1%}",
            f"{f.low:.1%} to {f.high:.1%}",
            f"{f.expected:.1%}",
            "copies" if f.copies else "none",
        ]
        for f in found.findings
    ]
    return [
        f"**{found.verdict[0].upper()}{found.verdict[1:]}.**",
        f"How many fakes are as near to one of {found.training} training images as the nearest {NEAREST_SHARE:.0%} of "
        f"{found.held_out} real images that the model never saw? Were the fakes new images, it would be as many.",
        table(["seen by", "near fakes", f"{CONFIDENCE:.0%} confidence", "expected", "sign of copying"], rows),
        f"*Nearness is the distance to the nearest training image over the mean distance to the {NEIGHBOURS} nearest.*",
        *(pairs_section(finding) for finding in found.findings),
    ]


def pairs_section(finding: Finding) -> str:
    """The picture of the closest pairs."""
    closeness = f"{finding.pairs[0].closeness:.2f} to {finding.pairs[-1].closeness:.2f}"
    return (
        f"![closest pairs by {finding.space}]({pairs_file(finding.space)})\n\n"
        f"*Closest by {finding.space}, nearest first: each fake and, to its right, its nearest training image "
        f"(mirrored where that is nearer). Closeness {closeness}; at most {finding.threshold:.2f} is near.*"
    )


def pairs_file(space: str) -> str:
    """The picture of one space's closest pairs."""
    return f"closest-{space}.png"


def enlarged(images: Pixels) -> Pixels:
    """Images N x H x W x C with each pixel repeated until they are easy to see."""
    times = max(1, 128 // images.shape[1])
    return np.repeat(np.repeat(images, times, axis=1), times, axis=2)


def shown(evaluation: Evaluation, name: str) -> str:
    """A figure, and its standard error where there is one."""
    error = evaluation.measured.kernel.standard_error if name == "kernel_distance" else None
    return rounded(evaluation.figures[name]) + (f" ± {error:.2g}" if error is not None else "")


def rounded(value: float) -> str:
    """A figure to as many places as mean something."""
    return f"{value:.2f}" if abs(value) >= 10 else f"{value:.4f}"


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table, padded so that it reads well as plain text."""
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    lines = [header, ["-" * width for width in widths], *rows]
    return "\n".join(
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |" for row in lines
    )


def flat(values: dict[str, Any], prefix: str = "") -> list[list[str]]:
    """Nested values as rows of name and text, those that are None left out."""
    rows = []
    for name, value in values.items():
        if isinstance(value, dict):
            rows += flat(value, f"{prefix}{name} ")
        elif value is not None:
            rows.append([f"{prefix}{name}", str(value)])
    return rows
