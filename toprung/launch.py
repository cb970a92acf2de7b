"""Running a sweep: the Optuna study, Ray Tune and ASHA put together."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from time import monotonic
from types import FrameType
from typing import Any

import optuna
from ray import tune
from ray.tune.schedulers import FIFOScheduler, TrialScheduler
from ray.tune.stopper import Stopper

from analysis import attributes
from analysis.folder import RAY_EXPERIMENT, SweepFolder
from toprung.confirm import Confirmation, SearchOnly
from toprung.display import Progress
from toprung.lean_tune import lean_tune
from toprung.lines import show_line
from toprung.network_checks import NetworkChecks
from toprung.new_sweep import created
from toprung.plan import SweepPlan
from toprung.ray_parts import NotPickled
from toprung.ray_session import RaySession
from toprung.result_log import ForgetEnded, ResultLog
from toprung.searcher import StudySearcher
from toprung.settings import SweepSettings
from toprung.study_file import StudyFile
from toprung.tensorboard import TensorBoardCallback
from toprung.trial_function import train_trial
from trainables import report
from trainables.config import METRICS


class _Ending(NotPickled, Stopper):  # type: ignore[misc]
    """Ends the sweep when its time is used up, or when a signal asks for it.

    If a confirmation was asked for, the time is that of the search alone: its trials end with their
    next validation, and the best of them are confirmed.
    """

    def __init__(self, settings: SweepSettings, searcher: StudySearcher) -> None:
        budget = settings.time_budget
        self._deadline = monotonic() + budget if budget else None
        self._confirms = bool(settings.confirm)
        self._searcher = searcher
        self.interrupted = False
        self.ended = attributes.FINISHED

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        """Whether to stop this trial, as the search is to end and the sweep is not."""
        del result
        return self._searcher.is_cut_off(trial_id)

    def stop_all(self) -> bool:
        """Whether to end the sweep now; `ended` keeps why."""
        if self.interrupted:
            self.ended = attributes.INTERRUPTED
            return True
        if self._deadline is None or monotonic() < self._deadline:
            return False
        if self._confirms:
            if self._searcher.cut_off():
                self.ended = attributes.TIME_BUDGET
            return False
        self.ended = attributes.TIME_BUDGET
        return True


def launch(plan: SweepPlan, session: RaySession) -> None:
    """Run a sweep on the session's Ray. The study says how it ended (`analysis.attributes`)."""
    with created(plan, _sampler(plan.settings)) as (study, file):
        session.wait()
        tell = partial(show_line, plan.console)
        checks = NetworkChecks(len(plan.data.first.class_names), tell)
        checks.rehearse(plan.proposals.rehearsal.configs)
        _search(plan, study, file, checks)


def _search(plan: SweepPlan, study: optuna.Study, file: StudyFile, checks: NetworkChecks) -> None:
    settings = plan.settings
    only_enqueued = settings.sampler == "grid"
    progress = Progress(plan.folder.path.name, settings, plan.console)
    searcher = StudySearcher(
        study,
        file.write,
        plan.proposals,
        lambda config: checks(plan.data(config)),
        progress.refused,
        progress.tell,
        Confirmation(study, settings, plan.proposals, file.set_user_attr, progress.tell),
        num_trials=settings.trials,
        only_enqueued=only_enqueued,
    )
    ending = _Ending(settings, searcher)
    parameters = list(plan.proposals.rehearsal.parameters)
    tuner = tune.Tuner(
        tune.with_resources(
            train_trial, {"CPU": settings.cpus_per_trial, "GPU": settings.gpus_per_trial or 0}
        ),
        tune_config=tune.TuneConfig(
            search_alg=searcher,
            scheduler=_trial_scheduler(settings),
            num_samples=settings.trials + settings.num_confirmed * settings.seeds,
            max_concurrent_trials=settings.concurrency,
            reuse_actors=True,
            trial_name_creator=_trial_name,
            trial_dirname_creator=_trial_name,
        ),
        run_config=tune.RunConfig(
            name=RAY_EXPERIMENT,
            storage_path=str(plan.folder.path),
            stop=ending,
            callbacks=[
                ResultLog(plan.folder),
                TensorBoardCallback(plan.folder, parameters),
                progress,
                ForgetEnded(),
            ],
            checkpoint_config=tune.CheckpointConfig(num_to_keep=2),
            verbose=0,
        ),
    )
    ended = attributes.INTERRUPTED  # what a sweep is whose `fit` raises
    try:
        with _signals_set(ending), lean_tune():
            tuner.fit()
        ended = ending.ended
    finally:
        progress.close()
        searcher.close(ended)
        file.set_user_attr(attributes.SWEEP_ENDED, ended)


def _sampler(settings: SweepSettings) -> optuna.samplers.BaseSampler:
    """The Optuna sampler of these settings; a grid is enqueued, so its sampler is never asked."""
    match settings.sampler:
        case "tpe":
            return optuna.samplers.TPESampler(seed=settings.seed)
        case "gp":
            return optuna.samplers.GPSampler(seed=settings.seed)
        case _:
            return optuna.samplers.RandomSampler(seed=settings.seed)


def _trial_scheduler(settings: SweepSettings) -> TrialScheduler:
    """ASHA over epochs, comparing each trial's best validation so far (Li et al., 2020)."""
    if settings.trial_scheduler == "none":
        return FIFOScheduler()
    return SearchOnly(
        time_attr=report.EPOCH,
        metric=report.SCORE,
        mode=METRICS[settings.metric],
        max_t=settings.max_epochs,
        grace_period=settings.grace_epochs,
        reduction_factor=settings.reduction_factor,
    )


def _trial_name(trial: Any) -> str:
    return SweepFolder.trial_name(trial.config["number"])


@contextmanager
def _signals_set(ending: _Ending) -> Iterator[None]:
    """The first SIGINT or SIGTERM ends the sweep in order; the second ends it at once."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    signals = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.getsignal(number) for number in signals}

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    def interrupt(number: int, frame: FrameType | None) -> None:
        del number, frame
        ending.interrupted = True
        restore()

    for number in signals:
        signal.signal(number, interrupt)
    try:
        yield
    finally:
        restore()
