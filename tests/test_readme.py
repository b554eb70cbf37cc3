"""Every `dcgan` command and every line of Python in the README runs, in the README's own order."""

from __future__ import annotations

import re
import shlex
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from dcgan.cli import main
from dcgan.data.toy import draw_faces
from dcgan.export.runtime import FILES
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
    "augment": ["-n", "20"],
    "augment-test": ["--seeds", "2", "--steps", "2", "--width", "4", "--synthetic", "32", "--kimg", "0.064"],
    "studio": ["--port", "0"],
}  # fmt: skip


def commands() -> list[list[str]]:
    """The arguments of each dcgan command in the README's shell blocks."""
    lines = [line for block in re.findall(r"```sh\n(.*?)```", README, re.DOTALL) for line in block.splitlines()]
    words = [shlex.split(line, comments=True) for line in lines]
    return [line[1:] for line in words if line and line[0].endswith("dcgan")]


def web_runtime(folder: Path) -> Path:
    """What stands for onnxruntime-web, which is fetched from elsewhere."""
    for name in ("package.json", *(f"dist/{file}" for file in FILES)):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("{}")
    return folder


def example_generator() -> nn.Sequential:
    """A generator as the PyTorch example writes it, for 32x32."""
    return nn.Sequential(
        nn.ConvTranspose2d(6, 16, 4, 1, 0, bias=False), nn.BatchNorm2d(16), nn.ReLU(),
        nn.ConvTranspose2d(16, 8, 4, 2, 1, bias=False), nn.BatchNorm2d(8), nn.ReLU(),
        nn.ConvTranspose2d(8, 4, 4, 2, 1, bias=False), nn.BatchNorm2d(4), nn.ReLU(),
        nn.ConvTranspose2d(4, 3, 4, 2, 1, bias=False), nn.Tanh(),
    )  # fmt: skip


def test_the_readme_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DCGAN_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("uvicorn.Server.run", lambda server, sockets: None)  # it would serve for ever
    monkeypatch.setattr("webbrowser.open", lambda url: True)
    for i, face in enumerate(draw_faces(range(24), 128).images):
        save_image(tmp_path / "photos" / f"{i}.png", face)
    with zipfile.ZipFile("img_align_celeba.zip", "w") as archive:
        for path in sorted((tmp_path / "photos").iterdir()):
            archive.write(path, f"img_align_celeba/{path.name}")
    torch.save(example_generator().state_dict(), "netG_epoch_24.pth")

    ran = []
    for arguments in commands():
        extra = QUICK.get(arguments[0], [])
        if "--epochs" in arguments:
            at = arguments.index("--epochs")
            arguments = arguments[:at] + arguments[at + 2 :]
        if "web" in arguments:
            extra = ["--runtime", str(web_runtime(tmp_path / "package"))]
        if "--resume" in arguments:
            extra = ["--kimg", "0.096"]
        assert main([*arguments, *extra]) == 0, arguments
        ran.append(arguments[0])
    judged = {"train", "prepare", "generate", "info", "evaluate", "compare"}
    others = {"interpolate", "pick", "arithmetic", "principal", "probe", "nearest", "export", "import", "studio"}
    assert set(ran) == judged | others | {"augment", "augment-test"}
    assert Path("faces.png").stat().st_size > 1000

    names: dict[str, object] = {}
    for block in re.findall(r"```python\n(.*?)```", README, re.DOTALL):
        exec(block, names)
    images = names["images"]
    assert isinstance(images, np.ndarray)
    assert images.shape == (3, 64, 64, 3)


def test_the_quick_start_is_what_make_does() -> None:
    makefile = (Path(__file__).parent.parent / "Makefile").read_text()
    by_hand = next(line for line in README.splitlines() if "dcgan train toy" in line)
    assert " ".join(shlex.split(by_hand)[1:]) in makefile
