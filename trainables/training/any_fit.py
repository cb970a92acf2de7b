"""Training whatever a trial's config describes."""

from collections.abc import Iterator
from pathlib import Path

import torch

from trainables.config import TrialConfig
from trainables.data import TrainingData
from trainables.networks.svm_settings import SvmSettings
from trainables.results.records import Validation
from trainables.training.fit import fit


def fit_any(
    config: TrialConfig,
    data: TrainingData,
    device: torch.device | None = None,
    resume_from: Path | None = None,
) -> Iterator[Validation]:
    """Train a network, or fit an SVM on one's features; see `fit` and `fit_svm`."""
    if isinstance(config.model, SvmSettings):
        from trainables.training.fit_svm import fit_svm  # scikit-learn takes seconds to import

        return fit_svm(config, data, device, resume_from)
    return fit(config, data, device, resume_from)
