"""On drawn faces, every figure worsens with every step of noise, blur, lost variety and repetition."""

from collections.abc import Callable
from functools import cache, partial
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import nn

from dcgan.data.toy import HAIR_COLOURS, DrawnFaces, draw_faces
from dcgan.evaluate.features import ModuleExtractor, extract_features
from dcgan.evaluate.frechet import FeatureStatistics, frechet_distance
from dcgan.evaluate.kernel import kernel_distance
from dcgan.evaluate.precision_recall import precision_recall

COUNT = 500
SIZE = 32


@pytest.fixture(scope="module")
def real(small: ModuleExtractor) -> torch.Tensor:
    """Features of the real faces."""
    return extract_features(small, [draw_faces(range(COUNT), SIZE).images])


@cache
def others() -> DrawnFaces:
    """Other faces than the real ones."""
    return draw_faces(range(COUNT, 8 * COUNT), SIZE)


def faces() -> np.ndarray:
    """As many other faces: what a perfect generator would give."""
    return others().images[:COUNT]


def noisy(sigma: float) -> np.ndarray:
    """Other faces with Gaussian noise of `sigma` grey levels."""
    noise = np.random.default_rng(0).normal(0, 1, (COUNT, SIZE, SIZE, 3))
    return np.clip(faces() + sigma * noise, 0, 255).astype(np.uint8)


def blurred(width: int) -> np.ndarray:
    """Other faces under a box filter of `width` pixels."""
    images = torch.from_numpy(faces()).permute(0, 3, 1, 2).float()
    padded = nn.functional.pad(images, [width // 2] * 4, mode="replicate")
    return nn.functional.avg_pool2d(padded, width, stride=1).byte().permute(0, 2, 3, 1).numpy()


def of_hair_colours(colours: int) -> np.ndarray:
    """As many other faces, of the first few hair colours only."""
    kept = others().labels[:, :colours].any(axis=1)
    return others().images[kept][:COUNT]


def repeated(unique: int) -> np.ndarray:
    """The first few other faces, over and over."""
    return np.resize(faces()[:unique], (COUNT, SIZE, SIZE, 3))


SERIES: dict[str, list[Callable[[], np.ndarray]]] = {
    "noise": [partial(noisy, sigma) for sigma in (0, 15, 30, 60)],
    "blur": [partial(blurred, width) for width in (1, 3, 5, 9)],
    "mode dropping": [partial(of_hair_colours, count) for count in (len(HAIR_COLOURS), 3, 1)],
    "duplication": [partial(repeated, unique) for unique in (COUNT, 50, 10, 2)],
}


@pytest.fixture(scope="module", params=SERIES)
def series(request: pytest.FixtureRequest, small: ModuleExtractor) -> tuple[str, list[torch.Tensor]]:
    """A way to be worse, and features of fakes that are so by ever more."""
    return request.param, [extract_features(small, [make()]) for make in SERIES[request.param]]


def grow(values: list[float]) -> bool:
    """Whether each value exceeds the one before it."""
    return all(later > earlier for earlier, later in pairwise(values))


def test_distances_grow(series: tuple[str, list[torch.Tensor]], real: torch.Tensor) -> None:
    _, fakes = series
    statistics = FeatureStatistics.of(real)
    assert grow([frechet_distance(statistics, FeatureStatistics.of(fake)) for fake in fakes])
    assert grow([kernel_distance(real, fake).value for fake in fakes])


def test_precision_or_variety_falls(series: tuple[str, list[torch.Tensor]], real: torch.Tensor) -> None:
    name, fakes = series
    found = [precision_recall(real, fake) for fake in fakes]
    if name == "noise":
        assert grow([-one.precision for one in found])
        assert grow([-one.density for one in found])
    else:  # a blurred face stays near real ones, but all lie near each other
        assert grow([-one.recall for one in found[:2]])
        assert found[-1].recall < 0.8 * found[0].recall
        assert found[-1].coverage < 0.8 * found[0].coverage
