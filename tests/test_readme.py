"""Every `dcgan` command and every line of Python in the README runs, in the README's own order."""

from __future__ import annotations

import re
import shlex
import zipfile
from pathlib import Path

import numpy as np
import pytest

from dcgan.cli import main
from dcgan.data.toy import draw_faces
from dcgan.images import save_image

README = (Path(__file__).parent.parent / "README.md").read_text()
# What makes a command of minutes one of seconds; the last of a repeated flag counts.
QUICK = {
    "train": [
        "--kimg", "0.064", "--batch", "16", "--generator-width", "4", "--discriminator-width", "4",
        "--sample-count", "4", "--no-tensorboard", "--device", "cpu", "--evaluate-samples", "20",
    ],
    "evaluate": ["-n", "40", "--audit-pool", "50"],
    "probe": ["--images", "50", "--seeds", "2", "--against", "pixels"],
    "augment-test": ["--seeds", "2", "--steps", "2", "--width", "4", "--synthetic", "32", "--kimg", "0.064"],
    "augment": ["-n", "20"],
}  # fmt: skip


def commands() -> list[list[str]]:
    """The arguments of each dcgan command in the README's shell blocks."""
    lines = [line for block in re.findall(r"```sh\n(.*?)```", README, re.DOTALL) for line in block.splitlines()]
    words = [shlex.split(line, comments=True) for line in lines]
    return [line[1:] for line in words if line and line[0].endswith("dcgan")]


def test_the_readme_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DCGAN_CACHE", str(tmp_path / "cache"))
    for i, face in enumerate(draw_faces(range(24), 128).images):
        save_image(tmp_path / "photos" / f"{i}.png", face)
    with zipfile.ZipFile("img_align_celeba.zip", "w") as archive:
        for path in sorted((tmp_path / "photos").iterdir()):
            archive.write(path, f"img_align_celeba/{path.name}")

    ran = []
    for arguments in commands():
        extra = QUICK.get(arguments[0], [])
        if "--epochs" in arguments:
            at = arguments.index("--epochs")
            arguments = arguments[:at] + arguments[at + 2 :]
        if "--resume" in arguments:
            extra = ["--kimg", "0.096"]
        assert main([*arguments, *extra]) == 0, arguments
        ran.append(arguments[0])
    judged = {"augment", "augment-test", "train", "prepare", "generate", "info", "evaluate", "compare"}
    assert set(ran) == judged | {"interpolate", "pick", "arithmetic", "principal", "probe", "nearest"}
    assert Path("faces.png").stat().st_size > 1000

    names: dict[str, object] = {}
    for block in re.findall(r"```python\n(.*?)```", README, re.DOTALL):
        exec(block, names)
    images = names["images"]
    assert isinstance(images, np.ndarray)
    assert images.shape == (3, 32, 32, 3)


def test_the_quick_start_is_what_make_does() -> None:
    makefile = (Path(__file__).parent.parent / "Makefile").read_text()
    by_hand = next(line for line in README.splitlines() if "dcgan train toy" in line)
    assert " ".join(shlex.split(by_hand)[1:]) in makefile
