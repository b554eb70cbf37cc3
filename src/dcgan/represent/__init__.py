"""Put the discriminator to work: its features, a linear probe of them, and nearest images by them."""

from dcgan.represent.features import features
from dcgan.represent.nearest import nearest
from dcgan.represent.probe import Measurement, Probe, probe
from dcgan.represent.report import summary, write_report

__all__ = ["Measurement", "Probe", "features", "nearest", "probe", "summary", "write_report"]
