"""Adding and subtracting faces (Radford et al. 2015, section 6.3.2 and figure 7).

A name stands for a few seeds; its vector is the mean of their latents, since a single latent is too much its own
face. What is kept is the seeds, in a file beside the model.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from dcgan.config import ArithmeticConfig, PickConfig, parse_seeds
from dcgan.device import choose_device
from dcgan.draws import generator_for
from dcgan.errors import DcganError
from dcgan.explore.files import beside, read_names, write_names
from dcgan.explore.sheets import numbered, sheet
from dcgan.images import Pixels, make_grid, save_image
from dcgan.models import Generator

_SIGN = re.compile(r"(?:^|\s)\s*([+-])(?:\s+|$)")  # apart from words, so that names may hold hyphens


class Term(NamedTuple):
    """A name in an expression, and whether it is added (1) or subtracted (-1)."""

    sign: int
    name: str


def parse_expression(text: str, known: Iterable[str]) -> list[Term]:
    """Terms of text such as `smiling woman - neutral woman + neutral man`: names joined by + and - between spaces.

    Raises `DcganError` for text of another form, and for names that are not `known`, which it lists.
    """
    parts = _SIGN.split(text.strip())
    if parts[0]:
        parts = ["", "+", *parts]
    terms = [Term(1 if sign == "+" else -1, name.strip()) for sign, name in zip(parts[1::2], parts[2::2], strict=True)]
    if not terms or not all(term.name for term in terms):
        raise DcganError(f"{text!r} is no sum: join names by + and - with spaces around, such as a - b + c")
    known = list(known)
    unknown = dict.fromkeys(repr(term.name) for term in terms if term.name not in known)
    if unknown:
        told = ", ".join(known) if known else "none yet; save some with `dcgan pick`"
        raise DcganError(f"there is no name {', '.join(unknown)}; known are: {told}")
    return terms


def add_up(generator: Generator, terms: Sequence[Term], names: Mapping[str, Sequence[int]]) -> Tensor:
    """The sum, Z numbers, of each term's mean latent."""
    means = [term.sign * generator.latents(names[term.name]).mean(0) for term in terms]
    return torch.stack(means).sum(0)


def jittered(latent: Tensor, amount: float, seed: int = 0) -> Tensor:
    """`latent` (Z) among eight neighbours, 9 x Z, itself the fifth: uniform noise in [-amount, amount] is added."""
    draws = generator_for(seed, "arithmetic neighbours", 0)
    noise = (torch.rand(9, len(latent), generator=draws) * 2 - 1) * amount
    noise[4] = 0
    return latent + noise


def arithmetic(config: ArithmeticConfig) -> tuple[Path, Tensor]:
    """Draw what `config.expression` comes to beside what it is made of; returns the picture's path and the latent."""
    generator = Generator.from_pretrained(config.model).to(choose_device(config.device))
    file = Path(config.file) if config.file else beside(config.model, "names.json")
    names = read_names(file, generator)
    terms = parse_expression(config.expression, names)
    latent = add_up(generator, terms, names)
    result = generator.render(jittered(latent, config.jitter, config.seed))
    columns = [generator.sample(names[term.name]) for term in terms]
    means = [generator.render(generator.latents(names[term.name]).mean(0, keepdim=True))[0] for term in terms]
    titles = [f"{'+' if term.sign > 0 else '-'} {term.name}" for term in terms]
    titles[0] = titles[0].removeprefix("+ ")
    save_image(Path(config.out), figure(columns, means, result, titles))
    return Path(config.out), latent


def figure(columns: Sequence[Pixels], means: Sequence[Pixels], result: Pixels, titles: Sequence[str]) -> Pixels:
    """The paper's figure: a column of samples for each term, its mean below; on the right the result, 3 x 3."""
    height = max(3, *(len(column) for column in columns))
    cells: list[list[Pixels | None]] = []
    for row in range(height):
        samples = [column[row] if row < len(column) else None for column in columns]
        cells.append([*samples, None, *(result[3 * row : 3 * row + 3] if row < 3 else ())])
    cells.append(list(means))
    return sheet(cells, [""] * height + ["mean"], [*titles, "", "", "result"])


def pick(config: PickConfig) -> tuple[Path, dict[str, list[int]]]:
    """Save a name for seeds or, without a name, draw the numbered grid; returns what was written and all names."""
    generator = Generator.from_pretrained(config.model).to(choose_device(config.device))
    file = Path(config.file) if config.file else beside(config.model, "names.json")
    names = read_names(file, generator)
    if not config.name:
        numbers = parse_seeds(config.seeds) if config.seeds else list(range(config.first, config.first + config.count))
        save_image(Path(config.out), make_grid(numbered(generator.sample(numbers), numbers)))
        return Path(config.out), names
    if config.seeds is None:
        raise DcganError(f"give --seeds, the numbers that {config.name!r} stands for")
    name = " ".join(config.name.split())
    if _SIGN.search(name):
        raise DcganError(f"{name!r} cannot be told from a sum: leave out + and - with spaces around")
    names[name] = parse_seeds(config.seeds)
    write_names(file, generator, names)
    return file, names
