"""Put the discriminator to work: its features, a linear probe of them, and nearest images by them."""

from dcgan.represent.activations import features
from dcgan.represent.nearest import nearest
from dcgan.represent.probe import Measurement, Probe, probe
from dcgan.represent.report import results_folder, summary, write_report

__all__ = ["Measurement", "Probe", "features", "nearest", "probe", "results_folder", "summary", "write_report"]
