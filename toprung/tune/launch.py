"""Running a sweep: the Optuna study, Ray Tune and ASHA put together."""

import logging
import os
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from shlex import quote
from typing import Any

from ray import tune

from toprung import events
from toprung.analysis.study.trials import read_trials
from toprung.analysis.sweep_folder import attributes
from toprung.analysis.sweep_folder.folder import RAY_EXPERIMENT, SweepFolder
from toprung.cluster import ray_internals
from toprung.cluster.internals import warn_of
from toprung.cluster.messages import Node
from toprung.cluster.own_ray import watched
from toprung.cluster.placement import resources
from toprung.cluster.placement.packing import Packing, resources_of
from toprung.cluster.session import RaySession
from toprung.console import BEGAN, show_line
from toprung.planning.kept_code import IS_SENT
from toprung.planning.network_checks import NetworkChecks
from toprung.planning.plan import SweepPlan
from toprung.planning.sweep_state import SEARCHING, SweepState, begun, resumed, seconds_used
from toprung.search.confirmation_runs import Confirmation
from toprung.search.study_books import StudyBooks
from toprung.storage.retry import Patience, RecordLostError
from toprung.tune.callbacks.adapter import TuneCallback
from toprung.tune.callbacks.disk_watch import DiskWatch
from toprung.tune.callbacks.kept_checkpoints import KeptCheckpoints
from toprung.tune.callbacks.mirror import Mirror, mirrored
from toprung.tune.callbacks.newcomers import Newcomers
from toprung.tune.callbacks.oom_watch import OomWatch
from toprung.tune.callbacks.progress import Progress
from toprung.tune.callbacks.starvation_watch import RoomWatch
from toprung.tune.callbacks.watcher import Watcher
from toprung.tune.capacity import Capacity
from toprung.tune.crashes import MAX_DEATHS, Deaths
from toprung.tune.gpu_memory import find_packing
from toprung.tune.lost_lines import complete_logs, trial_logs
from toprung.tune.patches import lean_tune
from toprung.tune.scheduler import RunToTheEnd, SearchOnly, trial_scheduler
from toprung.tune.searcher import StudySearcher
from toprung.tune.stopping import Ending, signals_set
from toprung.tune.trial_function import train_trial


def launch(plan: SweepPlan, session: RaySession, looked_at: Sequence[Node] | None) -> None:
    """Run a sweep on the session's Ray. The study says how it ended (`attributes`).

    Args:
        plan: of the sweep.
        session: has started Ray, or is about to.
        looked_at: the nodes of the cluster that were looked at; None of a Ray of our own.

    Raises:
        RecordLostError: if its record could not be written for too long; it can be resumed.
    """
    tell = partial(show_line, plan.console)
    patience = Patience(tell)
    state_of = begun if plan.said is None else resumed
    with mirrored(plan, patience) as mirror, state_of(plan, patience) as state:
        if IS_SENT in os.environ:
            tell(f"{BEGAN}{plan.folder.address}")
        if plan.store is not None:
            session.lend_credentials(plan.store.url)
        warn_of(ray_internals.OF_A_SWEEP, tell)
        session.wait()
        checks = NetworkChecks(len(plan.data.first.class_names), tell)
        checks.rehearse(plan.proposals.rehearsal.configs)
        session.check()  # without its server, Ray would wait a minute to answer
        packing = find_packing(plan, resources.nodes(), [event for _, event in state.past], tell)
        if packing.trials_per_gpu is not None:
            state.file.write([events.packing(packing.trials_per_gpu)])
            plan = replace(plan, settings=packing.settings)  # numbers; "auto" is what is kept
        _search(plan, state, checks, patience, packing, mirror, looked_at, session)
    if patience.lost:
        place = quote(plan.folder.address)
        raise RecordLostError(f"{patience.lost}; resume with: toprung resume {place}")


