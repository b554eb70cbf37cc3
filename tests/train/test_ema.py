"""The moving average: its half-life is what it says, and BatchNorm's statistics belong to it."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from dcgan.train.ema import ema_decay, update_average


def test_after_one_half_life_half_of_the_old_is_left() -> None:
    steps = 10_000 // 50
    assert ema_decay(10**9, 50, half_life=10_000, rampup=0.05) ** steps == pytest.approx(0.5)


def test_early_on_the_half_life_is_a_share_of_what_was_shown() -> None:
    assert ema_decay(2_000, 50, half_life=10_000, rampup=0.05) == pytest.approx(0.5 ** (50 / 100))
    assert ema_decay(0, 50, half_life=10_000, rampup=0.05) == 0


def test_the_average_is_that_of_the_weights_and_of_the_statistics() -> None:
    network = nn.Sequential(nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3))
    average = copy.deepcopy(network).requires_grad_(False)
    expected = {name: tensor.clone() for name, tensor in average.state_dict().items()}
    for _ in range(3):
        network(torch.randn(4, 2, 5, 5))
        with torch.no_grad():
            network[0].weight.add_(1)
        update_average(average, network, 0.75)
        for name, tensor in network.state_dict().items():
            if tensor.is_floating_point():
                expected[name] = 0.75 * expected[name] + 0.25 * tensor
            else:
                expected[name] = tensor.clone()
    torch.testing.assert_close(dict(average.state_dict()), expected)
    assert not torch.equal(average[1].running_mean, torch.zeros(3))  # type: ignore[arg-type]
