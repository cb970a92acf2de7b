"""The function that Ray Tune runs for a trial: the only file here that imports Ray."""

import json
import os
from contextlib import closing
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from ray import tune

from toprung.trainables.config import TrialConfig
from toprung.trainables.data import DataSettings, TrainingData, open_training_data
from toprung.trainables.files.object_store import is_url
from toprung.trainables.system.device import device_for
from toprung.trainables.system.memory import keep_freed_memory
from toprung.trainables.system.secrecy import LENT_CREDENTIALS
from toprung.trainables.system.without_compiler import leave_compiler_out
from toprung.trainables.training.trial_in_folder import report_failure, train_kept
from toprung.trainables.training.trial_in_store import train_stored

leave_compiler_out()
keep_freed_memory()


def train_trial(trial: dict[str, Any]) -> None:
    """Train or resume the trial that `trial["config"]` (a `TrialConfig` as JSON) describes.

    Its checkpoint is kept in `trial["folder"]`, a path or the URL of a store. Failures are reported
    rather than raised (see `report_failure`): a function that raises costs the next trial a fresh
    process.
    """
    report_failure(
        lambda: _train(TrialConfig.model_validate_json(trial["config"]), trial["folder"]),
        tune.report,
    )


def _train(config: TrialConfig, folder: str) -> None:
    resources = tune.get_context().get_trial_resources().required_resources
    torch.set_num_threads(max(1, int(resources.get("CPU", 1))))
    device = device_for(resources)
    data = _open_data(config.data)
    if is_url(folder):
        _take_lent_credentials()
        reports = train_stored(config, data, device, folder)
    else:
        reports = train_kept(config, data, device, Path(folder))
    with closing(reports):  # also if Tune ends the trial from within `report`
        for report in reports:
            tune.report(report)


@lru_cache(maxsize=1)
def _take_lent_credentials() -> None:
    """Take the driver's credentials for its store; a cluster's nodes have their own."""
    from ray.experimental.internal_kv import _internal_kv_get

    lent = _internal_kv_get(LENT_CREDENTIALS)
    for name, value in json.loads(lent or b"{}").items():
        os.environ.setdefault(name, value)


@lru_cache(maxsize=4)
def _open_data(settings: DataSettings) -> TrainingData:
    """Open the data; a process that trains many trials on the same data opens it once."""
    return open_training_data(settings)
