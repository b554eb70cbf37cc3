"""The training step: the mathematics of the paper, restated independently."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch
import torch.nn.functional as F

from dcgan.config import PRESETS, TrainConfig
from dcgan.data import PackedImages
from dcgan.draws import draw_latents, generator_for
from dcgan.images import to_signed
from dcgan.train.loop import Trainer

Make = Callable[..., TrainConfig]


def trainer(config: TrainConfig, data: PackedImages, tmp_path: Path) -> Trainer:
    return Trainer(config, data, tmp_path, torch.device("cpu"))


def reference_step(
    ours: Trainer, generator: torch.nn.Module, discriminator: torch.nn.Module, optimizers: list[torch.optim.Optimizer]
) -> tuple[float, float]:
    """One step as the PyTorch tutorial writes it, on the batch and the latents that belong to this step."""
    config = ours.config
    real = ours.batches.real_images(ours.state.step)
    latents = draw_latents(
        (config.batch, config.latent_size), "normal", generator_for(0, "training latents", ours.state.step)
    )
    ones, zeros = torch.ones(config.batch), torch.zeros(config.batch)
    discriminator.zero_grad()
    error_real = F.binary_cross_entropy(torch.sigmoid(discriminator(real)), ones)
    error_real.backward()
    fake = generator(latents)
    error_fake = F.binary_cross_entropy(torch.sigmoid(discriminator(fake.detach())), zeros)
    error_fake.backward()
    optimizers[0].step()
    generator.zero_grad()
    error_generator = F.binary_cross_entropy(torch.sigmoid(discriminator(fake)), ones)
    error_generator.backward()
    optimizers[1].step()
    return (error_real + error_fake).item(), error_generator.item()


@pytest.mark.parametrize("preset", ["paper", "sgd-discriminator"])
def test_a_step_is_the_tutorials_step(tiny: Make, faces32: PackedImages, tmp_path: Path, preset: str) -> None:
    config = tiny(size=32, channels=3, precision="float32", **PRESETS[preset])
    ours = trainer(config, faces32, tmp_path)
    generator, discriminator = copy.deepcopy(ours.state.generator), copy.deepcopy(ours.state.discriminator)
    if preset == "paper":
        of_d: torch.optim.Optimizer = torch.optim.Adam(discriminator.parameters(), 2e-4, betas=(0.5, 0.999))
        of_g = torch.optim.Adam(generator.parameters(), 2e-4, betas=(0.5, 0.999))
    else:
        of_d = torch.optim.SGD(discriminator.parameters(), 1.5e-4, momentum=0.9)
        of_g = torch.optim.Adam(generator.parameters(), 1.5e-4, betas=(0.5, 0.999))
    for _ in range(3):
        ours.state.metric_sums.zero_()
        losses = reference_step(ours, generator, discriminator, [of_d, of_g])
        ours.train_step()
        torch.testing.assert_close(ours.state.metric_sums[:2], torch.tensor(losses), rtol=1e-4, atol=1e-5)
    for mine, theirs in ((ours.state.generator, generator), (ours.state.discriminator, discriminator)):
        torch.testing.assert_close(dict(mine.state_dict()), dict(theirs.state_dict()), rtol=1e-3, atol=2e-5)


def test_every_epoch_shows_each_training_image_once(tiny: Make, faces32: PackedImages, tmp_path: Path) -> None:
    config = tiny(size=32, channels=3, batch=7, flip=False)
    ours = trainer(config, faces32, tmp_path)
    shown = []
    for ours.state.step in range(18):  # 126 images: two epochs of 60 and a bit
        shown += [image.numpy().tobytes() for image in ours.batches.real_images(ours.state.step)]
    everything = {image.tobytes() for image in _signed(faces32)}
    assert set(shown[:60]) == set(shown[60:120]) == everything
    assert shown[:60] != shown[60:120]


def test_a_batch_may_be_larger_than_the_data(tiny: Make, faces32: PackedImages, tmp_path: Path) -> None:
    ours = trainer(tiny(size=32, channels=3, batch=150, flip=False), faces32, tmp_path)
    shown = [image.numpy().tobytes() for image in ours.batches.real_images(ours.state.step)]
    assert all(shown.count(image.tobytes()) in (2, 3) for image in _signed(faces32))


def test_mirroring_mirrors_about_half(tiny: Make, faces32: PackedImages, tmp_path: Path) -> None:
    plain = trainer(tiny(size=32, channels=3, batch=60, flip=False), faces32, tmp_path).batches.real_images(0)
    mixed = trainer(tiny(size=32, channels=3, batch=60, flip=True), faces32, tmp_path).batches.real_images(0)
    same = (plain == mixed).flatten(1).all(1)
    mirrored = (plain.flip(3) == mixed).flatten(1).all(1)
    assert (same | mirrored).all()
    assert 15 < mirrored.sum() < 45


def test_the_hacks_are_as_described(tiny: Make, faces32: PackedImages, tmp_path: Path) -> None:
    config = tiny(
        size=32,
        channels=3,
        batch=2000,
        input_noise_kimg=4.0,
        **{name: value for name, value in PRESETS["ganhacks"].items() if name != "input_noise_kimg"},
    )
    ours = trainer(config, faces32, tmp_path)
    real, fake = ours.batches.targets(0)
    torch.testing.assert_close(real.unique(), torch.tensor([0.0, 0.9]))
    torch.testing.assert_close(fake.unique(), torch.tensor([0.0, 0.9]))
    assert (real == 0).float().mean() == pytest.approx(0.05, abs=0.02)
    assert (fake != 0).float().mean() == pytest.approx(0.05, abs=0.02)

    seen: list[torch.Tensor] = []
    ours.state.discriminator.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    still = torch.zeros(2000, 3, 32, 32)
    for ours.state.step in (0, 1, 2):  # at 0, 2 and 4 kimg
        view = ours.batches(ours.state.step).views["real"]
        ours.discriminate(ours.state.discriminator, still, view)
    assert [round(images.std().item(), 3) for images in seen] == [0.1, 0.05, 0.0]


def test_the_generators_step_leaves_no_gradient_in_the_discriminator(
    tiny: Make, faces32: PackedImages, tmp_path: Path
) -> None:
    ours = trainer(tiny(size=32, channels=3, precision="float32"), faces32, tmp_path)
    ours.train_step()
    kept = {name: p.grad.clone() for name, p in ours.state.discriminator.named_parameters() if p.grad is not None}
    twin = trainer(ours.config, faces32, tmp_path)
    twin.state.generator_optimizer.step = lambda *_: None  # type: ignore[method-assign, assignment]
    twin.train_step()
    assert kept
    assert all(p.requires_grad for p in ours.state.discriminator.parameters())
    for name, parameter in twin.state.discriminator.named_parameters():
        assert torch.equal(kept[name], parameter.grad)  # type: ignore[arg-type]


def _signed(data: PackedImages) -> npt.NDArray[np.float32]:
    signed: npt.NDArray[np.float32] = to_signed(torch.from_numpy(data.read(data.training_indices))).numpy()
    return signed
