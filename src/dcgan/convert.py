"""Foreign weights in: state dicts of the DCGAN of the PyTorch example and tutorial, and of what was made after it.

https://github.com/pytorch/examples/blob/main/dcgan/main.py: a sequence of 4x4 (transposed) convolutions without
biases, BatchNorm after each but the outermost. Its numbers stay as they are; only their names and, of the two layers
that are matrix products here, their order changes.
"""

from __future__ import annotations

import dataclasses
import itertools
import pickle
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from dcgan import __version__
from dcgan.checkpoint import file_digest, load_tensors
from dcgan.config import PRESETS, SIZES, ImportConfig, ModelConfig
from dcgan.errors import DcganError
from dcgan.model_file import save_model
from dcgan.models import Discriminator, Generator, channels_of

# Sequences nested in others too, such as main.0.1.weight; what comes before the numbers names the sequence.
_LAYER = re.compile(r"(?:(?P<sequence>.*?)\.)?(?P<place>\d+(?:\.\d+)*)\.(?P<name>[a-z_]+)")
_NORM = ("weight", "bias", "running_mean", "running_var")
Layer = Mapping[str, Tensor]


@dataclass(frozen=True)
class Stack:
    """A sequence of layers as a file has it: convolutions, and the BatchNorm that follows each, if one does."""

    name: str
    convolutions: list[Layer]
    norms: list[Layer | None]

    @property
    def shapes(self) -> list[tuple[int, ...]]:
        """Of the kernels."""
        return [tuple(layer["weight"].shape) for layer in self.convolutions]

    @property
    def role(self) -> str | None:
        """generator or discriminator, by the direction in which channels fit; None if it is neither.

        A transposed kernel is in x out x 4 x 4, a plain one out x in x 4 x 4, and a discriminator ends in 1.
        """
        has_norm = [norm is not None for norm in self.norms]
        inner = len(self.shapes) - 2
        if inner < 1 or any(len(shape) != 4 for shape in self.shapes):
            return None
        if has_norm == [True] * (inner + 1) + [False] and all(a[1] == b[0] for a, b in itertools.pairwise(self.shapes)):
            return "generator"
        plain = has_norm == [False] + [True] * inner + [False] and self.shapes[-1][0] == 1
        if plain and all(a[0] == b[1] for a, b in itertools.pairwise(self.shapes)):
            return "discriminator"
        return None


def import_model(config: ImportConfig) -> Path:
    """Write the model file that `config` asks for, and return its path.

    Raises `DcganError` for a file that cannot be read, that holds no network of this form, or several.
    """
    source = Path(config.file)
    out = Path(config.out or f"{source.stem}.safetensors")
    if out.resolve() == source.resolve():
        raise DcganError(f"the model would replace {source}: name another file as OUT")
    stacks = list(read_stacks(source))
    generator = choose(stacks, "generator", source, config.key)
    critic = Path(config.discriminator) if config.discriminator else source
    # Of several in the generator's own file none can be told to be its partner, and none was asked for.
    critics = stacks_of("discriminator", stacks if critic == source else read_stacks(critic))
    discriminator = None
    if config.discriminator or len(critics) == 1:
        discriminator = choose(critics, "discriminator", critic, None)

    settings = guess_settings(generator, discriminator, config, source)
    states = {"generator": generator_state(generator, settings, source)}
    if discriminator is not None:
        states["discriminator"] = discriminator_state(discriminator, settings, critic)
    about = {
        "version": __version__,
        "imported": {
            "file": source.name,
            "sha256": file_digest(source),
            "weights": generator.name,
            "data": config.name,
        },
        "metrics": {},
        "terms": config.terms,
    }
    save_model(out, settings, states, about)
    return out


