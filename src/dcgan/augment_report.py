"""What a test of synthetic data found, as JSON, tables, a plot and a verdict in words."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from dcgan.augment_test import METHODS, AugmentTest, Comparison
from dcgan.checkpoint import write_bytes, write_json, write_with
from dcgan.confidence import Accuracy
from dcgan.evaluate.report import table

RESULT_FILE, PAGE_FILE, PLOT_FILE = "augment-test.json", "augment-test.md", "augment-test.png"
NAMES = {
    "real": "real",
    "classic": "real, classic augmentation",
    "synthetic": "real + synthetic",
    "both": "real + synthetic, classic augmentation",
    "only": "synthetic only",
}
GAINS = (("classic", "real"), ("synthetic", "real"), ("both", "classic"), ("only", "real"))
"""What is compared with what: synthetic images have to show their worth with and without classic augmentation."""


def write_report(found: AugmentTest) -> None:
    """Write augment-test.json, .md and .png into the folder that the settings name."""
    folder = Path(found.config.out)
    write_json(folder / RESULT_FILE, as_json(found))
    write_with(folder / PLOT_FILE, lambda temporary: plot(found, temporary))
    write_bytes(folder / PAGE_FILE, page(found).encode())


def as_json(found: AugmentTest) -> dict[str, Any]:
    """All of it as JSON values."""
    return {
        "format": 1,
        "settings": dataclasses.asdict(found.config),
        "data": {"name": found.data.name, "digest": found.data.digest},
        "label": found.task.name,
        "tested": found.tested,
        "comparisons": [
            {
                "share": c.share,
                "real": c.real,
                "seen_by_generator": c.seen,
                "model_digest": c.model,
                "accuracies": {name: value._asdict() for name, value in c.accuracies.items()},
                "runs": {name: right.mean(1).tolist() for name, right in c.right.items()},
                "gains": {f"{one} over {other}": c.gain(one, other)._asdict() for one, other in GAINS},
            }
            for c in found.comparisons
        ],
        "verdict": verdicts(found),
    }


def accuracies(found: AugmentTest) -> str:
    """The table of accuracies: a row a method, a column a fraction."""
    header = ["trained on", *(f"{c.real:,} real images" for c in found.comparisons)]
    rows = [[NAMES[method], *(str(c.accuracies[method]) for c in found.comparisons)] for method in METHODS]
    return table(header, rows)


def gains(found: AugmentTest) -> str:
    """The table of differences, in percentage points with their confidence intervals."""
    header = ["difference", *(f"{c.real:,} real images" for c in found.comparisons)]
    rows = [
        [f"{NAMES[one]} − {NAMES[other]}", *(_points(c.gain(one, other)) for c in found.comparisons)]
        for one, other in GAINS
    ]
    return table(header, rows)


def verdicts(found: AugmentTest) -> list[str]:
    """A sentence or two for each fraction, whichever way it falls."""
    return [_verdict(comparison) for comparison in found.comparisons]


def _verdict(comparison: Comparison) -> str:
    alone, on_top = comparison.gain("synthetic", "real"), comparison.gain("both", "classic")
    classic = comparison.gain("classic", "real")
    text = (
        f"With {comparison.real:,} real images, synthetic ones {_effect(alone)}, "
        f"where classic augmentation {_effect(classic)}; on top of classic augmentation they {_effect(on_top)}."
    )
    if comparison.seen > comparison.real:
        text += (
            f" But the generator was trained on {comparison.seen:,} real images: what it adds may be their "
            "information, and not that of generating."
        )
    return text


def _effect(gain: Accuracy) -> str:
    if gain.low > 0:
        return f"added accuracy ({_points(gain)} points)"
    if gain.high < 0:
        return f"cost accuracy ({_points(gain)} points)"
    return f"made no difference that can be told ({_points(gain)} points)"


def _points(gain: Accuracy) -> str:
    return f"{100 * gain.mean:+.1f}, {100 * gain.low:+.1f} to {100 * gain.high:+.1f}"


def page(found: AugmentTest) -> str:
    """The report as Markdown."""
    config = found.config
    if config.model is None:
        made = (
            f"Each fraction has a generator of its own, trained for {config.kimg:g} kimg on that fraction's images and "
            "labels alone. The fraction's images are the same in all runs, so what another choice of them would "
            "give is not part of the intervals."
        )
    else:
        made = f"The generator is {config.model}, trained on all training images; each run draws its own real images."
    lines = [
        f"# Do synthetic images help to learn {found.task.name} of {found.data.name}?",
        f"The same classifier, {config.steps} steps of 64 images, {config.seeds} runs each; tested on {found.tested:,} "
        f"real images that neither it nor the generator saw. {config.synthetic:,} synthetic images; beside them, real "
        f"ones are repeated until there are as many. {made}",
        "Accuracy in percent, ± its 95% confidence interval:",
        accuracies(found),
        "Differences in percentage points with their 95% confidence intervals, run by run on the same real images:",
        gains(found),
        *verdicts(found),
        f"![accuracy over the number of real images]({PLOT_FILE})",
        f"Data digest {found.data.digest}.",
    ]
    return "\n\n".join(lines) + "\n"


def plot(found: AugmentTest, path: Path) -> None:
    """Accuracy over the number of real images, a line a method."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.5, 4.5), layout="constrained")
    axes = figure.subplots()
    for number, method in enumerate(METHODS):
        values = [c.accuracies[method] for c in found.comparisons]
        places = [place + 0.05 * (number - 2) for place in range(len(values))]  # side by side, not on each other
        middle = [100 * value.mean for value in values]
        bars = [50 * (value.high - value.low) for value in values]
        axes.errorbar(places, middle, bars, marker="o", markersize=4, capsize=2, linewidth=1, label=NAMES[method])
    axes.set_xticks(range(len(found.comparisons)), [f"{c.real:,}" for c in found.comparisons])
    axes.set_xlim(-0.5, len(found.comparisons) - 0.5)
    axes.set_xlabel("real training images")
    axes.set_ylabel(f"accuracy of {found.task.name}, %")
    axes.grid(alpha=0.3)
    figure.legend(*axes.get_legend_handles_labels(), loc="outside upper center", ncols=2)
    figure.savefig(path, dpi=100)
