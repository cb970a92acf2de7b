"""What the logs of trials that have ended lack, because all was killed at once; from checkpoints.

In an object store the study is ahead of the other files of a sweep for a moment (see `Mirror`). A
trial that runs reports again all that its checkpoint holds; one that has ended does not. Its
checkpoint is still there, because checkpoints are removed last.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from optuna.trial import FrozenTrial
from rich.console import Console

from toprung.analysis.study.sweep_record import SweepRecord
from toprung.analysis.sweep_folder import attributes
from toprung.analysis.sweep_folder.folder import SweepFolder
from toprung.planning.sweep_state import show_problems
from toprung.storage.retry import Patience
from toprung.storage.study_database import StudyFile
from toprung.trainables.results import columns
from toprung.tune.callbacks.result_log import ResultLog
from toprung.tune.callbacks.tensorboard import TensorBoardCallback
from toprung.tune.callbacks.watcher import WatchedTrial, Watcher


def trial_logs(folder: SweepFolder, parameters: Sequence[str], patience: Patience) -> list[Watcher]:
    """What writes down all that trials report."""
    return [ResultLog(folder, patience), TensorBoardCallback(folder, list(parameters), patience)]


def complete_logs(
    trials: Sequence[FrozenTrial], folder: SweepFolder, logs: Sequence[Watcher]
) -> None:
    """Let the logs write what a trial that has ended had reported, and they do not have.

    Args:
        trials: of the study.
        folder: the sweep's.
        logs: write what trials report to them; each leaves out what it has.

    Raises:
        StoreError: if the sweep lies in a store that cannot be read.
    """
    kept = folder.checkpoints()
    for trial in trials:
        if trial.state.is_finished() and trial.number in kept and _is_behind(trial, folder):
            _complete(trial, folder.checkpoint(trial.number), logs)


def leave_in_order(record: SweepRecord, console: Console) -> None:
    """Bring the logs of a sweep that has ended up to date, if its driver was killed just then."""
    patience = Patience(print)
    file = StudyFile(record.study_place, record.folder.decisions, patience)
    show_problems(console, record.folder, file, [event for _, event in file.events()])
    file.close()
    parameters = sorted({name for trial in file.trials for name in trial.params})
    complete_logs(file.trials, record.folder, trial_logs(record.folder, parameters, patience))


def _is_behind(trial: FrozenTrial, folder: SweepFolder) -> bool:
    known = (said.get(columns.VALIDATION, 0) for said in folder.reports(trial.number))
    return max(known, default=0) < _num_validations(trial)


def _complete(trial: FrozenTrial, checkpoint: Path, logs: Sequence[Watcher]) -> None:
    ended = WatchedTrial(f"ended {trial.number}", trial.number)
    last: dict[str, Any] = {}
    for last, config in _reports(trial, checkpoint):
        ended = replace(ended, config=config)
        for log in logs:
            log.on_report(ended, last)
    for log in logs:
        log.on_end(ended, last)


def _reports(trial: FrozenTrial, checkpoint: Path) -> Iterator[tuple[dict[str, Any], str]]:
    """What a trial reported before it ended, each with the trial's config as JSON."""
    # Not at the top: it is rarely needed, and imports torch.
    from toprung.trainables.config import TrialConfig
    from toprung.trainables.training.checkpoint import UnreadableCheckpointError, load_checkpoint

    try:
        saved = load_checkpoint(checkpoint / columns.CHECKPOINT_FILE)
        config = TrialConfig.model_validate(saved["config"]).model_dump_json()
    except (UnreadableCheckpointError, ValueError):
        return  # the curve of a trial that has ended is all that is lost
    last, finished = _num_validations(trial), attributes.FINISHED
    for told in columns.reports_in(saved):
        number = told[columns.VALIDATION]
        if number <= last:
            ended = number == last and trial.user_attrs.get(attributes.ENDED) == finished
            yield told | {columns.FINISHED: ended}, config


def _num_validations(trial: FrozenTrial) -> int:
    return int(trial.user_attrs.get(attributes.LAST, {}).get(columns.VALIDATION, 0))
