"""A network as one ONNX file, which is kept only if onnxruntime computes from it what torch computes."""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import json
import logging
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from dcgan import __version__
from dcgan.checkpoint import write_with
from dcgan.conditions import LabelCode
from dcgan.config import ExportConfig
from dcgan.draws import generator_for, latents_from_seeds
from dcgan.errors import DcganError
from dcgan.images import to_levels, to_signed
from dcgan.model_file import FORMAT
from dcgan.models import Discriminator, Generator

if TYPE_CHECKING:
    import onnx

OPSET = 18  # what onnxruntime has read since 1.14, of early 2023
CHECKED_BATCHES = (1, 5, 32)
# Of the output's largest number, or of 1 if that is smaller; images reach 1.
TOLERANCE, HALF_TOLERANCE = 1e-4, 2e-2
# Of bytes, in levels: a value that lies on the edge between two may be rounded either way, but few do.
LEVELS_TOLERANCE, HALF_LEVELS_TOLERANCE = 1.0, 3.0
MEAN_LEVELS_TOLERANCE, HALF_MEAN_LEVELS_TOLERANCE = 0.01, 0.25

_NOT_INSTALLED = "exporting needs onnx, onnxscript and onnxruntime: pip install 'dcgan[onnx]'"


class _Graph(nn.Module):
    """What a file computes. Labels come in their own units, N x L, with NaN for unknown."""

    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    middle: Tensor
    spread: Tensor

    def __init__(self, network: Generator | Discriminator, code: LabelCode | None, half: bool, layout: str) -> None:
        super().__init__()
        self.number, self.layout = torch.float16 if half else torch.float32, layout
        self.network: Any = copy.deepcopy(network).cpu().to(self.number)
        self.labelled = code is not None
        if code is not None:
            self.register_buffer("middle", code.middle.cpu())
            self.register_buffer("spread", code.spread.cpu())
            self.register_buffer("rows", code.rows.cpu(), persistent=False)
            self.inputs += ("labels",)

    def encode(self, labels: Tensor) -> Tensor:
        """Codes of labels, as `LabelCode` makes them."""
        values = torch.where(torch.isnan(labels), self.middle, labels)  # the middle is coded 0, as unknown is
        return ((values - self.middle) / self.spread).to(self.number)

    def example_labels(self, count: int) -> tuple[Tensor, ...]:
        """Labels of training images, of which the first two's are unknown; none for a model without labels."""
        if not self.labelled:
            return ()
        rows = self.get_buffer("rows")
        labels = rows[torch.arange(count) * 61 % len(rows)] * self.spread + self.middle
        labels[:2] = torch.nan
        return (labels,)


class _GeneratorGraph(_Graph):
    """Latents, float32 N x Z, and labels to images in the layout asked for."""

    inputs = ("latents",)
    outputs = ("images",)

    def forward(self, latents: Tensor, labels: Tensor | None = None) -> Tensor:
        latents = latents.to(self.number)
        if labels is not None:
            latents = torch.cat([latents, self.encode(labels)], 1)
        images: Tensor = self.network(latents).float()
        return to_levels(images) if self.layout == "nhwc-uint8" else images

    def examples(self, count: int) -> tuple[Tensor, ...]:
        """Inputs to try it on."""
        config = self.network.config
        return (latents_from_seeds(range(count), config.latent_size, config.latent), *self.example_labels(count))


