"""Models in forms that other programs use: ONNX files, a web page, a Hugging Face folder."""

from __future__ import annotations

from dcgan.config import ExportConfig
from dcgan.export.hugging_face import export_folder
from dcgan.export.onnx import export_onnx, write_onnx
from dcgan.export.web import export_web

__all__ = ["export", "write_onnx"]


def export(config: ExportConfig) -> list[str]:
    """Write what `config` asks for; returns what to tell the user, a line each.

    Raises `DcganError` for a model that cannot be read, a package that is not installed, an unwritable place, and an
    ONNX file from which onnxruntime does not compute what torch does: then nothing is written.
    """
    kinds = {"onnx": export_onnx, "web": export_web, "huggingface": export_folder}
    return kinds[config.format](config)
