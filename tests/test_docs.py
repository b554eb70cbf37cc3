"""The docs say what the code does: links point at the lines they name, and tables hold the true shapes."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch

from dcgan.config import ModelConfig
from dcgan.models import Discriminator, Generator

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
LINK = re.compile(r"\[([^\]]*)\]\((?!https?:)([^)#\s]*)(?:#L(\d+))?[^)\s]*(?: \"(\w+)\")?\)")


def links() -> list[tuple[Path, str, str, str, str]]:
    return [(page, *match) for page in PAGES if page.exists() for match in LINK.findall(page.read_text())]


@pytest.mark.parametrize(("page", "text", "target", "line", "name"), links())
def test_a_link_points_at_what_it_names(page: Path, text: str, target: str, line: str, name: str) -> None:
    path = (page.parent / target) if target else page
    assert path.exists(), f"{page.name} links to {target}, which is not there"
    if line:
        wanted = name or text.strip("`")
        found = path.read_text().splitlines()[int(line) - 1]
        assert re.search(rf"(def |class |^){wanted}\b", found), f"{target}#L{line} is {found!r}, not {wanted}"


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
