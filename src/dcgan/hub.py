"""Models as the Hugging Face Hub has them: a folder with a model card, and a repository named user/name."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from dcgan.checkpoint import write_bytes, write_json
from dcgan.errors import DcganError
from dcgan.images import Pixels, make_grid, save_image

_REPOSITORY = re.compile(r"\w[\w.-]*/\w[\w.-]*", re.ASCII)
CONFIG_FILE, CARD_FILE, PICTURE_FILE = "config.json", "README.md", "samples.png"


def is_repository(name: str | Path) -> bool:
    """Whether a name that is no path here may be a repository's: user/name, and no folder user.

    With such a folder it is a misspelt path, of which nobody else should hear; so it is in `runs`, where training
    writes unless told otherwise.
    """
    path = Path(name)
    elsewhere = not path.exists() and not path.parent.exists() and path.parent.name != "runs"
    return elsewhere and _REPOSITORY.fullmatch(str(name)) is not None


def download(repository: str, file: str) -> Path:
    """A repository's file, fetched into Hugging Face's cache unless it is there. `DcganError` if it cannot be had."""
    try:
        client = _client()
    except DcganError as error:
        raise DcganError(f"{repository} does not exist here; were it a repository, {error}") from error
    try:
        return Path(client.hf_hub_download(repository, file, library_name="dcgan"))
    except (OSError, ValueError) as error:  # all that the client raises is one of these
        raise DcganError(
            f"{repository} is no path here, and {file} cannot be had from Hugging Face: {_first_line(error)}"
        ) from error


def upload(folder: Path, repository: str, *, private: bool = False, token: str | None = None) -> str:
    """Upload a model's folder, made by `save_pretrained`, as a commit to a repository; returns its address.

    The card in it is made to name that repository. Raises `DcganError` for a name that is none, and for what Hugging
    Face refuses (log in with `hf auth login`).
    """
    if _REPOSITORY.fullmatch(repository) is None:
        raise DcganError(f"a repository is named user/name, not {repository!r}")
    api = _client().HfApi(token=token, library_name="dcgan")
    card = (folder / CARD_FILE).read_text(encoding="utf-8")
    write_bytes(folder / CARD_FILE, card.replace('"user/name"', f'"{repository}"').encode())
    try:
        address = api.create_repo(repository, private=private or None, exist_ok=True)
        api.upload_folder(
            repo_id=repository,
            folder_path=folder,
            allow_patterns=[CONFIG_FILE, CARD_FILE, PICTURE_FILE, "model.safetensors"],
            commit_message="Upload a model of dcgan",
        )
    except (OSError, ValueError) as error:
        raise DcganError(f"cannot upload to {repository}: {_first_line(error)} (log in with: hf auth login)") from error
    return str(address)


def write_card(folder: Path, description: Mapping[str, Any], networks: Sequence[str], samples: Pixels | None) -> None:
    """Write what goes beside a model file: config.json, README.md, and samples.png if there are `samples`.

    `description` is what the model file says of itself; `samples` are uint8 N x H x W x C.
    """
    # model_type: by this file and this key Hugging Face counts downloads.
    write_json(folder / CONFIG_FILE, {"model_type": "dcgan", "library_name": "dcgan", **description})
    if samples is not None:
        save_image(folder / PICTURE_FILE, make_grid(samples))
    write_bytes(folder / CARD_FILE, model_card(description, networks, samples is not None).encode())


def model_card(description: Mapping[str, Any], networks: Sequence[str], picture: bool) -> str:
    """A model card in Markdown: use, data, training, figures, limits, intended use and terms, from what is known."""
    model, about = description["model"], description["about"]
    colour = {1: "grey", 3: "colour"}.get(model["channels"], f"{model['channels']}-channel")
    data = (about.get("dataset") or {}).get("name") or (about.get("imported") or {}).get("data") or "unnamed data"
    shape = f"{model['size']}x{model['size']} {colour}"
    parts = [
        _FRONT_MATTER,
        f"# DCGAN of {shape} images, learned from {data}",
        f"![generated samples]({PICTURE_FILE})\n\n*Unpicked: seeds 0, 1, 2, ... Nobody here exists.*"
        if picture
        else "",
        f"A [deep convolutional GAN](https://arxiv.org/abs/1511.06434) of dcgan. It holds: {', '.join(networks)}.",
        _USE,
        "## Data\n\n" + _data(about),
        "## Training\n\n" + _training(model, about),
        "## Figures\n\n" + _figures(about.get("metrics") or {}),
        _LIMITS.format(size=f"{model['size']}x{model['size']}"),
        _INTENDED_USE,
        "## Terms\n\n" + (about.get("terms") or _NO_TERMS),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _data(about: Mapping[str, Any]) -> str:
    dataset, imported = about.get("dataset"), about.get("imported") or {}
    if dataset:
        return f"{dataset['name']}: {dataset['count']:,} images (digest `{dataset['digest'][:12]}`)."
    return f"{imported['data']}, by the word of who imported it." if imported.get("data") else "Not known."


def _training(model: Mapping[str, Any], about: Mapping[str, Any]) -> str:
    if imported := about.get("imported"):
        origin = f"Trained elsewhere; imported from `{imported['file']}` (SHA-256 `{imported['sha256']}`)."
    else:
        known = {"preset": "preset", "kimg": "thousand images shown", "epoch": "epochs", "seed": "seed"}
        training = about.get("training") or {}
        facts = [f"- {text}: {training[name]}" for name, text in known.items() if name in training]
        origin = "\n".join(facts) or "Not known."
    shown = {**model, "labels": ", ".join(name for name, _ in model.get("labels", ())) or "none"}
    settings = "\n".join(f"| {name} | {value} |" for name, value in shown.items())
    return f"{origin}\n\n| setting | value |\n|---|---|\n{settings}"


def _figures(metrics: Mapping[str, Any]) -> str:
    rows = [f"| {name} | {value} |" for name, value in _flat(metrics)]
    if not rows:
        return "None are in the model file. `dcgan evaluate MODEL DATA` measures them."
    return "\n".join(["| figure | value |", "|---|---|", *rows])


def _flat(values: Mapping[str, Any], name: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{name}{key}: ")
        else:
            yield f"{name}{key}".replace("_", " "), f"{value:.4g}" if isinstance(value, float) else value


def _first_line(error: Exception) -> str:
    """What the client says, of which all but the first line is advice for programmers."""
    return next(iter(str(error).strip().splitlines()), type(error).__name__)


def _client() -> Any:
    try:
        import huggingface_hub
    except ImportError as error:
        raise DcganError("the Hugging Face Hub needs huggingface_hub: pip install 'dcgan[hub]'") from error
    return huggingface_hub


_FRONT_MATTER = """---
library_name: dcgan
pipeline_tag: unconditional-image-generation
license: other
license_name: see-terms
tags:
- dcgan
- gan
- image-generation
---"""

_USE = """## Use

```python
import dcgan

generator = dcgan.Generator.from_pretrained("user/name")  # this repository, or a folder with these files
images = generator.sample([0, 1, 42])  # uint8, N x H x W x C: each image a function of its seed alone
```"""

_LIMITS = """## Limits

- Images are {size}, and some are smeared, asymmetric or no faces at all.
- It shows what its data shows, in the same shares or narrower ones: who is rare there is rarer here, and what the data
  gets wrong about people comes out again. Nothing has been done against it.
- Some images may lie near training images; the memorisation audit of `dcgan evaluate` looks for them."""

_INTENDED_USE = """## Intended use

Research, teaching and play: to study how GANs learn, their latent space, and the figures that judge them.
Not for passing images off as photographs of people, for identifying or judging anyone, or as a stand-in for real data
where decisions about people depend on it."""

_NO_TERMS = """None are stated in the model file. What a model learned from a data set carries that data set's terms:
find them out before you use or share this one."""