def _search(
    plan: SweepPlan,
    state: SweepState,
    checks: NetworkChecks,
    patience: Patience,
    packing: Packing,
    mirror: Mirror | None,
    looked_at: Sequence[Node] | None,
    session: RaySession,
) -> None:
    settings, study, name = plan.settings, state.study, plan.folder.path.name
    used = seconds_used(state.past)
    progress = Progress(
        name, settings, plan.console, packing, before=read_trials(study), seconds_used=used
    )
    searcher = _searcher(plan, state, checks, progress, packing)
    disk = DiskWatch(plan.folder, progress.tell, mirror)
    oom_watch = OomWatch(looked_at)
    deaths = Deaths(
        searcher, progress.tell, timeout=settings.trial_timeout, disk=disk, oom_watch=oom_watch
    )
    compares = trial_scheduler(settings, deaths.died)
    _replay(state, compares)
    ending = Ending(
        settings,
        searcher,
        patience,
        progress.tell,
        kill_ray=session.end_at_once,
        seconds_used=used,
    )
    logs = trial_logs(plan.folder, list(plan.proposals.rehearsal.parameters), patience)
    mirrors = [mirror] if mirror else []
    trials = study.get_trials(deepcopy=False)
    patience(lambda: complete_logs(trials, plan.folder, [*logs, *mirrors]))
    watchers: list[Watcher] = [
        *logs,
        disk,
        deaths,
        oom_watch,
        RoomWatch(packing, progress.tell),
        *([Newcomers(plan, looked_at, progress.tell)] if looked_at is not None else []),
        progress,
        KeptCheckpoints(
            plan.folder,
            settings,
            study,
            patience,
            remove=mirror.remove_checkpoint if mirror else None,
        ),
        *mirrors,
    ]
    tuner = _tuner(plan, searcher, compares, ending, watchers)
    logging.getLogger("ray.tune.tune").setLevel(logging.CRITICAL)  # failures are told by `Progress`
    ended = attributes.INTERRUPTED  # what a sweep is whose `fit` raises
    try:
        with (
            signals_set(ending),
            lean_tune(lambda: ending.ray_is_lost, progress.tell),
            watched(session.own, partial(_lose_ray, plan, ending)),
        ):
            state.file.write([events.sweep(SEARCHING)])
            if mirror is not None:
                mirror.bring_now()  # no trial is ahead of what the sweep was asked for
            # Tune would begin trials before it asks whether a resumed sweep has time for them.
            if not (state.past and ending.stop_all()):
                tuner.fit()
        ended = ending.ended
    finally:
        progress.close()
        searcher.close(ended)
        ending.close()


def _lose_ray(plan: SweepPlan, ending: Ending, what: str) -> None:
    place = quote(plan.folder.address)
    ending.lose_ray(f"{what}, so the sweep ends here; resume with: toprung resume {place}")


def _searcher(
    plan: SweepPlan,
    state: SweepState,
    checks: NetworkChecks,
    progress: Progress,
    packing: Packing,
) -> StudySearcher:
    confirmation = Confirmation(
        state.study,
        plan.settings,
        plan.proposals,
        keep=lambda event, told: state.file.write([event], (), told),
        show=progress.tell,
        decided=state.confirmation,
    )
    return StudySearcher(
        books=StudyBooks(state.study, state.file.write),
        proposals=plan.proposals,
        complete=lambda config: checks(state.places(plan.weights(plan.data(config)))),
        refused=progress.refused,
        tell=progress.tell,
        confirmation=confirmation,
        at_once=Capacity(packing, progress.tell),
        settings=plan.settings,
        folder=plan.folder,
        past=[event for _, event in state.past],
        packing=packing,
    )


def _tuner(
    plan: SweepPlan,
    searcher: StudySearcher,
    compares: SearchOnly | RunToTheEnd,
    ending: Ending,
    watchers: Sequence[Watcher],
) -> tune.Tuner:
    settings = plan.settings
    return tune.Tuner(
        tune.with_resources(train_trial, resources_of),
        tune_config=tune.TuneConfig(
            search_alg=searcher,
            scheduler=compares,
            num_samples=-1,  # the searcher says when it is over
            # The searcher holds back what is too much; this is how many Tune asks for at a time.
            max_concurrent_trials=settings.concurrency or settings.max_at_once,
            reuse_actors=True,
            trial_name_creator=_trial_name,
            trial_dirname_creator=_trial_name,
        ),
        run_config=tune.RunConfig(
            name=RAY_EXPERIMENT,
            storage_path=str(plan.folder.path),
            stop=ending,
            callbacks=[TuneCallback(watchers)],
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
