"""Directions in the latent space along which an attribute changes, learned from scored samples.

For latents from N(0, I) the least-squares coefficients of a score on z are, up to noise, the mean gradient of the
score with respect to z (Stein's lemma), so the direction is the one along which the score rises fastest on average.
Made orthogonal to another attribute's, it leaves that attribute's linear part alone (Shen et al. 2020, section 3.2).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from dcgan.classify import Classifier, measure, train_classifier
from dcgan.config import DirectionsConfig, EditConfig, parse_amounts, parse_list
from dcgan.data import open_data
from dcgan.device import choose_device
from dcgan.draws import generator_for
from dcgan.errors import DcganError
from dcgan.explore.files import Direction, beside, gather_latents, read_directions, write_directions
from dcgan.explore.latents import deviation, move
from dcgan.explore.sheets import sheet, signed
from dcgan.images import Pixels, save_image
from dcgan.models import Generator

Score = Callable[[Pixels], Tensor]
"""Scores N x L of uint8 images N x H x W x C."""
_CHUNK = 512  # generated images in memory at a time


def fit_directions(latents: Tensor, scores: Tensor) -> tuple[Tensor, Tensor]:
    """Unit directions L x Z along which scores (N x L) rise with latents (N x Z), and how linear each score is.

    Least squares, after scores are cut off at 3 standard deviations from their median (a scorer is at times far too
    sure of itself). The second result, L numbers, is the correlation of the linear prediction with the score on a
    fifth of the latents that the fit for it left out: 0 says that the direction means nothing.
    """
    middle, spread = scores.median(0).values, scores.std(0)
    scores = torch.maximum(torch.minimum(scores, middle + 3 * spread), middle - 3 * spread)
    held_out = torch.arange(len(latents)) % 5 == 0
    tried = _least_squares(latents[~held_out], scores[~held_out])
    predicted = latents[held_out].double() @ tried
    pairs = zip(predicted.T, scores[held_out].double().T, strict=True)
    linearity = torch.tensor([torch.corrcoef(torch.stack(pair))[0, 1].nan_to_num().item() for pair in pairs])
    return torch.nn.functional.normalize(_least_squares(latents, scores).T).float(), linearity


def _least_squares(latents: Tensor, scores: Tensor) -> Tensor:
    """Coefficients Z x L, float64, of scores N x L on latents N x Z and a constant."""
    z, s = latents.double(), scores.double()
    # The one-hot of a conditional model's classes adds up to a constant: of all solutions, the shortest is wanted.
    coefficients: Tensor = torch.linalg.lstsq(z - z.mean(0), s - s.mean(0), rcond=1e-9, driver="gelsd").solution
    return coefficients


def orthogonalize(vector: Tensor, others: Sequence[Tensor]) -> Tensor:
    """The unit vector nearest to `vector` (Z) that is orthogonal to all `others`.

    Raises `DcganError` if nothing is left of it.
    """
    if not others:
        return vector
    basis, _ = torch.linalg.qr(torch.stack(list(others), 1).double())
    left = vector.double() - basis @ (basis.T @ vector.double())
    if left.norm() < 1e-3 * vector.norm():
        raise DcganError("a direction lies within those it should be orthogonal to: nothing is left of it")
    unit: Tensor = (left / left.norm()).float()
    return unit


def learn_directions(
    generator: Generator,
    score: Score,
    names: Sequence[str],
    *,
    orthogonal_to: Sequence[str] = (),
    attributes: Sequence[str] | None = None,
    known: Mapping[str, Tensor] | None = None,
    count: int = 4000,
    seed: int = 0,
) -> dict[str, Direction]:
    """Directions of the scores called `names`, from `count` samples of the generator.

    `attributes` are those wanted (default: all but `orthogonal_to`); each is made orthogonal to those of
    `orthogonal_to`, which may also be of the unit vectors `known`. Raises `DcganError` for unknown names.
    """
    known = known or {}
    wanted = [name for name in names if name not in orthogonal_to] if attributes is None else attributes
    for name in [name for name in wanted if name not in names]:
        raise DcganError(f"there is no attribute {name!r}; the scorer knows {', '.join(names)}")
    for name in [name for name in orthogonal_to if name not in (*names, *known)]:
        raise DcganError(f"there is no attribute or direction {name!r}; known are: {', '.join((*names, *known))}")
    latents = generator.random_latents([count], generator_for(seed, "directions", 0))
    scores = torch.cat([score(generator.render(chunk)) for chunk in latents.split(_CHUNK)])
    vectors, linearity = fit_directions(latents, scores)
    found = {**known, **dict(zip(names, vectors, strict=True))}
    directions = {}
    for name in wanted:
        others = [other for other in orthogonal_to if other != name]
        vector = orthogonalize(found[name], [found[other] for other in others])
        about = {"linearity": round(linearity[names.index(name)].item(), 4), "orthogonal_to": others, "samples": count}
        directions[name] = Direction(vector, about)
    return directions


def effects(
    generator: Generator, score: Score, vectors: Tensor, *, amount: float = 2.0, count: int = 500, seed: int = 0
) -> Tensor:
    """What K directions (K x Z) do to L scores, K x L: the mean change from -amount to +amount, over `count` samples.

    In standard deviations of each score over unchanged samples; `amount` in standard deviations of z.
    """
    latents = generator.random_latents([count], generator_for(seed, "effects", 0))
    spread = score(generator.render(latents)).std(0).clamp_min(1e-6)
    step = amount * deviation(generator.config.latent)
    rows = []
    for vector in vectors:
        more, less = (score(generator.render(latents + sign * step * vector)) for sign in (1, -1))
        rows.append((more - less).mean(0) / spread)
    return torch.stack(rows)


def strips(
    generator: Generator, latents: Tensor, amounts: Mapping[str, float], vectors: Mapping[str, Tensor], shares: Tensor
) -> list[list[Pixels]]:
    """For each latent of N x Z the images, uint8 H x W x C, of it moved by each share (S) of `amounts`: N x S."""
    full = move(torch.zeros(1, latents.shape[1]), vectors, amounts, generator.config.latent)
    moved = latents[:, None] + shares[:, None] * full
    pixels = generator.render(moved.reshape(-1, latents.shape[1]))
    return [list(row) for row in pixels.reshape(*moved.shape[:2], *pixels.shape[1:])]


def directions(config: DirectionsConfig) -> tuple[Path, dict[str, Direction], dict[str, float]]:
    """Learn the directions `config` asks for, add them to the file, and draw strips along them.

    Returns the file, what was added to it, and how well the scorer reads images it had not seen.
    """
    device = choose_device(config.device)
    generator = Generator.from_pretrained(config.model).to(device)
    path = Path(config.file) if config.file else beside(config.model, "directions.safetensors")
    stored = read_directions(path, generator)  # before the work, as it may be another model's
    scorer = _scorer(config, generator.config.channels, device)
    names = [label.name for label in scorer.labels]

    def score(pixels: Pixels) -> Tensor:
        return scorer.scores(cut_out(pixels, config.box))

    found = learn_directions(
        generator,
        score,
        names,
        orthogonal_to=parse_list(config.orthogonal_to or ""),
        attributes=parse_list(config.attributes) if config.attributes else None,
        known={name: direction.vector for name, direction in stored.items()},
        count=config.count,
        seed=config.seed,
    )
    matrix = effects(generator, score, torch.stack([d.vector for d in found.values()]), seed=config.seed)
    for direction, row in zip(found.values(), matrix, strict=True):
        measured = {name: round(effect, 3) for name, effect in zip(names, row.tolist(), strict=True)}
        direction.about.update(effects=measured, scorer=scorer.digest)
    write_directions(path, generator, {**stored, **found})
    amounts = torch.arange(-3, 4)
    vectors = {name: direction.vector for name, direction in found.items()}
    rows = [strips(generator, generator.latents([0]), {name: 1.0}, vectors, amounts)[0] for name in found]
    save_image(Path(config.out), sheet(rows, list(found), [signed(amount) for amount in amounts.tolist()]))
    return path, found, scorer.about.get("measured", {})


def cut_out(pixels: Pixels, box: tuple[float, float, float, float]) -> Pixels:
    """The part of images N x H x W x C between left, top, right and bottom, in shares of their size."""
    _, height, width, _ = pixels.shape
    (left, right), (top, bottom) = ([round(edge * size) for edge in box[i::2]] for i, size in ((0, width), (1, height)))
    return pixels[:, top:bottom, left:right]


def edit(config: EditConfig) -> Path:
    """Write a picture of faces moved along directions, a row for each face."""
    generator = Generator.from_pretrained(config.model).to(choose_device(config.device))
    path = Path(config.file) if config.file else beside(config.model, "directions.safetensors")
    stored = read_directions(path, generator)
    if not stored:
        raise DcganError(f"{path} holds no directions: find some with `dcgan directions` or `dcgan principal`")
    latents, names = gather_latents(generator, config.seeds, config.latents, "0-7")
    last = config.steps - 1
    shares = torch.arange(-last if config.both else 0, last + 1) / last
    amounts = parse_amounts(config.direction)
    rows = strips(generator, latents, amounts, {name: d.vector for name, d in stored.items()}, shares)
    heads = [" ".join(signed(share * amount) for amount in amounts.values()) for share in shares.tolist()]
    save_image(Path(config.out), sheet(rows, names, heads))
    return Path(config.out)


def _scorer(config: DirectionsConfig, channels: int, device: torch.device) -> Classifier:
    """The scorer in the file `config.labels`, or one trained on the labelled images there."""
    if config.labels.endswith(".safetensors"):
        return Classifier.load(config.labels).to(device)
    data = open_data(config.labels)
    some = data.read(np.linspace(0, len(data) - 1, 64).astype(int))
    if channels == data.channels == 3 and (some == some[..., :1]).all():
        raise DcganError(
            f"{config.labels} holds grey images in colour, which says nothing of images in colour: pack it with "
            "`dcgan prepare ... --channels 1` and give that"
        )
    scorer = train_classifier(
        data, np.asarray(data.training_indices), epochs=config.epochs, seed=config.seed, device=device, progress=True
    )
    if len(data.held_out_indices):
        scorer.about["measured"] = measure(scorer, data, np.asarray(data.held_out_indices))
    if config.scorer:
        scorer.save(config.scorer)
    return scorer
