"""`dcgan probe`."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from dcgan.cli import parse
from dcgan.config import ProbeConfig


def main(arguments: Sequence[str]) -> int:
    """Probe a model, write what was found and print the table."""
    config = parse(ProbeConfig, arguments, "probe")
    from dcgan.represent.probe import probe
    from dcgan.represent.report import results_folder, summary, write_report

    folder = results_folder(config)
    found = probe(config)
    write_report(found, folder)
    for note in found.notes:
        print(f"dcgan: note: {note}", file=sys.stderr)
    print(summary(found))
    print(f"\naccuracy in percent ± 95% confidence; all of it in {folder}")
    return 0
