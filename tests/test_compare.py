"""Comparing evaluations and runs: one table, one plot, one protocol."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from dcgan.checkpoint import write_json
from dcgan.cli import main
from dcgan.compare import read_entry
from dcgan.errors import DcganError
from dcgan.train.tracking import PLOTTED

PROTOCOL = {"extractor": "small", "resize": "own size", "data_digest": "d", "seed": 0, "reals": 100, "fakes": 100}
FLOOR = {"FD-small": 1.0, "kernel_distance": 0.001, "precision": 0.7, "recall": 0.7, "density": 1.0, "coverage": 0.9}


def figures(frechet: float) -> dict[str, float]:
    return {**FLOOR, "FD-small": frechet}


def evaluation(folder: Path, frechet: float, kimg: float | None = None, **protocol: Any) -> Path:
    """The result of an evaluation, as `dcgan evaluate` leaves it."""
    values = {
        "format": 1,
        "protocol": {**PROTOCOL, **protocol},
        "model": {"path": f"models/{folder.name}", "training": kimg and {"kimg": kimg}},
        "figures": figures(frechet),
        "floor": {"reals": 50, "fakes": 50, "figures": FLOOR},
        "audit": {"verdict": "no sign of copying"},
    }
    write_json(folder / "evaluation.json", values)
    return folder


def run(folder: Path, frechets: Mapping[float, float], **protocol: Any) -> Path:
    """A run that was judged while it trained."""
    quick = ("FD-small", "kernel_distance", "precision", "recall")
    clock = {"epoch": 0.1, "seconds": 1.0}
    lines: list[dict[str, Any]] = [{"step": 1, "kimg": 0.1, **dict.fromkeys(PLOTTED, 1.0), **clock}]
    for kimg, frechet in frechets.items():
        values = figures(frechet)
        lines.append({"step": 2, "kimg": kimg, **clock, "evaluation": {name: values[name] for name in quick}})
    folder.mkdir()
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    write_json(folder / "environment.json", {"evaluation": {**PROTOCOL, **protocol}})
    return folder


def test_evaluations_and_runs_become_one_table_and_one_plot(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    paths = [
        evaluation(tmp_path / "a", 12.5, kimg=300),
        evaluation(tmp_path / "b", 2.25) / "evaluation.json",
        run(tmp_path / "c", {100: 30.0, 200: 20.0, 300: 40.0}),
        run(tmp_path / "d", {100: 9.0, 200: 8.0}),
    ]
    assert main(["compare", *map(str, paths), "--out", str(tmp_path / "out")]) == 0
    out = capsys.readouterr().out
    table = [[cell.strip() for cell in line.split("|")[1:-1]] for line in out.splitlines() if line.startswith("|")]
    assert table[0] == ["", "kimg", "FD-small", "kernel_distance", "precision", "recall", "memorisation"]
    assert [row[:3] for row in table[2:]] == [
        ["a", "300", "12.50"],
        ["b", "", "2.2500"],
        ["c, best", "200", "20.00"],
        ["c, last", "300", "40.00"],
        ["d", "200", "8.0000"],
        ["floor", "", "1.0000"],
    ]
    assert table[2][-1] == "no sign of copying"
    assert out.split("\n\nwrote")[0] in (tmp_path / "out" / "comparison.md").read_text()
    assert (tmp_path / "out" / "comparison.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("changed", "told"),
    [({"fakes": 50}, "fakes 100 and 50"), ({"data_digest": "e"}, "data digest d and e"), ({"extra": 1}, "None and 1")],
)
def test_protocols_are_not_mixed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], changed: dict[str, Any], told: str
) -> None:
    one = evaluation(tmp_path / "one", 1.0)
    for other in (evaluation(tmp_path / "other", 1.0, **changed), run(tmp_path / "run", {1: 1.0}, **changed)):
        assert main(["compare", str(one), str(other), "--out", str(tmp_path / "out")]) == 2
        error = capsys.readouterr().err
        assert "different protocols" in error
        assert told in error
    assert not (tmp_path / "out").exists()


def test_a_run_without_quick_figures_stands_for_its_evaluation(tmp_path: Path) -> None:
    folder = run(tmp_path / "run", {})
    evaluation(folder / "evaluation", 3.0)
    assert read_entry(folder).measured[0].figures["FD-small"] == 3.0


def test_what_holds_no_figures_is_told(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "absent", run(tmp_path / "run", {})):
        with pytest.raises(DcganError, match=r"holds no evaluation.json"):
            read_entry(path)
    for values in ([], {"figures": {}}, {"model": None}):
        write_json(tmp_path / "evaluation.json", values)
        with pytest.raises(DcganError, match="no result of dcgan evaluate"):
            read_entry(tmp_path)
    whole = json.loads((evaluation(tmp_path / "whole", 2.0) / "evaluation.json").read_text())
    for key, odd in (("figures", ["FD-small"]), ("figures", {"FD-small": "low"}), ("floor", {"figures": 1})):
        write_json(tmp_path / "evaluation.json", {**whole, key: odd})
        with pytest.raises(DcganError, match="no result of dcgan evaluate"):
            read_entry(tmp_path)
    unsaid = run(tmp_path / "unsaid", {1: 1.0})
    for environment in ({}, [], {"evaluation": None}, {"evaluation": "small"}):
        write_json(unsaid / "environment.json", environment)
        with pytest.raises(DcganError, match="does not say how"):
            read_entry(unsaid)
