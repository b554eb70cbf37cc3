"""Put the discriminator to work: its features, a linear probe of them, and the nearest images by them.

`probe` and `nearest` have modules of their names, whose functions of those names take the commands' settings.
"""

from dcgan.represent.activations import features, random_discriminator
from dcgan.represent.linear import fit_svm

__all__ = ["features", "fit_svm", "random_discriminator"]
