"""The Hugging Face form: a folder that is enough, a card that says what is known, a repository as good as a path."""

from __future__ import annotations

import inspect
import json
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from dcgan import hub
from dcgan.checkpoint import load_tensors
from dcgan.cli import main
from dcgan.config import ModelConfig
from dcgan.draws import generator_for
from dcgan.errors import DcganError
from dcgan.model_file import MODEL_FILE, save_model
from dcgan.models import Discriminator, Generator

CONFIG = ModelConfig(size=32, latent_size=8, generator_width=4, discriminator_width=4)
ABOUT = {
    "dataset": {"name": "celeba-13k", "digest": "a" * 64, "count": 13683},
    "training": {"kimg": 300.0, "epoch": 23.08, "preset": "ganhacks", "seed": 5},
    "metrics": {"kernel_distance": 0.12345, "protocol": {"fakes": 2000}},
    "terms": "Non-commercial research only.",
}


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A model file with both networks."""
    networks = [kind(CONFIG).initialize(generator_for(0, "test", 0)) for kind in (Generator, Discriminator)]
    path = tmp_path / "a" / "some.safetensors"
    save_model(path, CONFIG, {network.role: network.state_dict() for network in networks}, ABOUT)
    return path


class FakeHub:
    """What is used of huggingface_hub, with a folder for the Hub; calls must fit the true signatures."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.calls: list[tuple[str, dict[str, Any]]] = []

    def hf_hub_download(self, *arguments: Any, **settings: Any) -> str:
        given = self.check("hf_hub_download", None, *arguments, **settings)
        path = self.root / given["repo_id"] / given["filename"]
        if not path.is_file():
            raise OSError(f"404 Client Error: no {given['repo_id']}\nand more")
        return str(path)

    def HfApi(self, **settings: Any) -> FakeHub:  # noqa: N802
        self.check("HfApi", None, **settings)
        return self

    def create_repo(self, *arguments: Any, **settings: Any) -> str:
        given = self.check("create_repo", "HfApi", *arguments, **settings)
        (self.root / given["repo_id"]).mkdir(parents=True, exist_ok=given["exist_ok"])
        return f"https://huggingface.co/{given['repo_id']}"

    def upload_folder(self, **settings: Any) -> None:
        given = self.check("upload_folder", "HfApi", **settings)
        for name in given["allow_patterns"]:
            if (given["folder_path"] / name).is_file():
                shutil.copy(given["folder_path"] / name, self.root / given["repo_id"] / name)

    def check(self, name: str, owner: str | None, *arguments: Any, **settings: Any) -> dict[str, Any]:
        """Bind the arguments to the true function of huggingface_hub, where that is installed."""
        true = pytest.importorskip("huggingface_hub")
        function = getattr(getattr(true, owner), name) if owner else getattr(true, name)
        bound = inspect.signature(function).bind(*([None] if owner else []), *arguments, **settings)
        self.calls.append((name, dict(bound.arguments)))
        return dict(bound.arguments)


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeHub:
    """A Hub of one's own, and an empty folder to work in."""
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    fake = FakeHub(tmp_path / "hub")
    monkeypatch.setattr(hub, "_client", lambda: fake)
    return fake


def test_a_saved_folder_is_the_same_generator(model: Path, tmp_path: Path) -> None:
    generator = Generator.from_pretrained(model)
    generator.save_pretrained(tmp_path / "saved")
    assert {path.name for path in (tmp_path / "saved").iterdir()} == {
        "config.json",
        "model.safetensors",
        "README.md",
        "samples.png",
    }
    again = Generator.from_pretrained(tmp_path / "saved")
    np.testing.assert_array_equal(again.sample([3, 4]), generator.sample([3, 4]))
    config = json.loads((tmp_path / "saved" / "config.json").read_text())
    assert config["model_type"] == "dcgan"
    assert ModelConfig(**config["model"]) == CONFIG
    assert config["about"] == again.about
    with Image.open(tmp_path / "saved" / "samples.png") as picture:
        first = np.asarray(picture)[:32, :32]
    np.testing.assert_array_equal(first, generator.sample([0])[0])


