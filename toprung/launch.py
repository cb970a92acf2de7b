"""Running a sweep: the Optuna study, Ray Tune and ASHA put together."""

import logging
from collections.abc import Sequence
from functools import partial
from typing import Any

from ray import tune

from analysis import attributes
from analysis.folder import RAY_EXPERIMENT, SweepFolder
from analysis.trials import read_trials
from toprung import events
from toprung.confirm import Confirmation
from toprung.deaths import MAX_DEATHS, Deaths
from toprung.disk_watch import DiskWatch
from toprung.display import Progress
from toprung.ending import Ending, signals_set
from toprung.kept_checkpoints import KeptCheckpoints
from toprung.lean_tune import lean_tune
from toprung.lines import show_line
from toprung.network_checks import NetworkChecks
from toprung.patience import Patience, RecordLostError
from toprung.plan import SweepPlan
from toprung.ray_session import RaySession
from toprung.result_log import ForgetEnded, ResultLog
from toprung.searcher import StudySearcher
from toprung.sweep_state import SEARCHING, SweepState, begun, resumed, seconds_used
from toprung.tensorboard import TensorBoardCallback
from toprung.trial_function import train_trial
from toprung.trial_scheduler import RunToTheEnd, SearchOnly, trial_scheduler


def launch(plan: SweepPlan, session: RaySession) -> None:
    """Run a sweep on the session's Ray. The study says how it ended (`analysis.attributes`).

    Raises:
        RecordLostError: if its record could not be written for too long; it can be resumed.
    """
    tell = partial(show_line, plan.console)
    patience = Patience(tell)
    state_of = begun if plan.said is None else resumed
    with state_of(plan, patience) as state:
        session.wait()
        checks = NetworkChecks(len(plan.data.first.class_names), tell)
        checks.rehearse(plan.proposals.rehearsal.configs)
        _search(plan, state, checks, patience)
    if patience.lost:
        raise RecordLostError(f"{patience.lost}; go on with: toprung resume {plan.folder.path}")


def _search(plan: SweepPlan, state: SweepState, checks: NetworkChecks, patience: Patience) -> None:
    settings, study = plan.settings, state.study
    used = seconds_used(state.past)
    progress = Progress(plan.folder.path.name, settings, plan.console, read_trials(study), used)
    searcher = _searcher(plan, state, checks, progress)
    disk = DiskWatch(plan.folder, progress.tell)
    deaths = Deaths(searcher, progress.tell, settings.trial_timeout, disk)
    compares = trial_scheduler(settings, deaths.died)
    _replay(state, compares)
    ending = Ending(settings, searcher, patience, progress.tell, used)
    callbacks = [
        ResultLog(plan.folder, patience),
        TensorBoardCallback(plan.folder, list(plan.proposals.rehearsal.parameters), patience),
        disk,
        deaths,
        progress,
        KeptCheckpoints(plan.folder, settings, study, patience),
        ForgetEnded(),
    ]
    tuner = _tuner(plan, searcher, compares, ending, callbacks)
    logging.getLogger("ray.tune.tune").setLevel(logging.CRITICAL)  # failures are told by `Progress`
    ended = attributes.INTERRUPTED  # what a sweep is whose `fit` raises
    try:
        with signals_set(ending), lean_tune():
            state.file.write([events.sweep(SEARCHING)])
            # Tune would begin trials before it asks whether a resumed sweep has time for them.
            if not (state.past and ending.stop_all()):
                tuner.fit()
        ended = ending.ended
    finally:
        progress.close()
        searcher.close(ended)
        ending.close()


def _searcher(
    plan: SweepPlan, state: SweepState, checks: NetworkChecks, progress: Progress
) -> StudySearcher:
    confirmation = Confirmation(
        state.study,
        plan.settings,
        plan.proposals,
        lambda event, told: state.file.write([event], (), told),
        progress.tell,
        state.confirmation,
    )
    return StudySearcher(
        state.study,
        state.file.write,
        plan.proposals,
        lambda config: checks(plan.data(config)),
        progress.refused,
        progress.tell,
        confirmation,
        plan.settings,
        plan.folder,
        [event for _, event in state.past],
    )


def _tuner(
    plan: SweepPlan,
    searcher: StudySearcher,
    compares: SearchOnly | RunToTheEnd,
    ending: Ending,
    callbacks: Sequence[tune.Callback],
) -> tune.Tuner:
    settings = plan.settings
    return tune.Tuner(
        tune.with_resources(
            train_trial, {"CPU": settings.cpus_per_trial, "GPU": settings.gpus_per_trial or 0}
        ),
        tune_config=tune.TuneConfig(
            search_alg=searcher,
            scheduler=compares,
            num_samples=-1,  # the searcher says when it is over
            max_concurrent_trials=settings.concurrency,
            reuse_actors=True,
            trial_name_creator=_trial_name,
            trial_dirname_creator=_trial_name,
        ),
        run_config=tune.RunConfig(
            name=RAY_EXPERIMENT,
            storage_path=str(plan.folder.path),
            stop=ending,
            callbacks=list(callbacks),
            failure_config=tune.FailureConfig(max_failures=MAX_DEATHS),
            verbose=0,
        ),
    )


def _replay(state: SweepState, compares: SearchOnly | RunToTheEnd) -> None:
    """Lead ASHA to where it was: every trial's reports, in the order in which they came."""
    runs = {trial.number for trial in read_trials(state.study) if trial.confirms is not None}
    last: dict[int, tuple[float, float]] = {}
    for _, event in state.past:
        number: int = event.get("trial", -1)
        if event["event"] == events.REPORTED and number not in runs:
            last[number] = event["epoch"], event["score"]
        if event["event"] in (events.REPORTED, events.ENDED) and number in last:
            compares.replay(number, *last[number])


def _trial_name(trial: Any) -> str:
    return SweepFolder.trial_name(trial.config["number"])
