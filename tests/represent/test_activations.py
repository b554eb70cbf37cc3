"""Discriminator features: what they are made of, and what they do not depend on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

import dcgan
from dcgan.config import ModelConfig
from dcgan.draws import generator_for
from dcgan.errors import DcganError
from dcgan.images import to_signed
from dcgan.models import Discriminator
from dcgan.represent.activations import random_discriminator

IMAGES = np.random.default_rng(0).integers(0, 256, (9, 32, 32, 3)).astype(np.uint8)


@pytest.fixture(scope="module")
def model() -> Discriminator:
    config = ModelConfig(size=32, discriminator_width=4, generator_width=4, latent_size=4)
    return Discriminator(config).initialize(generator_for(0, "d", 0)).eval()


def test_every_hidden_layer_is_there_as_the_maxima_of_4x4_places(model: Discriminator) -> None:
    found = dcgan.features(model, IMAGES)
    with torch.no_grad():
        first, second, third = model.features(to_signed(torch.from_numpy(IMAGES)))
    assert found.shape == (9, 16 * (4 + 8 + 16))
    assert found.dtype == torch.float32
    by_hand = [
        first.reshape(9, 4, 4, 4, 4, 4).amax((3, 5)),
        second.reshape(9, 8, 4, 2, 4, 2).amax((3, 5)),
        third,
    ]
    torch.testing.assert_close(found, torch.cat([layer.flatten(1) for layer in by_hand], 1))


def test_the_paper_s_length(model: Discriminator) -> None:
    assert dcgan.features(Discriminator(ModelConfig(size=32)), IMAGES[:1]).shape == (1, 7168)
    assert dcgan.features(Discriminator(ModelConfig()), IMAGES[:0]).shape == (0, 15360)


def test_an_image_s_features_do_not_depend_on_its_company(model: Discriminator) -> None:
    model.train()
    many = np.concatenate([IMAGES] * 40)
    found = dcgan.features(model, many)
    torch.testing.assert_close(found[-9:], dcgan.features(model, IMAGES), atol=1e-5, rtol=1e-5)
    assert model.training
    model.eval()


def test_images_are_fitted_to_the_model(model: Discriminator, tmp_path: Path) -> None:
    grey = IMAGES[..., :1]
    same = dcgan.features(model, grey.repeat(3, 3))
    assert torch.equal(dcgan.features(model, grey), same)
    large = dcgan.features(model, grey.repeat(2, 1).repeat(2, 2))
    assert torch.nn.functional.cosine_similarity(large, same).min() > 0.97
    model.save_pretrained(tmp_path)
    assert torch.equal(dcgan.features(tmp_path, grey), same)
    with pytest.raises(DcganError, match="not ones of 2 channels"):
        dcgan.features(model, IMAGES[..., :2])


def test_a_random_discriminator_s_layers_are_all_heard(model: Discriminator) -> None:
    network = random_discriminator(model.config, IMAGES, 0)
    with torch.no_grad():
        layers = network.features(to_signed(torch.from_numpy(IMAGES)))
    for layer in layers[1:]:  # after BatchNorm: about unit deviation before the LeakyReLU, so about 0.6 after it
        assert 0.3 < layer.std() < 1.0
    again, other = (random_discriminator(model.config, IMAGES, seed) for seed in (0, 1))
    assert torch.equal(dcgan.features(network, IMAGES), dcgan.features(again, IMAGES))
    assert not torch.equal(dcgan.features(network, IMAGES), dcgan.features(other, IMAGES))
