"""Images for training: what can be read, how it is packed, and how it is read back."""

from dcgan.config import Label
from dcgan.data.cache import open_data
from dcgan.data.labels import choose_labels, label_values, training_labels
from dcgan.data.merge import merge
from dcgan.data.pack import prepare
from dcgan.data.packed import PackedImages, flip_landmarks
from dcgan.data.writer import PackedWriter

__all__ = [
    "Label",
    "PackedImages",
    "PackedWriter",
    "choose_labels",
    "flip_landmarks",
    "label_values",
    "merge",
    "open_data",
    "prepare",
    "training_labels",
]
