"""Exporting a trial's best model in the layout that timm and model hubs read."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from analysis.files import write_atomically
from analysis.folder import SweepFolderError
from analysis.model import CONFIG_FILE, TRIAL_FILE, WEIGHTS_FILE, TrainedModel
from analysis.openings import TestResult
from analysis.trials import TrialResult
from analysis.versions import software_versions
from trainables.config import as_plain, dump_config

METRICS_FILE = "metrics.json"
_CROP_MODES = {"squash": "squash", "centre_crop": "center", "letterbox": "border"}


def export_model(
    to: Path,
    model: TrainedModel,
    trial: TrialResult,
    test: TestResult | None,
    sweep: dict[str, Any],
) -> Path:
    """Write `model.safetensors`, `config.json`, `trial.yaml` and `metrics.json` into a folder.

    Args:
        to: the folder; made if it is not there.
        model: the trial's best model.
        trial: the trial it came from.
        test: its test result, if the test set was opened for it.
        sweep: what is worth knowing of the sweep (its name and seed).

    Raises:
        SweepFolderError: if the folder cannot be written, or holds something that is no export.
    """
    metrics = {
        "validation": asdict(trial.best) if trial.best else None,
        "test": asdict(test) if test else None,
        "trial": trial.number,
        "sweep": sweep,
        "versions": software_versions(),
    }
    try:
        if to.is_dir() and any(to.iterdir()) and not (to / WEIGHTS_FILE).exists():
            raise SweepFolderError(f"{to}: holds something else; choose an empty folder")
        to.mkdir(parents=True, exist_ok=True)
        write_atomically(to / WEIGHTS_FILE, model.weights_bytes)
        write_atomically(to / CONFIG_FILE, _as_json(_hub_config(model)))
        write_atomically(to / TRIAL_FILE, dump_config(model.config))
        write_atomically(to / METRICS_FILE, _as_json(metrics))
    except OSError as error:
        raise SweepFolderError(f"{to}: cannot be written: {error.strerror}") from None
    return to


def _hub_config(model: TrainedModel) -> dict[str, Any]:
    """Architecture, class names and preprocessing, by timm's names."""
    return {
        "architecture": model.config.model.architecture,
        "num_classes": len(model.class_names),
        "label_names": list(model.class_names),
        "model_args": as_plain(model.config)["model"],
        "pretrained_cfg": {
            "input_size": list(model.config.image_shape),
            "mean": list(model.mean),
            "std": list(model.std),
            "interpolation": model.config.data.interpolation,
            "crop_pct": model.config.data.crop_fraction,
            "crop_mode": _CROP_MODES[model.config.data.resize],
            "num_classes": len(model.class_names),
        },
    }


def _as_json(value: Any) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False) + "\n"