class _DiscriminatorGraph(_Graph):
    """Images in the layout asked for, and labels, to logits N and each layer's features."""

    inputs = ("images",)

    def __init__(self, network: Discriminator, code: LabelCode | None, half: bool, layout: str) -> None:
        super().__init__(network, code, half, layout)
        sides = [network.config.size // 2 ** (i + 1) for i in range(network.config.stages)]
        self.outputs = ("logits", *(f"features_{side}x{side}" for side in sides))

    def forward(self, images: Tensor, labels: Tensor | None = None) -> tuple[Tensor, ...]:
        signed = to_signed(images) if self.layout == "nhwc-uint8" else images
        features = self.network.features(signed.to(self.number))
        logits = self.network.judge(features[-1], None if labels is None else self.encode(labels))
        return tuple(output.float() for output in (logits, *features))

    def examples(self, count: int) -> tuple[Tensor, ...]:
        """Inputs to try it on: random blotches, of which each image is a function of its number."""
        size, channels = self.network.config.size, self.network.config.channels
        coarse = torch.stack(
            [torch.rand(channels, 8, 8, generator=generator_for(0, "export check", i)) for i in range(count)]
        )
        images = nn.functional.interpolate(coarse, size=(size, size), mode="bilinear") * 2 - 1
        return (to_levels(images) if self.layout == "nhwc-uint8" else images, *self.example_labels(count))


Graph = _GeneratorGraph | _DiscriminatorGraph


def export_onnx(config: ExportConfig) -> list[str]:
    """Write the ONNX file that `config` asks for, as `dcgan.export.export` does."""
    network: Generator | Discriminator
    code = None
    if config.network == "generator":
        network = Generator.from_pretrained(config.model)
    else:
        network = Discriminator.from_pretrained(config.model)
        if network.config.labels:  # whose code the generator keeps
            code = Generator.from_pretrained(config.model).code
    path = Path(config.out or f"{config.network}.onnx")
    if path.suffix != ".onnx":
        raise DcganError(f"{path}: the name of an ONNX file must end in .onnx")
    difference = write_onnx(path, network, code, half=config.half, layout=config.layout)
    return [f"wrote {path}", difference]


def write_onnx(
    path: Path,
    network: Generator | Discriminator,
    code: LabelCode | None = None,
    *,
    half: bool = False,
    layout: str = "nchw",
) -> str:
    """Write `network` as the ONNX file `path`; returns in words how far it is from torch.

    A discriminator takes labels only if given its generator's `code`. The settings are those of `ExportConfig`.
    Raises `DcganError`, and leaves what was there, if it is further than the tolerance at any of `CHECKED_BATCHES`.
    """
    proto = translate(make_graph(network, code, half, layout))
    exact = make_graph(network, code, False, layout)
    _describe(proto, network, {"network": network.role, "half": half, "layout": layout})
    difference = ""

    def write(temporary: Path) -> None:
        nonlocal difference
        temporary.write_bytes(proto.SerializeToString(deterministic=True))
        difference = check(temporary, exact, half)

    write_with(path, write)
    return difference


def make_graph(network: Generator | Discriminator, code: LabelCode | None, half: bool, layout: str) -> Graph:
    """What the file is to compute, in torch."""
    if isinstance(network, Generator):
        return _GeneratorGraph(network, network.code, half, layout).eval()
    return _DiscriminatorGraph(network, code, half, layout).eval()


def translate(graph: Graph) -> onnx.ModelProto:
    """The ONNX form of a graph, weights and all, of any batch size."""
    batch = torch.export.Dim("batch")
    shapes = {name: {0: batch} for name in graph.inputs}
    with _quiet():
        try:
            program = torch.onnx.export(
                graph,
                graph.examples(2),
                input_names=graph.inputs,
                output_names=graph.outputs,
                opset_version=OPSET,
                dynamo=True,
                dynamic_shapes=shapes,
                verbose=False,
            )
        except ImportError as error:
            raise DcganError(_NOT_INSTALLED) from error
    assert program is not None
    proto: onnx.ModelProto = program.model_proto
    return proto


def check(path: Path, exact: Graph, half: bool) -> str:
    """Compare what onnxruntime computes from a file with what torch computes in float32; in words, how far it is.

    Raises `DcganError` if that is more than the tolerance, or not a number.
    """
    try:
        import onnxruntime
    except ImportError as error:
        raise DcganError(_NOT_INSTALLED) from error
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    largest, mean, in_bytes = [], [], False
    for count in CHECKED_BATCHES:
        inputs = exact.examples(count)
        with torch.no_grad():
            outputs = exact(*inputs)
        feeds = {name: value.numpy() for name, value in zip(exact.inputs, inputs, strict=True)}
        wanted = [outputs] if isinstance(outputs, Tensor) else outputs
        for found, true in zip(session.run(exact.outputs, feeds), wanted, strict=True):
            differences = distances(found, true.numpy())
            largest.append(differences.max())
            mean.append(differences.mean())
            in_bytes = found.dtype == np.uint8
    if in_bytes:
        limit, mean_limit = (
            (HALF_LEVELS_TOLERANCE, HALF_MEAN_LEVELS_TOLERANCE) if half else (LEVELS_TOLERANCE, MEAN_LEVELS_TOLERANCE)
        )
        unit = "of 255 levels"
    else:
        limit = mean_limit = HALF_TOLERANCE if half else TOLERANCE
        unit = "of its largest output"
    measured, measured_mean = np.max(largest), np.max(mean)  # NaN if any is
    figures = f"{measured:.2g} {unit} from torch, {measured_mean:.2g} on average (tolerance {limit:g}, {mean_limit:g})"
    if not (measured <= limit and measured_mean <= mean_limit):
        remedy = "; its numbers may be too large for float16: leave out --half" if half else ""
        raise DcganError(f"nothing was written, as the exported network is up to {figures}{remedy}")
    return f"onnxruntime is at most {figures}"


def distances(found: npt.NDArray[Any], true: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """The differences of two arrays: in levels if they are bytes, else by the larger of 1 and the largest number.

    Infinite if their shapes differ.
    """
    if found.shape != true.shape:
        return np.array([np.inf])
    differences: npt.NDArray[np.float64] = np.abs(found.astype(np.float64) - true)
    return differences if found.dtype == np.uint8 else differences / max(1.0, float(np.abs(true).max()))


def _describe(proto: onnx.ModelProto, network: Generator | Discriminator, export: dict[str, Any]) -> None:
    """Let the file say of itself what the model file does, and drop what the exporter noted of this machine."""
    values = (*proto.graph.node, *proto.graph.input, *proto.graph.output, *proto.graph.value_info)
    for part in (proto, proto.graph, *values, *proto.graph.initializer):
        part.ClearField("metadata_props")
    proto.producer_name, proto.producer_version = "dcgan", __version__
    proto.doc_string = f"The {network.role} of a DCGAN. {network.about.get('terms', '')}".strip()
    settings = dataclasses.asdict(network.config)
    description = {"format": FORMAT, "model": settings, "about": network.about, "export": export}
    proto.metadata_props.add(key="dcgan", value=json.dumps(description))


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without the exporter's own warnings and log (torchvision is not installed), which are of no use to a user."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
