"""The function that Ray Tune runs for a trial: the only file here that knows Ray."""

import tempfile
import traceback
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from ray import tune

from trainables.any_fit import fit_any
from trainables.config import TrialConfig
from trainables.data import DataSettings, TrainingData, open_training_data
from trainables.fit import DivergedError
from trainables.memory import keep_freed_memory
from trainables.report import failure_report, to_report
from trainables.without_compiler import leave_compiler_out

leave_compiler_out()
keep_freed_memory()


def train_trial(trial: dict[str, Any]) -> None:
    """Train the trial that `trial["config"]` (a `TrialConfig` as JSON) describes.

    Failures are reported rather than raised: a function that raises costs the next trial a
    fresh process. Only a GPU error is raised, because the process cannot use the GPU after it.
    """
    try:
        _train(TrialConfig.model_validate_json(trial["config"]))
    except DivergedError as error:
        tune.report(failure_report(str(error)))
    except torch.AcceleratorError as error:
        tune.report(failure_report(f"GPU error: {error}", traceback.format_exc()))
        raise
    except Exception as error:
        reason = f"{type(error).__name__}: {error}"
        tune.report(failure_report(reason, traceback.format_exc()))


def _train(config: TrialConfig) -> None:
    resources = tune.get_context().get_trial_resources().required_resources
    torch.set_num_threads(max(1, int(resources.get("CPU", 1))))
    device = torch.device("cuda" if resources.get("GPU") else "cpu")
    checkpoint = tune.get_checkpoint()
    resume_from = Path(checkpoint.to_directory()) if checkpoint else None
    data = _open_data(config.data)
    for validation in fit_any(config, data, device, resume_from):
        with tempfile.TemporaryDirectory() as folder:
            validation.save_checkpoint(Path(folder))
            tune.report(
                to_report(validation, config.training.metric),
                checkpoint=tune.Checkpoint.from_directory(folder),
            )


@lru_cache(maxsize=4)
def _open_data(settings: DataSettings) -> TrainingData:
    """A process trains many trials on the same data; it opens them once."""
    return open_training_data(settings)
