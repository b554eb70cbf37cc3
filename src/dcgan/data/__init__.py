"""Images for training: what can be read, how it is packed, and how it is read back."""

from dcgan.data.cache import open_data
from dcgan.data.merge import merge
from dcgan.data.pack import prepare
from dcgan.data.packed import Label, PackedImages, flip_landmarks
from dcgan.data.writer import PackedWriter

__all__ = ["Label", "PackedImages", "PackedWriter", "flip_landmarks", "merge", "open_data", "prepare"]
