"""Training a trial with its checkpoint in a folder; failures are reported, not raised."""

import errno
import traceback
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any

import torch

from toprung.trainables.config import TrialConfig
from toprung.trainables.data import TrainingData
from toprung.trainables.files.atomic_files import remove_leftovers
from toprung.trainables.results.columns import (
    CHECKPOINT_FILE,
    REPLAYED,
    RESTARTED,
    failure_report,
    to_report,
)
from toprung.trainables.results.failures import DIVERGED, failure_of
from toprung.trainables.system.device import give_back_memory
from toprung.trainables.training.any_fit import fit_any
from toprung.trainables.training.checkpoint import (
    OtherTrialError,
    UnreadableCheckpointError,
    when_there_is_room,
)


def train_kept(
    config: TrialConfig,
    data: TrainingData,
    device: torch.device,
    folder: Path,
    saved: Callable[[], None] = lambda: None,
) -> Generator[dict[str, Any], None, None]:
    """Train or resume a trial, and yield its report after each validation.

    The trial's one checkpoint is in `folder`, and is never older than the last report. If it exists
    already, all its validations are reported again first, in order: the checkpoint may be ahead of
    the driver's records by one validation or many. The receiver discards those that it has already.

    A checkpoint that cannot be read is deleted, and so is one with another config (of a trial with
    the same number that a killed driver did not record). Then the trial starts over, and its
    reports say so.

    Args:
        config: the trial's config.
        data: the data that it trains on.
        device: where to train.
        folder: the trial's own folder.
        saved: called after the checkpoint is written, before the report.

    Raises:
        The errors of `fit`, `fit_svm` and `saved`.
        OSError: if the sweep's folder does not exist, or the checkpoint cannot be written, for
            example because the disk stays full.
    """
    if not folder.parent.is_dir():  # created here, it would exist on this machine only
        reason = "the sweep's folder is not on this machine, and must be shared"
        raise FileNotFoundError(errno.ENOENT, reason, str(folder.parent))
    when_there_is_room(lambda: folder.mkdir(exist_ok=True))
    checkpoint = folder / CHECKPOINT_FILE
    remove_leftovers(folder)
    restarted = {}
    if checkpoint.exists():
        try:
            yield from _reports(config, data, device, folder, saved, resume_from=folder)
        except (UnreadableCheckpointError, OtherTrialError) as error:
            checkpoint.unlink()
            restarted = {RESTARTED: f"{error}; the trial started over"}
        else:
            return
    for report in _reports(config, data, device, folder, saved):
        yield report | restarted


def _reports(
    config: TrialConfig,
    data: TrainingData,
    device: torch.device,
    folder: Path,
    saved: Callable[[], None],
    resume_from: Path | None = None,
) -> Iterator[dict[str, Any]]:
    validations = fit_any(config, data, device, resume_from)
    if resume_from is not None:  # nothing is written, so a full disk does not lose a finished trial
        last = next(validations)
        for validation in last.before:
            yield to_report(validation, config.training.metric) | {REPLAYED: True}
        yield to_report(last, config.training.metric)
    for validation in validations:
        validation.save_checkpoint(folder)
        saved()
        yield to_report(validation, config.training.metric)


def report_failure(train: Callable[[], None], report: Callable[[dict[str, Any]], None]) -> None:
    """Train, release the memory, and then report the failure if there was one.

    Raises:
        torch.AcceleratorError: because the process cannot use its GPU after it.
    """
    failure = None
    try:
        failure = _failure(train, report)
    finally:  # also if Tune ends the trial from within `report`
        give_back_memory(of_cpu=failure is not None)
    if failure is not None:
        report(failure)


def _failure(
    train: Callable[[], None], report: Callable[[dict[str, Any]], None]
) -> dict[str, Any] | None:
    """Train, and return the report of a failure, without the error and what it refers to."""
    try:
        train()
    except Exception as error:
        kind, reason = failure_of(error)
        raised_at = None if kind == DIVERGED else traceback.format_exc()
        failure = failure_report(kind, reason, raised_at)
        if isinstance(error, torch.AcceleratorError):
            report(failure)
            raise
        return failure
    return None
