"""Judging images: how far generated ones are from real ones, and whether they are copies."""

from dcgan.evaluate.evaluation import Evaluation, evaluate
from dcgan.evaluate.fakes import results_folder
from dcgan.evaluate.features import FeatureExtractor, ModuleExtractor, load_extractor
from dcgan.evaluate.quick import QuickEvaluator
from dcgan.evaluate.report import summary, write_report

__all__ = [
    "Evaluation",
    "FeatureExtractor",
    "ModuleExtractor",
    "QuickEvaluator",
    "evaluate",
    "load_extractor",
    "results_folder",
    "summary",
    "write_report",
]
