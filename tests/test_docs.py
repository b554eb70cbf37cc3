"""The docs say what the code does: links point at the lines they name, and tables hold the true shapes."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest
import torch

from dcgan.config import ModelConfig
from dcgan.models import Discriminator, Generator

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "docs"))
from relink import LINK, PAGES, defining_line  # noqa: E402


def links() -> list[tuple[Path, str, str, str, str]]:
    return [(page, *match) for page in PAGES for match in LINK.findall(page.read_text())]


@pytest.mark.parametrize(("page", "text", "target", "line", "name"), links())
def test_a_link_points_at_what_it_names(page: Path, text: str, target: str, line: str, name: str) -> None:
    path = (page.parent / target) if target else page
    assert path.exists(), f"{page.name} links to {target}, which is not there"
    if line:
        assert int(line) == defining_line(path, name or text.strip("`")), "run: python docs/relink.py"


@pytest.mark.parametrize("network", [Generator, Discriminator])
def test_the_tables_of_layers_hold_the_true_shapes(network: type[Generator] | type[Discriminator]) -> None:
    page = (ROOT / "docs" / "how-it-works.md").read_text()
    section = page.split(f"## The {network.role}")[1].split("\n## ")[0]
    rows = re.findall(r"^\| `([\w.]+)` \|.*\| (N[\dx ]*) \|$", section, re.MULTILINE)
    values = torch.zeros(2, 100) if network is Generator else torch.zeros(2, 3, 64, 64)
    model = network(ModelConfig())
    for name, shape in rows:
        values = model.get_submodule(name)(values)
        stated = tuple(2 if size == "N" else int(size) for size in shape.split(" x "))
        assert tuple(values.shape) == stated, name
    assert len(rows) == 5
