"""Trials that train nothing: a curve by formula, with real reports and a real checkpoint."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from functools import partial
from math import log10
from pathlib import Path
from typing import Any

import numpy as np
import torch

from toprung.trainables.config import TrialConfig, as_plain
from toprung.trainables.files.object_store import is_url
from toprung.trainables.results.columns import CHECKPOINT_FILE
from toprung.trainables.results.records import (
    DivergedError,
    Record,
    Validation,
    history_of,
    is_better,
    pack_history,
)
from toprung.trainables.training import trial_in_folder, trial_in_store
from toprung.trainables.training.checkpoint import (
    check_same_trial,
    load_checkpoint,
    write_checkpoint,
)

CPU = torch.device("cpu")
_died: set[Path] = set()


class WorkerDiedError(BaseException):
    """Stands for the death of a trial's process: no code of the trial's catches it."""


def reports(trial: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """What a trial reports, as `toprung.trainables.ray_trainable.train_trial` does.

    Raises:
        WorkerDiedError: in some trials, the first time.
    """
    config, folder = TrialConfig.model_validate_json(trial["config"]), Path(trial["folder"])
    data: Any = folder
    try:
        if is_url(trial["folder"]):
            yield from trial_in_store.train_stored(config, data, CPU, trial["folder"])
        else:
            yield from trial_in_folder.train_kept(config, data, CPU, folder)
    except Exception as error:
        told: list[dict[str, Any]] = []
        trial_in_folder.report_failure(partial(_raise, error), told.append)
        yield told[0]


def _raise(error: Exception) -> None:
    raise error


def pretended_fit(
    config: TrialConfig, folder: Path, device: torch.device, resume_from: Path | None = None
) -> Iterator[Validation]:
    """In the place of `fit_any`; it is given the trial's folder as its data."""
    del device
    history: list[Validation] = []
    if resume_from is not None:
        saved = load_checkpoint(resume_from / CHECKPOINT_FILE)
        check_same_trial(saved, config)
        for record, _ in history_of(saved):
            history.append(_validation(config, record, history))
        yield replace(history[-1], before=tuple(history[:-1]))
    for epoch in range(len(history) + 1, config.training.epochs + 1):
        _misbehave(config, epoch, folder)
        history.append(_validation(config, _record(config, epoch), history))
        yield history[-1]


def _validation(config: TrialConfig, record: Record, before: Sequence[Validation]) -> Validation:
    best = before[-1].best if before else record
    best = record if is_better(record, best, config.training.metric) else best
    records = [*(validation.record for validation in before), record]
    finished = record.epoch >= config.training.epochs
    return Validation(record, best, finished, partial(_save, config, records, best))


def _record(config: TrialConfig, epoch: int) -> Record:
    """By learning rate, network and seed; it gets better, but for some noise."""
    noise = np.random.default_rng([config.seed, epoch]).normal(0, 0.02)
    model: Any = config.model
    quality = 0.9 - 0.1 * (log10(config.optimizer.lr) + 2.5) ** 2 + 0.002 * model.filters
    accuracy = float(np.clip(quality * (1 - 0.5**epoch) + noise, 0, 1))
    loss = 1.5 - accuracy
    return Record(epoch, float(epoch), loss, accuracy, loss, accuracy, accuracy, 0.01, 0.1 * epoch)


def _misbehave(config: TrialConfig, epoch: int, folder: Path) -> None:
    """Some diverge, some fail, in some the process dies once; in those that say so each time."""
    if epoch != 2:
        return
    if config.labels.get("dies"):
        raise WorkerDiedError
    if config.optimizer.lr > 0.02:
        raise DivergedError(f"the loss became NaN or infinite by epoch {epoch}")
    if config.seed % 10 == 5:
        raise ZeroDivisionError("an error in the trial's code")
    if config.seed % 3 == 1 and folder not in _died:
        _died.add(folder)
        raise WorkerDiedError


def _save(config: TrialConfig, records: Sequence[Record], best: Record, folder: Path) -> None:
    values = {
        "config": as_plain(config),
        "class_names": ["a", "b"],
        "mean": [0.5],
        "std": [0.5],
        "model": {"weight": torch.full((500,), records[-1].val_loss)},
        "record": asdict(records[-1]),
        "history": pack_history([(record, ()) for record in records]),
        "best_record": asdict(best),
        "best_weights": None,
    }
    write_checkpoint(folder / CHECKPOINT_FILE, values)
