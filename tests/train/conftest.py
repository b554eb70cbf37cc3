"""Runs without their plots, which would take most of a tiny run's time."""

from __future__ import annotations

import pytest

from dcgan.train import tracking


@pytest.fixture(autouse=True)
def no_plots(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let runs write empty files for plots, unless a test asks for `plots`."""
    if "plots" not in request.fixturenames:
        for name in ("plot_losses", "plot_quality"):
            monkeypatch.setattr(tracking, name, lambda records, path: path.touch())


@pytest.fixture
def plots() -> None:
    """For tests of the plots themselves."""
