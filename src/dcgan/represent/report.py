"""What a probe found, as JSON, a table and a plot."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from dcgan.checkpoint import write_bytes, write_json, write_with
from dcgan.config import ProbeConfig
from dcgan.evaluate.report import table
from dcgan.hub import is_repository
from dcgan.model_file import PRETRAINED, model_file
from dcgan.represent.probe import Measurement, Probe

RESULT_FILE, PAGE_FILE, PLOT_FILE = "probe.json", "probe.md", "probe.png"
NAMES = {
    "model": "this discriminator",
    "random": "random discriminator",
    "pixels": "raw pixels",
    "imagenet": "ImageNet network",
}


def results_folder(config: ProbeConfig) -> Path:
    """Where the results of a probe go: `out`, or probe-DATA beside the model.

    Beside the package's own model, or one that lies in Hugging Face's cache, nobody would look: for these it is here.
    """
    if config.out:
        return Path(config.out)
    name = Path(config.data).expanduser().resolve().name.split(".")[0] or "images"
    elsewhere = config.model == PRETRAINED or is_repository(config.model)
    return (Path() if elsewhere else model_file(config.model).parent) / f"probe-{name}"


def write_report(probe: Probe, folder: Path) -> None:
    """Write probe.json, probe.md and probe.png into `folder`."""
    write_json(folder / RESULT_FILE, as_json(probe))
    write_with(folder / PLOT_FILE, lambda temporary: plot(probe, temporary))
    write_bytes(folder / PAGE_FILE, page(probe).encode())


def as_json(probe: Probe) -> dict[str, Any]:
    """All of it as JSON values."""
    return {
        "format": 1,
        **probe.about,
        "frequent": probe.frequent,
        "tested": probe.tested,
        "measurements": [{**dataclasses.asdict(m), "accuracy": m.accuracy._asdict()} for m in probe.measurements],
        "notes": list(probe.notes),
    }


def summary(probe: Probe) -> str:
    """The table of accuracies in percent: a row for each kind of features, a column for each number of labels."""
    parts = []
    for task in probe.frequent:
        mine = [m for m in probe.measurements if m.task == task]
        counts = sorted({m.images for m in mine})
        rows = []
        for name in dict.fromkeys(m.features for m in mine):
            found = {m.images: m for m in mine if m.features == name}
            rows.append([NAMES[name], str(_dimensions(mine, name)), *(str(found[n].accuracy) for n in counts)])
        rows.append(["most frequent class", "", *[f"{100 * probe.frequent[task]:.1f}"] * len(counts)])
        header = [task, "features", *(f"{count:,} labelled" for count in counts)]
        parts.append(table(header, rows))
    return "\n\n".join(parts)


def _dimensions(measurements: list[Measurement], name: str) -> int:
    """Length of a feature vector of the kind `name`."""
    return next(m.dimensions for m in measurements if m.features == name)


def page(probe: Probe) -> str:
    """The report as Markdown."""
    model, data, protocol = probe.about["model"], probe.about["data"], probe.about["protocol"]
    tested = ", ".join(f"{count:,} ({task})" for task, count in probe.tested.items())
    lines = [
        f"# Probe of {model['path']} on {data['name']}",
        f"Accuracy in percent, ± its 95% confidence interval, of a {protocol['classifier']}; C by cross-validation "
        f"within the labelled images. Mean of {protocol['seeds']} draws of the labelled images"
        f"{', as many of each class' if protocol['balanced'] else ''}; tested on images held out: {tested}.",
        summary(probe),
        f"![accuracy over the number of labelled images]({PLOT_FILE})",
        *(f"> **Note:** {note}" for note in probe.notes),
        f"Data digest {data['digest']}, model digest {model.get('digest')}.",
    ]
    return "\n\n".join(lines) + "\n"


def plot(probe: Probe, path: Path) -> None:
    """Accuracy over the number of labelled images, one panel a task."""
    from matplotlib.figure import Figure

    tasks = list(probe.frequent)
    wide = 2 if len(tasks) == 4 else min(3, len(tasks))
    high = -(-len(tasks) // wide)
    figure = Figure(figsize=(max(7, 4 * wide), 3.2 * high + 0.8), layout="constrained")
    panels = list(figure.subplots(high, wide, squeeze=False).flat)
    for axes, task in zip(panels, tasks, strict=False):
        _draw(axes, task, [m for m in probe.measurements if m.task == task], 100 * probe.frequent[task])
    for axes in panels[len(tasks) :]:
        axes.set_visible(False)
    entries = {
        title: handle for axes in panels for handle, title in zip(*axes.get_legend_handles_labels(), strict=True)
    }
    figure.legend(entries.values(), entries, loc="outside upper center", ncols=min(3, wide + 1))
    figure.savefig(path, dpi=100)


def _draw(axes: Any, task: str, measurements: list[Measurement], frequent: float) -> None:
    """Draw one task's panel: a line for each kind of features, and what guessing gets if it is anywhere near."""
    counts = sorted({m.images for m in measurements})
    for number, (name, title) in enumerate(NAMES.items()):
        line = sorted((m for m in measurements if m.features == name), key=lambda m: m.images)
        if line:
            values = [100 * m.accuracy.mean for m in line]
            bars = [50 * (m.accuracy.high - m.accuracy.low) for m in line]
            places = [counts.index(m.images) + 0.04 * (number - 1.5) for m in line]  # side by side, not on each other
            axes.errorbar(places, values, bars, marker="o", markersize=4, capsize=2, linewidth=1, label=title)
    lowest = min(100 * m.accuracy.low for m in measurements)
    if frequent > lowest - 20:
        axes.axhline(frequent, color="grey", linestyle=":", label="most frequent class")
    axes.set_ylim(top=min(axes.get_ylim()[1], 100.5))
    axes.set_xticks(range(len(counts)), [f"{count:,}" for count in counts])
    axes.set_title(task)
    axes.set_xlabel("labelled images")
    axes.set_ylabel("accuracy, %")
    axes.grid(alpha=0.3)
