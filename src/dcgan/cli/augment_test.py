"""`dcgan augment-test`."""

from __future__ import annotations

from collections.abc import Sequence

from dcgan.cli import parse
from dcgan.config import AugmentTestConfig


def main(arguments: Sequence[str]) -> int:
    """Compare classifiers with and without synthetic data, write the results, and print table and verdict."""
    config = parse(AugmentTestConfig, arguments, "augment-test")
    from dcgan.augment_report import accuracies, verdicts, write_report
    from dcgan.augment_test import augment_test

    found = augment_test(config)
    write_report(found)
    print(accuracies(found), *verdicts(found), sep="\n\n")
    print(f"\naccuracy in percent ± 95% confidence; all of it in {config.out}")
    return 0
