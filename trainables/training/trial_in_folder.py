"""Training a trial so that nothing of it is lost, and its process lives on if it fails."""

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
    """Train a trial, or go on with it, and yield what it reports after each validation.

    Its one checkpoint is in `folder`, and is never older than what was reported. If it is there
    already, all validations that it holds are reported again first, in their order: it may be ahead
    of what is known of the trial, by one or by many. Whoever hears of one again drops it.
    One that cannot be read is thrown away, and so is one with another config, which a trial of
    this number may have had that a killed driver could not write down: the trial begins again, and
    its reports tell so.

    Args:
        config: the trial's.
        data: what it trains on.
        device: where.
        folder: the trial's own.
        saved: is called when the checkpoint is written, before the report.

    Raises:
        What `fit`, `fit_svm` and `saved` raise.
        OSError: if the sweep's folder is not there, or the checkpoint cannot be written, as when
            the disk stays full.
    """
    if not folder.parent.is_dir():  # made here, it would be this machine's own
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
            restarted = {RESTARTED: f"{error}; the trial began again"}
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
    if resume_from is not None:  # that the disk may be full now costs nothing that was finished
        last = next(validations)
        for validation in last.before:
            yield to_report(validation, config.training.metric) | {REPLAYED: True}
        yield to_report(last, config.training.metric)
    for validation in validations:
        validation.save_checkpoint(folder)
        saved()
        yield to_report(validation, config.training.metric)


def tell_failure(train: Callable[[], None], tell: Callable[[dict[str, Any]], None]) -> None:
    """Train, give back the memory that it held, and where it failed, report the failure then.

    Raises:
        torch.AcceleratorError: because the process cannot use its GPU after it.
    """
    failure = None
    try:
        failure = _failure(train, tell)
    finally:  # also where Tune ends the trial from within `tell`
        give_back_memory(of_cpu=failure is not None)
    if failure is not None:
        tell(failure)


def _failure(
    train: Callable[[], None], tell: Callable[[dict[str, Any]], None]
) -> dict[str, Any] | None:
    """What to report of a failure. The error is gone then, and with it what it referred to."""
    try:
        train()
    except Exception as error:
        kind, reason = failure_of(error)
        raised_at = None if kind == DIVERGED else traceback.format_exc()
        failure = failure_report(kind, reason, raised_at)
        if isinstance(error, torch.AcceleratorError):
            tell(failure)
            raise
        return failure
    return None
