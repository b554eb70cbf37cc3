"""Evaluations side by side: one table and one plot, of results that were measured alike and of no others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dcgan.checkpoint import read_json, write_bytes, write_with
from dcgan.config import CompareConfig
from dcgan.errors import DcganError
from dcgan.evaluate.report import RESULT_FILE, rounded, table
from dcgan.train.run import METRICS_FILE
from dcgan.train.tracking import KIMG_LABEL, read_metrics

TABLE_FILE, PLOT_FILE = "comparison.md", "comparison.png"


@dataclass(frozen=True)
class Measured:
    """One generator's figures at one moment."""

    kimg: float | None
    """Its training by then; None where it is not known."""
    figures: Mapping[str, float]


@dataclass(frozen=True)
class Entry:
    """One path's figures: one moment of an evaluation, many of a run."""

    name: str
    protocol: Mapping[str, Any]
    measured: Sequence[Measured]
    floor: Mapping[str, float] | None
    verdict: str | None
    """Of the memorisation audit, in short."""


def compare(config: CompareConfig) -> str:
    """Write comparison.md and comparison.png into `config.out`, and return the table.

    Raises `DcganError` for a path that holds no figures, and for figures measured under different protocols.
    """
    entries = [read_entry(Path(path)) for path in config.paths]
    for other in entries[1:]:
        require_same_protocol(entries[0], other)
    text = comparison_table(entries)
    out = Path(config.out)
    write_bytes(out / TABLE_FILE, f"{text}\n\n![figures]({PLOT_FILE})\n".encode())
    plot(entries, out / PLOT_FILE)
    return text


def read_entry(path: Path) -> Entry:
    """The figures at a path: evaluation.json, a folder that holds it, or a run trained with --evaluate-every.

    A run's own figures come before an evaluation in its folder: name that folder to have the evaluation.
    """
    if (path / METRICS_FILE).is_file():
        judged = [record for record in read_metrics(path) if "evaluation" in record]
        if judged:
            # environment.json tells of the last session, which may have judged by another extractor than those before.
            names = judged[-1]["evaluation"].keys()
            measured = [Measured(r["kimg"], r["evaluation"]) for r in judged if r["evaluation"].keys() == names]
            return Entry(path.name, run_protocol(path), measured, None, None)
    for file in (path, path / RESULT_FILE, path / "evaluation" / RESULT_FILE):
        if file.is_file():
            return read_evaluation(file)
    raise DcganError(f"{path} holds no {RESULT_FILE} (dcgan evaluate writes one), nor a run with --evaluate-every")


def run_protocol(run: Path) -> Mapping[str, Any]:
    """What a run's quick figures were measured under."""
    environment = read_json(run / "environment.json")
    protocol = environment.get("evaluation") if isinstance(environment, dict) else None
    if not isinstance(protocol, dict):
        raise DcganError(f"{run}/environment.json does not say how the run's figures were measured: leave the run out")
    return protocol


def read_evaluation(file: Path) -> Entry:
    """The figures in an evaluation.json."""
    values = read_json(file)
    try:
        kimg = (values["model"].get("training") or {}).get("kimg")
        floor, audit = values["floor"], values["audit"]
        return Entry(
            name=Path(values["model"]["path"]).name,
            protocol=values["protocol"],
            measured=[Measured(kimg, _numbers(values["figures"]))],
            floor=floor and _numbers(floor["figures"]),
            verdict=(audit["verdict"] or "").partition(":")[0] or None,
        )
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise DcganError(f"{file} is damaged, or no result of dcgan evaluate ({error!r}): evaluate again") from error


def _numbers(figures: Mapping[str, Any]) -> dict[str, float]:
    return {name: float(value) for name, value in figures.items()}


def require_same_protocol(one: Entry, other: Entry) -> None:
    """Raise `DcganError` that names what differs between the protocols of two entries."""
    names = dict.fromkeys([*one.protocol, *other.protocol])
    differing = [
        f"{name.replace('_', ' ')} {one.protocol.get(name)} and {other.protocol.get(name)}"
        for name in names
        if one.protocol.get(name) != other.protocol.get(name)
    ]
    if differing:
        raise DcganError(
            f"{one.name} and {other.name} were measured under different protocols and do not compare: "
            f"{'; '.join(differing)}. Evaluate both alike"
        )


def comparison_table(entries: Sequence[Entry]) -> str:
    """One row an evaluation, two a run (its best and its last moment), and the floor, in Markdown."""
    names, rows = shared_names(entries), []
    for entry in entries:
        best = min(entry.measured, key=lambda measured: measured.figures[names[0]])
        last = entry.measured[-1]
        moments = [("", last)] if best is last else [(", best", best), (", last", last)]
        for which, measured in moments:
            kimg = "" if measured.kimg is None else f"{measured.kimg:.0f}"
            figures = [rounded(measured.figures[name]) for name in names]
            rows.append([entry.name + which, kimg, *figures, entry.verdict or ""])
    if floor := common_floor(entries):
        rows.append(["floor", "", *(rounded(floor[name]) for name in names), ""])
    return table(["", "kimg", *names, "memorisation"], rows)


def shared_names(entries: Sequence[Entry]) -> list[str]:
    """The names of the figures that all entries have (a run's are fewer), the Frechet distance's first."""
    return [name for name in entries[0].measured[0].figures if all(name in e.measured[0].figures for e in entries)]


def common_floor(entries: Sequence[Entry]) -> Mapping[str, float] | None:
    """The floor, which is the same for all that has one: they share a protocol."""
    return next((entry.floor for entry in entries if entry.floor is not None), None)


def plot(entries: Sequence[Entry], path: Path) -> None:
    """Plot each figure over kimg into a PNG, one below the other; where no entry has kimg, as bars."""
    from matplotlib.figure import Figure

    names, floor = shared_names(entries), common_floor(entries)
    over_kimg = any(measured.kimg is not None for entry in entries for measured in entry.measured)
    figure = Figure(figsize=(9, 2.2 * len(names) + 0.6), layout="constrained")
    panels = figure.subplots(len(names), 1, sharex=True, squeeze=False)[:, 0]
    for axes, name in zip(panels, names, strict=True):
        for i, entry in enumerate(entries):
            draw(axes, entry, name, i, over_kimg)
        if floor is not None:
            axes.axhline(floor[name], color="grey", linestyle="--", label="floor")
        axes.set_ylabel(name)
        axes.grid(alpha=0.3)
        axes.set_axisbelow(True)
    if over_kimg:
        panels[-1].set_xlabel(KIMG_LABEL)
    else:
        panels[-1].set_xticks([])
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside upper center", ncols=3)
    write_with(path, lambda temporary: figure.savefig(temporary, dpi=100))


def draw(axes: Any, entry: Entry, name: str, number: int, over_kimg: bool) -> None:
    """Draw one figure of one entry: over kimg, as a level line beside others that have kimg, or as a bar."""
    kimg = [measured.kimg for measured in entry.measured]
    values = [measured.figures[name] for measured in entry.measured]
    style = {"color": f"C{number}", "label": entry.name}
    if not over_kimg:
        axes.bar(number, values[-1], **style)
    elif None in kimg:
        axes.axhline(values[-1], **style)
    else:
        axes.plot(kimg, values, marker="o", markersize=4, linewidth=1, **style)
