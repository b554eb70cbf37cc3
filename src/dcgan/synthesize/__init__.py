"""Labelled synthetic faces: made on the fly for someone's training loop, or written to disk."""

from dcgan.synthesize.disk import Augmented, augment
from dcgan.synthesize.faces import GeneratedFaces, RealFaces, mix

__all__ = ["Augmented", "GeneratedFaces", "RealFaces", "augment", "mix"]
