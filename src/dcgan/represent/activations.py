"""What a discriminator sees: the activations of all its hidden layers as one vector an image."""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dcgan.config import ModelConfig
from dcgan.data import PackedImages, open_data
from dcgan.data.packed import MANIFEST
from dcgan.draws import generator_for
from dcgan.images import Pixels, to_input
from dcgan.models import Discriminator

_BATCH = 256
_GRID = 4


@torch.inference_mode()
def features(model: Discriminator | str | Path, images: Pixels) -> Tensor:
    """Discriminator features of images, float32 N x F on the CPU (Radford et al. 2015, section 5.1).

    The activations of every hidden layer, max-pooled to 4 x 4 places, flattened and joined: F is 7,168 for a
    network of 32 x 32 with the usual width, 15,360 for 64 x 64. `images` are uint8 N x H x W x C, grey or RGB, of any
    size: they are fitted to the model's. `model` is a discriminator, or the path of a model file or run.
    """
    network = model if isinstance(model, Discriminator) else Discriminator.from_pretrained(model)
    training, device = network.training, next(network.parameters()).device
    network.eval()
    config = network.config
    rows = [torch.empty(0, dimensions(network))]
    for part in torch.from_numpy(images).split(_BATCH):
        activations = network.features(to_input(part.to(device), config.size, config.channels))
        pooled = [F.adaptive_max_pool2d(layer, _GRID).flatten(1) for layer in activations]
        rows.append(torch.cat(pooled, 1).float().cpu())
    network.train(training)
    return torch.cat(rows)


def open_images(data: str, model: Discriminator, crop: str) -> PackedImages:
    """Open a packed data set of any size as it is; what is not packed yet is packed in the model's own size."""
    if (Path(data).expanduser() / MANIFEST).is_file():
        return open_data(data)
    return open_data(data, size=model.config.size, channels=model.config.channels, crop=crop)


def dimensions(network: Discriminator) -> int:
    """Length F of a feature vector."""
    blocks = [network.first, *network.hidden]
    return sum(_GRID**2 * next(block.parameters()).shape[0] for block in blocks)


def random_discriminator(config: ModelConfig, images: Pixels, seed: int) -> Discriminator:
    """A discriminator with weights as at the start of a training, and BatchNorm statistics measured on `images`.

    Without those, its deeper layers would be nearly silent, which would be a poor thing to compare with.
    """
    network = Discriminator(config).initialize(generator_for(seed, "random discriminator", 0))
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = None  # a plain mean over batches
    with torch.no_grad():
        for part in torch.from_numpy(images).split(_BATCH):
            network(to_input(part, config.size, config.channels))
    return network.eval()
