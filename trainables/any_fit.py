"""Training whatever a trial's config describes."""

from collections.abc import Iterator
from pathlib import Path

import torch

from trainables.config import TrialConfig
from trainables.data import TrainingData
from trainables.fit import fit
from trainables.record import Validation
from trainables.svm_settings import SvmSettings


def fit_any(
    config: TrialConfig,
    data: TrainingData,
    device: torch.device | None = None,
    resume_from: Path | None = None,
) -> Iterator[Validation]:
    """Train a network, or fit an SVM on one's features; see `fit` and `fit_svm`."""
    if isinstance(config.model, SvmSettings):
        from trainables.fit_svm import fit_svm  # scikit-learn takes seconds to import

        return fit_svm(config, data, device, resume_from)
    return fit(config, data, device, resume_from)
