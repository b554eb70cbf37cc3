"""The quick figures, by which a run is watched while it trains."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from dcgan.data import PackedImages
from dcgan.evaluate.fakes import GeneratedImages
from dcgan.evaluate.features import FeatureExtractor, extract_features
from dcgan.evaluate.figures import frechet_name, measure
from dcgan.evaluate.reals import read_batches, real_features
from dcgan.models import Generator

QUICK = ("kernel_distance", "precision", "recall")


class QuickEvaluator:
    """Judges a generator again and again by the same training images; the same weights give the same figures.

    Made once, it takes the features of `samples` training images from the cache, or extracts them. It draws no
    number from any random state but its own, so that a run which is judged stays the run it was.
    """

    def __init__(self, data: PackedImages, extractor: FeatureExtractor, samples: int, seed: int = 0) -> None:
        reals = real_features(data, extractor, samples, seed=seed).first(samples)
        self.extractor, self.samples, self.seed = extractor, samples, seed
        self.features = reals.features
        self.protocol: dict[str, Any] = {
            **dataclasses.asdict(reals.origin),
            "reals": len(reals.features),
            "fakes": samples,
        }
        """As in evaluation.json: figures compare where it is equal."""

    def __call__(self, generator: Generator) -> dict[str, float]:
        """Figures of the images of seeds 0 to samples - 1 by name: the Frechet distance first, then `QUICK`.

        Raises `DcganError` if a feature is not finite.
        """
        batches = read_batches(GeneratedImages(generator), np.arange(self.samples))
        fakes = extract_features(self.extractor, batches)
        frechet = frechet_name(self.extractor)
        figures = measure(self.features, fakes, self.seed).named(frechet)
        return {name: figures[name] for name in (frechet, *QUICK)}
