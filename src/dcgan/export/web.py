"""A folder that, served as it is by any web server, draws faces in the visitor's own browser."""

from __future__ import annotations

import dataclasses
import importlib.resources
from pathlib import Path

from dcgan.checkpoint import write_bytes, write_json
from dcgan.config import ExportConfig
from dcgan.export.onnx import write_onnx
from dcgan.export.runtime import runtime_files, version_of
from dcgan.models import Generator

MODEL, TABLE, ABOUT = "model.onnx", "latents.f32", "model.json"


def export_web(config: ExportConfig) -> list[str]:
    """Write the folder that `config` asks for: the page, the model, latents of the first seeds, and onnxruntime-web."""
    generator = Generator.from_pretrained(config.model)
    runtime = runtime_files(config.runtime)
    folder = Path(config.out or "web")
    difference = write_onnx(folder / MODEL, generator, half=config.half, layout="nhwc-uint8")
    # Draws of torch's generator, which JavaScript cannot repeat: rows of float32, little-endian, seeds 0, 1, 2, ...
    table = generator.latents(range(config.seeds))
    if generator.code is not None:  # codes to labels in their own units; an unknown one is in the middle, coded 0
        codes = table[:, generator.config.latent_size :]
        codes.mul_(generator.code.spread).add_(generator.code.middle)
    write_bytes(folder / TABLE, table.numpy().astype("<f4").tobytes())
    about = {
        "model": dataclasses.asdict(generator.config),
        "about": generator.about,
        "seeds": config.seeds,
        "file": MODEL,
        "table": TABLE,
        "runtime": f"onnxruntime-web {version_of(runtime)}",
    }
    write_json(folder / ABOUT, about)
    for name, data in runtime.items():
        write_bytes(folder / "onnxruntime" / name, data)
    for file in importlib.resources.files("dcgan.export").joinpath("page").iterdir():
        write_bytes(folder / file.name, file.read_bytes())
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 1e6
    return [f"wrote {folder} ({size:.0f} MB)", difference, f"to see it: python -m http.server --directory {folder}"]