def test_the_card_says_what_the_model_knows(model: Path, tmp_path: Path) -> None:
    Generator.from_pretrained(model).save_pretrained(tmp_path)
    card = (tmp_path / "README.md").read_text()
    front, rest = card.removeprefix("---\n").split("\n---\n")
    assert "library_name: dcgan" in front
    assert "pipeline_tag: unconditional-image-generation" in front
    for heading in ("Use", "Data", "Training", "Figures", "Limits", "Intended use", "Terms"):
        assert f"\n## {heading}\n" in rest
    for known in ("celeba-13k: 13,683 images", "300.0", "ganhacks", "| kernel distance | 0.1235 |", "32x32 colour"):
        assert known in rest
    assert rest.endswith("## Terms\n\nNon-commercial research only.\n")


def test_a_card_admits_what_is_not_known(tmp_path: Path) -> None:
    Discriminator(CONFIG).initialize(generator_for(0, "test", 0)).save_pretrained(tmp_path)
    card = (tmp_path / "README.md").read_text()
    assert "unnamed data" in card
    assert "None are in the model file" in card
    assert "None are stated" in card
    assert not (tmp_path / "samples.png").exists()


def test_an_exported_folder_holds_both_networks_under_the_same_digest(model: Path, tmp_path: Path) -> None:
    assert main(["export", str(model), str(tmp_path / "out"), "--format", "huggingface"]) == 0
    tensors, metadata = load_tensors(tmp_path / "out" / MODEL_FILE)
    original, original_metadata = load_tensors(model)
    assert metadata == original_metadata
    assert tensors.keys() == original.keys()
    assert all(torch.equal(tensors[name], original[name]) for name in tensors)


def test_what_is_pushed_is_pulled_and_is_the_same(model: Path, fake: FakeHub) -> None:
    generator = Generator.from_pretrained(model)
    address = generator.push_to_hub("someone/faces", private=True, token="secret")
    assert address == "https://huggingface.co/someone/faces"
    assert 'from_pretrained("someone/faces")' in (fake.root / "someone" / "faces" / "README.md").read_text()
    calls = dict(fake.calls)
    assert (calls["HfApi"]["token"], calls["create_repo"]["private"]) == ("secret", True)
    pulled = Generator.from_pretrained("someone/faces")
    np.testing.assert_array_equal(pulled.sample([1]), generator.sample([1]))
    with pytest.raises(DcganError, match="holds no discriminator"):
        Discriminator.from_pretrained("someone/faces")


def test_the_command_line_pushes_both_networks_and_takes_a_repository_for_a_model(model: Path, fake: FakeHub) -> None:
    assert main(["export", str(model), "out", "--format", "huggingface", "--push", "someone/both"]) == 0
    assert Discriminator.from_pretrained("someone/both").config == CONFIG
    assert main(["generate", "someone/both", "-n", "4"]) == 0
    assert Path("faces.png").is_file()


def test_a_misspelt_path_is_asked_of_nobody(fake: FakeHub) -> None:
    Path("mine").mkdir()
    for path in ("mine/00007-typo", "runs/00007-typo"):
        with pytest.raises(DcganError, match=f"{path} does not exist"):
            Generator.from_pretrained(path)
    assert fake.calls == []


def test_what_the_hub_refuses_is_one_line(model: Path, fake: FakeHub, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["generate", "someone/none"]) == 2
    told = capsys.readouterr().err
    assert "someone/none is no path here, and model.safetensors cannot be had from Hugging Face: 404" in told
    assert told.count("\n") == 1
    with pytest.raises(DcganError, match="named user/name"):
        Generator.from_pretrained(model).push_to_hub("faces")


def test_without_huggingface_hub_one_is_told_of_both_meanings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(DcganError, match=r"someone/faces does not exist here.*pip install 'dcgan\[hub\]'"):
        Generator.from_pretrained("someone/faces")
