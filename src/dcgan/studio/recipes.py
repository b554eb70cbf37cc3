"""Faces as text: short enough for a link, exact enough to give the same bytes again.

    42                       seed 42;  42t0.7 is the same with truncation 0.7
    z3q2-7w...               the latent itself: its float32, little-endian, in base64url
    (42~7@0.35)              a third of the way from 42 to 7, on the great circle between them (labels: straight)
    (42~7~9@0.5)             half way round the loop through three faces or more
    42+smile:1.5+hat:-1      moved along named directions, in standard deviations of z
    42!glasses:1!age:30      told labels, in their own units; a class (`hair%3Dred:1`) takes the place of its group's

They nest: `((42~7@0.5)+smile:1~z3q2...@0.2)` is one face. In a name, all but letters, digits, - _ and . is
percent-encoded.
"""

from __future__ import annotations

import base64
import binascii
import math
import re
from collections.abc import Mapping
from urllib.parse import unquote

import numpy as np
import torch
from torch import Tensor

from dcgan.config import ModelConfig
from dcgan.errors import DcganError
from dcgan.explore import move
from dcgan.explore.latents import between_latents, walk_of_model
from dcgan.models import Generator

FRAMES_A_STEP = 60
"""Of a loop, from one face to the next: two seconds at 30 frames a second."""
MOST_KEYS = 12
_DEEPEST, _MOST_PARTS, _LONGEST = 6, 64, 16_384
_LARGEST_AMOUNT, _LARGEST_NUMBER = 20.0, 100.0
_NUMBER = r"-?\d{1,6}(?:\.\d{1,9})?"
_SEED = re.compile(rf"(\d{{1,19}})(?:t({_NUMBER}))?", re.ASCII)
_LATENT = re.compile(r"z([\w-]+)=*", re.ASCII)
_SHARE = re.compile(rf"@({_NUMBER})\)", re.ASCII)
_EDIT = re.compile(rf"\+([\w.%-]+):({_NUMBER})", re.ASCII)
_LABEL = re.compile(r"!([\w.%-]+):(-?\d{1,12}(?:\.\d{1,12})?)", re.ASCII)


def read_latent(text: str, generator: Generator, directions: Mapping[str, Tensor]) -> Tensor:
    """The latent (Z, conditional: Z + L) that `text` means for this generator.

    Raises `DcganError` that says where it is wrong.
    """
    if len(text) > _LONGEST:
        raise DcganError(f"a face of {len(text)} characters is too long: {_LONGEST} are the most")
    reader = _Reader(text, generator, directions)
    latent = reader.face(0)
    if reader.at < len(text):
        raise reader.wrong("the end")
    return latent


def write_latent(latent: Tensor) -> str:
    """The text of a latent, from which `read_latent` gives it back to the bit."""
    data = latent.detach().cpu().numpy().astype("<f4").tobytes()
    return "z" + base64.urlsafe_b64encode(data).decode().rstrip("=")


def path_between(keys: Tensor, config: ModelConfig, loop: bool) -> Tensor:
    """A walk through `keys` (K x Z): `FRAMES_A_STEP` points a step, and for no loop the last key; F x Z."""
    return walk_of_model(keys, FRAMES_A_STEP, config, loop=loop)


