"""`dcgan evaluate`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from dcgan.cli import parse
from dcgan.config import EvaluateConfig


def main(arguments: Sequence[str]) -> int:
    """Evaluate, write the results, and print them in one line."""
    config = parse(EvaluateConfig, arguments, "evaluate")
    from dcgan.evaluate import evaluate, results_folder, summary, write_report
    from dcgan.train.state import read_raw_generator

    generator = read_raw_generator(Path(config.model)) if config.raw_weights else None
    folder = results_folder(config)
    evaluation = evaluate(config, generator=generator)
    write_report(evaluation, folder)
    for note in evaluation.notes:
        print(f"dcgan: note: {note}", file=sys.stderr)
    print(summary(evaluation, folder))
    return 0