def read_stacks(path: Path) -> Iterator[Stack]:
    """The sequences of layers in a file, by whatever name and however deep in dicts.

    Nothing of the file is executed: tensors and plain containers alone are read. Raises `DcganError` if it cannot
    be read so.
    """
    layers: dict[str, dict[tuple[int, ...], dict[str, Tensor]]] = {}
    for name, tensor in flatten(load(path)):
        if match := _LAYER.fullmatch(name):
            place = tuple(map(int, match["place"].split(".")))
            layers.setdefault(match["sequence"] or "", {}).setdefault(place, {})[match["name"]] = tensor
    for name, places in layers.items():
        convolutions: list[Layer] = []
        norms: list[Layer | None] = []
        for _, layer in sorted(places.items()):
            if "weight" not in layer:
                continue
            if layer["weight"].ndim == 1 and convolutions:
                norms[-1] = layer
            else:
                convolutions.append(layer)
                norms.append(None)
        if convolutions:
            yield Stack(name, convolutions, norms)


def load(path: Path) -> object:
    """What `torch.save` put into a file, tensors on the CPU; or a safetensors file's tensors."""
    if path.suffix == ".safetensors":
        return load_tensors(path)[0]
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise DcganError(f"cannot read {path}: {error.strerror or error}") from error
    except pickle.UnpicklingError as error:
        raise DcganError(
            f"{path} holds more than tensors, such as a whole pickled network, which cannot be read without running "
            "code of its maker: save the state dict there, torch.save(netG.state_dict(), FILE)"
        ) from error
    except (RuntimeError, EOFError, KeyError, ValueError) as error:  # what a cut or foreign file makes of it
        raise DcganError(f"{path} is damaged, or was not written by torch.save") from error


def flatten(value: object, name: str = "") -> Iterator[tuple[str, Tensor]]:
    """Every tensor in nested dicts, under its keys joined by dots."""
    if isinstance(value, Tensor):
        yield name, value
    elif isinstance(value, Mapping):
        for key, part in value.items():
            yield from flatten(part, f"{name}.{key}" if name else str(key))


def stacks_of(role: str, stacks: Iterator[Stack] | Sequence[Stack]) -> list[Stack]:
    """Those that are of a role."""
    return [stack for stack in stacks if stack.role == role]


def choose(stacks: Sequence[Stack], role: str, path: Path, key: str | None) -> Stack:
    """The one stack of a role, by name if `key` gives one. `DcganError` if there is none, or more than one."""
    fitting = stacks_of(role, stacks)
    names = ", ".join(repr(stack.name) for stack in fitting)
    if key is not None:
        fitting = [stack for stack in fitting if stack.name == key]
        if not fitting:
            raise DcganError(f"{path} holds no {role} named {key!r}; it holds {names or 'none'}")
    if not fitting:
        found = "; ".join(f"{stack.name!r}: {', '.join(map(_in_words, stack.shapes))}" for stack in stacks)
        raise DcganError(
            f"{path} holds no {role} in the form of the PyTorch example, a sequence of 4x4 convolutions with "
            f"BatchNorm between; its sequences are {found or 'none'}"
        )
    if len(fitting) > 1:
        remedy = "choose one with --key" if role == "generator" else "give a file with one alone"
        raise DcganError(f"{path} holds several networks that could be the {role}: {names}; {remedy}")
    return fitting[0]


def guess_settings(generator: Stack, discriminator: Stack | None, config: ImportConfig, path: Path) -> ModelConfig:
    """The settings under which our networks are these. `DcganError` if there are none, as for another doubling."""
    preset = PRESETS[config.preset]
    if preset.get("ends", "convolution") != "convolution":
        raise DcganError(f"preset {config.preset} has fully connected ends, and the networks of {path} have not")
    for stack in filter(None, (generator, discriminator)):
        kernels = {shape[2:] for shape in stack.shapes}
        if kernels != {(4, 4)}:
            raise DcganError(f"{path}: {stack.name!r} has kernels other than 4x4")
        if any("bias" in layer for layer in stack.convolutions):
            raise DcganError(f"{path}: the convolutions of {stack.name!r} have biases, which ours have not")
        for norm in filter(None, stack.norms):
            if missing := [name for name in _NORM if name not in norm]:
                raise DcganError(
                    f"{path}: {stack.name!r} was saved without BatchNorm's {', '.join(missing)}, and its images "
                    "cannot be made without: save its whole state dict, of a network with running statistics"
                )
    size = 4 * 2 ** (len(generator.shapes) - 1)
    if size not in SIZES:
        raise DcganError(
            f"{path}: {generator.name!r} makes images of {size}x{size}, and ours are {_in_words(SIZES, ', ')} wide"
        )
    settings = ModelConfig(
        size=size,
        channels=generator.shapes[-1][1],
        latent_size=generator.shapes[0][0],
        latent=config.latent,
        generator_width=generator.shapes[-1][0],
        discriminator_width=discriminator.shapes[0][0] if discriminator else ModelConfig.discriminator_width,
        generator_activation=preset.get("generator_activation", "relu"),
    )
    found = [shape[0] for shape in generator.shapes[1:]]
    _require_channels(found, channels_of(settings.generator_width, settings.stages), generator, path)
    if discriminator is not None:
        found = [shape[0] for shape in discriminator.shapes[:-1]]
        ours = channels_of(settings.discriminator_width, settings.stages)[::-1]
        _require_channels(found, ours, discriminator, path)
        if discriminator.shapes[0][1] != settings.channels:
            raise DcganError(
                f"{path}: {discriminator.name!r} takes images of {discriminator.shapes[0][1]} channels, and "
                f"the generator makes {settings.channels}: give the two that were trained together"
            )
    return settings


