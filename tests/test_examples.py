"""The examples run."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest
import torch

import dcgan.data
from dcgan.config import Label, ModelConfig, PrepareConfig
from dcgan.data import prepare
from dcgan.draws import generator_for
from dcgan.models import Generator

EXAMPLES = Path(__file__).parent.parent / "examples"


def test_train_with_synthetic(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    config = ModelConfig(size=32, generator_width=4, latent_size=8, labels=(Label("glasses", "binary"),))
    generator = Generator(config).initialize(generator_for(0, "weights", 0))
    assert generator.code is not None
    generator.code.learn(torch.tensor([[0.0], [1.0]]))
    generator.save_pretrained(tmp_path)
    drawn = prepare(PrepareConfig(source="toy", out=str(tmp_path / "toy"), size=32, count=520, workers=1))
    monkeypatch.setattr(dcgan.data, "open_data", lambda name, size, channels: drawn)
    monkeypatch.setattr("sys.argv", ["train_with_synthetic.py", str(tmp_path)])
    runpy.run_path(str(EXAMPLES / "train_with_synthetic.py"))
    told = capsys.readouterr().out.splitlines()
    assert [line.partition(":")[0] for line in told] == ["200 real", "and 2000 synthetic", "synthetic only"]
    assert float(told[0].split()[-2].rstrip("%")) > 60  # it learns something from the real ones


def test_the_example_is_as_short_as_it_says() -> None:
    code = (EXAMPLES / "train_with_synthetic.py").read_text().split('"""')[2]
    assert sum(bool(line.strip()) for line in code.splitlines()) <= 30
