"""What came out: reads a sweep's folder without Ray, picks the best, tests it once, exports it."""

from analysis.folder import SweepFolder, SweepFolderError
from analysis.model import TrainedModel, load_model
from analysis.sealed_test import TestResult
from analysis.sweep import Sweep
from analysis.trials import TrialResult

__all__ = [
    "Sweep",
    "SweepFolder",
    "SweepFolderError",
    "TestResult",
    "TrainedModel",
    "TrialResult",
    "load_model",
]
