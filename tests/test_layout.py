"""The layers of the package: imports point downwards only."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

SOURCE = Path(__file__).parent.parent / "src" / "dcgan"

# From the top down; a module may import those below its own line, and its own package.
LAYERS = [
    {"__main__"},
    {"cli"},
    {"studio"},
    {"augment_report"},
    {"augment_test"},
    {"represent"},
    {"synthesize"},
    {"generate", "info", "compare", "export", "convert"},
    {"explore"},
    {"train"},
    {"evaluate"},
    {"classify"},
    {"models", "losses", "diffaug", "data"},
    {"model_file"},
    {"animation", "conditions", "hub"},
    {"images", "draws", "device", "convolution", "confidence"},
    {"checkpoint", "config"},
    {"errors"},
]
HEIGHT = {name: height for height, layer in enumerate(reversed(LAYERS)) for name in layer}


def modules() -> list[Path]:
    return sorted(SOURCE.rglob("*.py"))


def part(path: Path) -> str:
    """The top-level module or package a file belongs to."""
    return path.relative_to(SOURCE).parts[0].removesuffix(".py")


def imported_parts(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("dcgan."):
            found.add((node.module or "").split(".")[1])
        elif isinstance(node, ast.Import):
            found |= {alias.name.split(".")[1] for alias in node.names if alias.name.startswith("dcgan.")}
    return found


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(SOURCE)))
def test_imports_point_downwards(path: Path) -> None:
    here = part(path)
    if here == "__init__":  # the public names, imported when first used
        return
    assert here in HEIGHT, f"{here} has no place in LAYERS"
    for other in imported_parts(path) - {here}:
        assert HEIGHT[other] < HEIGHT[here], f"{here} may not import {other}"


def test_configuration_imports_no_torch() -> None:
    assert not any("import torch" in path.read_text() for path in (SOURCE / "config").iterdir() if path.is_file())


def test_preparing_data_imports_no_torch() -> None:
    """Each of its workers would wait for it, and hold it."""
    code = "import sys, dcgan.data, dcgan.cli.prepare, dcgan.cli.merge; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