class _Reader:
    """A recursive descent over one text."""

    def __init__(self, text: str, generator: Generator, directions: Mapping[str, Tensor]) -> None:
        self.text, self.generator, self.directions = text, generator, directions
        self.config = generator.config
        self.at = self.parts = 0

    def face(self, depth: int) -> Tensor:
        """What stands at `self.at`, which is moved behind it."""
        self.count(depth)
        if self.text.startswith("(", self.at):
            latent = self.mix(depth)
        elif match := self.take(_SEED):
            latent = self.seed(match)
        elif match := self.take(_LATENT):
            latent = self.latent(match[1])
        else:
            raise self.wrong("a seed, a latent or (")
        while True:
            if match := self.take(_EDIT):
                latent = self.moved(latent, match)
            elif match := self.take(_LABEL):
                latent = self.labelled(latent, match)
            else:
                return latent

    def moved(self, latent: Tensor, match: re.Match[str]) -> Tensor:
        name, amount = unquote(match[1]), float(match[2])
        if abs(amount) > _LARGEST_AMOUNT:
            raise DcganError(f"the amount of {name!r} must be within {_LARGEST_AMOUNT:.0f}, not {amount:g}")
        return move(latent, self.directions, {name: amount}, self.config.latent)

    def labelled(self, latent: Tensor, match: re.Match[str] | None) -> Tensor:
        """The latent with all labels set that stand here in a row, of which `match` is the first."""
        self.count(0)
        condition = {}
        while match:
            condition[unquote(match[1])] = float(match[2])
            match = self.take(_LABEL)
        if self.generator.code is None:
            raise DcganError(f"the model was trained without labels, so it knows no {next(iter(condition))!r}")
        return self.generator.with_condition(latent[None], condition)[0]

    def count(self, depth: int) -> None:
        """Bound the work that a text may ask for."""
        self.parts += 1
        if depth > _DEEPEST or self.parts > _MOST_PARTS:
            raise DcganError(f"a face may be mixed {_DEEPEST} deep, of {_MOST_PARTS} parts at most: use its latent")

    def mix(self, depth: int) -> Tensor:
        self.at += 1
        keys = [self.face(depth + 1)]
        while self.text.startswith("~", self.at):
            self.at += 1
            keys.append(self.face(depth + 1))
        match = self.take(_SHARE)
        if match is None or not 2 <= len(keys) <= MOST_KEYS:
            raise self.wrong(f"2 to {MOST_KEYS} faces joined by ~, then @ and a share and )")
        share = float(match[1])
        if not 0 <= share <= 1:
            raise DcganError(f"a share must be from 0 to 1, not {share:g}")
        return self.point(torch.stack(keys), share)

    def point(self, keys: Tensor, share: float) -> Tensor:
        """The point at `share` of the way from one key to another, or of the loop through several."""
        if len(keys) > 2:
            path = path_between(keys, self.config, loop=True)
            return path[round(share * len(path)) % len(path)]
        if share in (0, 1):  # to the bit, where the formula is off by a rounding
            return keys[round(share)]
        return between_latents(keys[0], keys[1], torch.tensor([share]), self.config)

    def seed(self, match: re.Match[str]) -> Tensor:
        seed, truncation = int(match[1]), None if match[2] is None else float(match[2])
        if seed >= 2**63 or (truncation is not None and truncation <= 0):
            raise DcganError(f"{match[0]} is no seed: it must be below 2**63, and a truncation above 0")
        return self.generator.latents([seed], truncation)[0]

    def latent(self, text: str) -> Tensor:
        try:
            data = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
        except (binascii.Error, ValueError) as error:
            raise self.wrong("base64") from error
        if len(data) != 4 * self.config.input_size:
            given, wanted = len(data) / 4, self.config.input_size
            raise DcganError(f"the latent has {given:g} numbers, but this model's have {wanted}")
        numbers = np.frombuffer(data, "<f4").astype(np.float32)
        if not math.isfinite(float(np.abs(numbers).sum())) or float(np.abs(numbers).max()) > _LARGEST_NUMBER:
            raise DcganError(f"the latent holds numbers beyond {_LARGEST_NUMBER:.0f}, which no face has")
        return torch.from_numpy(numbers)

    def take(self, pattern: re.Pattern[str]) -> re.Match[str] | None:
        match = pattern.match(self.text, self.at)
        if match:
            self.at = match.end()
        return match

    def wrong(self, wanted: str) -> DcganError:
        found = self.text[self.at : self.at + 12] or "the end"
        return DcganError(f"a face's text has {found!r} at character {self.at + 1}, where {wanted} should be")
