"""Exporting a trial's best model in the layout that timm and model hubs read."""

import json
from collections.abc import Collection
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from toprung.analysis.exporting.card_facts import Exported
from toprung.analysis.exporting.model_card import model_card
from toprung.analysis.exporting.weights_file import digest_in_file, record_text
from toprung.analysis.models.export_files import (
    CARD_FILE,
    CONFIG_FILE,
    METRICS_FILE,
    ONNX_FILE,
    TRIAL_FILE,
    WEIGHTS_FILE,
    check_export_files,
)
from toprung.analysis.models.model import TrainedModel
from toprung.analysis.models.versions import software_versions
from toprung.analysis.seal.openings import TestResult
from toprung.analysis.seal.optimism import optimism
from toprung.analysis.sweep_folder.files import is_empty, json_text, write_atomically
from toprung.analysis.sweep_folder.folder import SweepFolderError
from toprung.analysis.sweep_folder.typed import typed
from toprung.trainables.config import as_plain, dump_config
from toprung.trainables.files.untrusted_files import read_text
from toprung.trainables.provenance.record import METADATA_KEY

if TYPE_CHECKING:
    from toprung.analysis.exporting.onnx_export import OnnxCheck

FORMATS = ("onnx",)
"""The formats that can be added to the plain export."""
_CROP_MODES = {"squash": "squash", "centre_crop": "center", "letterbox": "border"}


def export_model(to: Path, exported: Exported, formats: Collection[str], *, replace: bool) -> Path:
    """Write a model into a folder, as a plain export and in additional formats.

    The plain export is `model.safetensors`, `config.json`, `trial.yaml`, `metrics.json` and the
    model card `README.md`; the format `onnx` adds `model.onnx`. An existing ONNX file is kept if it
    has the same weights. Both weights files carry the record of the images that the model was made
    with (`toprung.trainables.provenance.record`).

    Args:
        to: the folder; created if it does not exist.
        exported: the model and its origin.
        formats: the additional formats, from `FORMATS`.
        replace: whether to overwrite the export of another model.

    Raises:
        SweepFolderError: for an unknown format; if the folder cannot be written, holds something
            other than an export, or another model and `replace` is not given; if the model cannot
            be written in a format (see `toprung.analysis.exporting.onnx_export.to_onnx`).
    """
    _check_formats(formats)
    model = exported.model
    check_export_files(to)
    try:
        held = _check_place(to, model, replace=replace)
        to.mkdir(parents=True, exist_ok=True)
        check = _kept_onnx(to) if held == model.digest else None
        if check is None:
            (to / ONNX_FILE).unlink(missing_ok=True)
        if held != model.digest:
            # Without this file the folder is not an export, so a killed process leaves no mixture.
            (to / CONFIG_FILE).unlink(missing_ok=True)
        write_atomically(to / WEIGHTS_FILE, exported.weights_file)
        write_atomically(to / TRIAL_FILE, dump_config(model.config))
        _write_figures(to, exported, check)
        write_atomically(to / CONFIG_FILE, json_text(_hub_config(model)))
        if "onnx" in formats:
            _write_figures(to, exported, _write_onnx(to, exported))
    except OSError as error:
        raise SweepFolderError(f"{to}: cannot be written: {error.strerror}") from None
    return to


def trial_of_export(folder: Path) -> int | None:
    """The number of the trial whose model a folder holds; None if it does not hold a model."""
    try:
        metrics = json.loads(read_text(folder / METRICS_FILE))
        return typed(int, metrics["trial"])
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None


def _check_formats(formats: Collection[str]) -> None:
    for name in formats:
        if name not in FORMATS:
            raise SweepFolderError(f"format {name!r}: choose from {', '.join(FORMATS)}")
    if "onnx" in formats:
        from toprung.analysis.exporting.onnx_export import check_extra

        check_extra()


def _check_place(to: Path, model: TrainedModel, *, replace: bool) -> str | None:
    """The digest of the model in the folder, if there is one and it may be overwritten."""
    weights = to / WEIGHTS_FILE
    if not weights.exists():
        if to.is_dir() and not is_empty(to):
            raise SweepFolderError(f"{to}: holds something else; choose an empty folder")
        return None
    digest = digest_in_file(weights)
    if digest != model.digest and not replace:
        number = trial_of_export(to)
        whose = "another model" if number is None else f"another model, that of a trial {number}"
        raise SweepFolderError(
            f"{to}: holds {whose} (SHA-256 {digest[:12]}…); choose another folder, or overwrite "
            "it (--force)"
        )
    return digest


def _write_onnx(to: Path, exported: Exported) -> "OnnxCheck":
    from toprung.analysis.exporting.onnx_export import to_onnx

    about: dict[str, Any] = {"sweep": exported.sweep.name, "trial": exported.trial.number}
    if exported.test:
        about["test_accuracy"] = exported.test.accuracy
    if text := record_text(exported.provenance):
        about[METADATA_KEY] = text
    (to / ONNX_FILE).unlink(missing_ok=True)
    content, check = to_onnx(exported.model, about, exported.sweep.outside)
    write_atomically(to / ONNX_FILE, content)
    return check


def _kept_onnx(to: Path) -> "OnnxCheck | None":
    """The check of the ONNX file in a folder; None if there is no file, or no record of it."""
    if not (to / ONNX_FILE).exists():
        return None
    from toprung.analysis.exporting.onnx_export import OnnxCheck

    try:
        metrics = json.loads(read_text(to / METRICS_FILE))
        return typed(OnnxCheck, metrics["onnx"])
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None


def _write_figures(to: Path, exported: Exported, check: "OnnxCheck | None") -> None:
    """Write the files with the model's figures: the metrics and the card."""
    trial, test, sweep = exported.trial, exported.test, exported.sweep
    metrics = {
        "validation": asdict(trial.best) if trial.best else None,
        "test": asdict(test) if test else None,
        "test_reuse": _reuse(test) if test else None,
        "onnx": asdict(check) if check else None,
        "trial": trial.number,
        "sweep": {"name": sweep.name, "seed": sweep.description["settings"]["seed"]},
        "versions": software_versions(),
    }
    write_atomically(to / METRICS_FILE, json_text(metrics))
    write_atomically(to / CARD_FILE, model_card(exported, check))


def _reuse(test: TestResult) -> dict[str, Any]:
    """How many models were tested on the test images, and how optimistic the best of them is."""
    return {
        "num_models": test.num_models,
        "optimism_of_the_best": optimism(test.accuracy, test.num_images, test.num_models),
    }


def _hub_config(model: TrainedModel) -> dict[str, Any]:
    """Architecture, class names and preprocessing, under timm's names."""
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
