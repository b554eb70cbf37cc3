"""The directions in which images change most, found without labels.

Either in closed form from the first layer's weights (Shen and Zhou 2021, "closed-form factorization"), or from the
principal components of early features of samples, regressed onto z (Harkonen et al. 2020, section 2.2).
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from dcgan.config import PrincipalConfig, parse_seeds
from dcgan.convolution import FromVector
from dcgan.device import choose_device
from dcgan.draws import generator_for
from dcgan.errors import DcganError
from dcgan.explore.directions import strips
from dcgan.explore.files import Direction, beside, read_directions, write_directions
from dcgan.explore.sheets import sheet, signed
from dcgan.images import save_image
from dcgan.models import SAMPLE_BATCH, Generator


def first_layer(generator: Generator) -> Tensor:
    """The first layer as a matrix, 16C x Z on the CPU: how its C x 4 x 4 outputs, before ReLU, change with z.

    Its weights, each channel scaled by its BatchNorm's gamma / sigma. Of a conditional model it is 16C x (Z + L), the
    embedding of the labels being a part of it.
    """
    layer, norm = generator.first[0], generator.first[1]
    assert isinstance(layer, FromVector)
    assert isinstance(norm, nn.BatchNorm2d)
    assert norm.running_var is not None
    scale = norm.weight / (norm.running_var + norm.eps).sqrt()
    weight = layer.weight.unflatten(0, (16, -1)) * scale[:, None]  # rows are in the order 4 x 4 x C
    matrix: Tensor = weight.flatten(0, 1).detach().double().cpu()
    if generator.embedding is None:
        return matrix
    of_z, of_labels = matrix.tensor_split([generator.config.latent_size], dim=1)
    return torch.cat([of_z, of_labels @ generator.embedding.weight.detach().double().cpu()], 1)


def from_weights(generator: Generator, count: int) -> tuple[Tensor, Tensor]:
    """The `count` unit directions count x Z that change the first layer's output A z most, strongest first.

    They are the eigenvectors of A'A with the largest eigenvalues; the second result is each one's share of their sum.
    The labels of a conditional model stay as they are along them: directions are count x (Z + L), with 0 there.
    """
    matrix = first_layer(generator)[:, : generator.config.latent_size]
    values, vectors = torch.linalg.eigh(matrix.T @ matrix)
    directions = _signed(vectors.T.flip(0)[:count].float())
    return _keeping_labels(generator, directions), (values / values.sum()).flip(0)[:count].float()


def from_features(
    generator: Generator, count: int, *, layer: int = 1, samples: int = 2000, seed: int = 0
) -> tuple[Tensor, Tensor]:
    """Unit directions count x Z towards the principal components of the features after `layer` hidden layers.

    The second result is each component's share of the features' variance.
    """
    if layer > len(generator.hidden):
        raise DcganError(f"layer must be at most {len(generator.hidden)}, the model's hidden layers, not {layer}")
    device = next(generator.parameters()).device
    latents = generator.random_latents([samples], generator_for(seed, "principal", 0))
    with torch.no_grad():
        early = torch.nn.Sequential(generator.first, generator.hidden[:layer]).eval()
        parts = latents.to(device).split(SAMPLE_BATCH)
        features = torch.cat([early(generator.embed(part)).flatten(1).cpu() for part in parts])
    # Fewer samples than features: the eigenvectors of the samples' own products are the components' scores.
    features -= features.mean(0)
    values, vectors = torch.linalg.eigh((features @ features.T).double())
    scores = vectors.flip(1)[:, :count]
    z = latents[:, : generator.config.latent_size].double()
    directions = torch.linalg.lstsq(scores - scores.mean(0), z - z.mean(0)).solution
    directions = _signed(torch.nn.functional.normalize(directions).float())
    return _keeping_labels(generator, directions), (values / values.sum()).flip(0)[:count].float()


def named(method: str, vectors: Tensor, shares: Tensor) -> dict[str, Direction]:
    """Directions K x Z and their shares, K, by the names they are kept under: weights-1, weights-2, ..."""
    return {
        f"{method}-{number}": Direction(vector, {"method": method, "share": round(share, 4)})
        for number, (vector, share) in enumerate(zip(vectors, shares.tolist(), strict=True), 1)
    }


def _keeping_labels(generator: Generator, directions: Tensor) -> Tensor:
    """Directions K x Z as K x (Z + L), along which labels do not change."""
    return torch.nn.functional.pad(directions, (0, len(generator.config.labels)))


def _signed(vectors: Tensor) -> Tensor:
    """Vectors K x Z, each of the sign that makes its largest number positive: an eigenvector has none of its own."""
    largest = vectors.gather(1, vectors.abs().argmax(1, keepdim=True))
    return vectors * largest.sign()


def principal(config: PrincipalConfig) -> tuple[Path, dict[str, Direction]]:
    """Find the directions `config` asks for, add them to the file of directions, and draw strips along them."""
    generator = Generator.from_pretrained(config.model).to(choose_device(config.device))
    path = Path(config.file) if config.file else beside(config.model, "directions.safetensors")
    stored = read_directions(path, generator)
    size = generator.config.latent_size
    if config.count > size:
        raise DcganError(f"count must be at most {size}, the numbers in z, not {config.count}")
    if config.method == "weights":
        vectors, shares = from_weights(generator, config.count)
    else:
        vectors, shares = from_features(generator, config.count, layer=config.layer, samples=config.samples)
    found = named(config.method, vectors, shares)
    write_directions(path, generator, {**stored, **found})
    seeds = parse_seeds(config.seeds)
    amounts = config.reach * (torch.arange(config.steps) * 2 / (config.steps - 1) - 1)
    moves = {name: direction.vector for name, direction in found.items()}
    rows, labels = [], []
    for name in found:
        rows += strips(generator, generator.latents(seeds), {name: 1.0}, moves, amounts)
        labels += [name if len(seeds) == 1 else f"{name} seed {seed}" for seed in seeds]
    save_image(Path(config.out), sheet(rows, labels, [signed(amount) for amount in amounts.tolist()]))
    return path, found