def generator_state(stack: Stack, config: ModelConfig, path: Path) -> dict[str, Tensor]:
    """The state dict of our generator."""
    kernels = [layer["weight"].float() for layer in stack.convolutions]
    # Z x C x 4 x 4 to 16C x Z, in the order in which FromVector lays its maps out.
    state = {"first.0.weight": kernels[0].permute(2, 3, 1, 0).flatten(0, 2)}
    state |= _norm_state("first.1", stack.norms[0])
    for i, (kernel, norm) in enumerate(zip(kernels[1:-1], stack.norms[1:-1], strict=True)):
        state |= {f"hidden.{i}.0.weight": kernel} | _norm_state(f"hidden.{i}.1", norm)
    state["last.0.weight"] = kernels[-1]
    return _fitting(Generator, config, state, path)


def discriminator_state(stack: Stack, config: ModelConfig, path: Path) -> dict[str, Tensor]:
    """The state dict of our discriminator."""
    kernels = [layer["weight"].float() for layer in stack.convolutions]
    state = {"first.0.weight": kernels[0]}
    for i, (kernel, norm) in enumerate(zip(kernels[1:-1], stack.norms[1:-1], strict=True)):
        state |= {f"hidden.{i}.0.weight": kernel} | _norm_state(f"hidden.{i}.1", norm)
    state["last.weight"] = kernels[-1].permute(0, 2, 3, 1).flatten(1)
    return _fitting(Discriminator, config, state, path)


def _norm_state(name: str, norm: Layer | None) -> dict[str, Tensor]:
    assert norm is not None
    # Files of before torch 0.4.1 do not count batches; the count is of no use at inference.
    count = norm.get("num_batches_tracked", torch.tensor(0))
    return {**{f"{name}.{part}": norm[part].float() for part in _NORM}, f"{name}.num_batches_tracked": count}


def _fitting(
    kind: type[Generator] | type[Discriminator], config: ModelConfig, state: dict[str, Tensor], path: Path
) -> dict[str, Tensor]:
    """The state, after a check that a network takes it and that its numbers are finite."""
    with torch.device("meta"):
        network = kind(config)
    try:
        network.load_state_dict(state, assign=True)
    except RuntimeError as error:
        raise DcganError(f"{path}: its {kind.role} does not fit {dataclasses.asdict(config)}") from error
    for name, tensor in state.items():
        if not tensor.isfinite().all():
            raise DcganError(f"{path}: its {kind.role}'s {name} holds NaN or infinity")
    return {name: tensor.contiguous() for name, tensor in state.items()}


def _require_channels(found: Sequence[int], ours: Sequence[int], stack: Stack, path: Path) -> None:
    if list(found) != list(ours):
        raise DcganError(
            f"{path}: the hidden layers of {stack.name!r} have {_in_words(found, ', ')} channels; "
            f"networks here double up to 8 times: {_in_words(ours, ', ')}"
        )


def _in_words(shape: Sequence[int], by: str = "x") -> str:
    return by.join(map(str, shape))
