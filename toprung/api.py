"""The Python interface: run a sweep, resume one, open one.

Everything is checked first, without torch; torch and Tune are imported while Ray is starting.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console

from toprung.analysis.study.sweep_record import SweepRecord
from toprung.analysis.study.trusting import trust_from_now_on
from toprung.analysis.sweep import Sweep
from toprung.cluster.joining import joined
from toprung.cluster.preflight import check_cluster
from toprung.cluster.session import ray_session
from toprung.console import show_line
from toprung.planning.plan import SweepPlan, plan_sweep
from toprung.planning.resuming import plan_resume
from toprung.search_spaces.loading import SpaceFunction
from toprung.storage.working_copy import bring_back, local_path, taken_up
from toprung.trainables.system.console import PrintableConsole
from toprung.trainables.system.environment import environment_kept


def run(
    space: str | SpaceFunction | None = None,
    *,
    config: str | Path | None = None,
    data: str | Path | None = None,
    overrides: Mapping[str, Any] | None = None,
    name: str | None = None,
    out: str | Path = "sweeps",
    trials: int | None = None,
    max_epochs: int | None = None,
    grace_epochs: int | None = None,
    reduction_factor: int | None = None,
    time_budget: str | float | None = None,
    concurrency: int | None = None,
    cpus_per_trial: int | None = None,
    gpus_per_trial: float | str | None = None,
    seed: int | None = None,
    sampler: str | None = None,
    trial_scheduler: str | None = None,
    metric: str | None = None,
    confirm: int | None = None,
    seeds: int | None = None,
    trial_timeout: str | float | None = None,
    keep_checkpoints: int | None = None,
    warm_start: str | Path | None = None,
    fresh_test: bool = False,
    storage: str | None = None,
    address: str | None = None,
    console: Console | None = None,
) -> Sweep:
    """Search a space of image classifiers; the test set stays sealed.

    >>> sweep = toprung.run("digits_cnn", trials=24)  # doctest: +SKIP
    >>> sweep.best(), sweep.test()  # doctest: +SKIP

    Args:
        space: a shipped name, `path/to/file.py`, `package.module`, or a function
            `search_space(trial: optuna.Trial) -> dict`.
        config: instead of a space, a trial's YAML file (such as an exported `trial.yaml`); exactly
            that trial is trained.
        data: a named data set, a folder of class folders, or a CSV file; the space's own if not
            given.
        overrides: settings or parameters to fix, by path: `{"optimizer/lr": 0.01}`.
        name: the sweep's name; the space's name and the time if not given.
        out: the folder in which the sweep's folder is made; or the URL of a place in an object
            store, such as `s3://bucket/sweeps`, without credentials.
        trials: how many configurations to try.
        max_epochs: how long a trial trains at the most.
        grace_epochs: how long a trial trains at the least before it can be stopped early.
        reduction_factor: ASHA lets the best 1/`reduction_factor` of a rung go on.
        time_budget: of the search and of a confirmation that was not asked for; seconds, or a
            duration such as `"2h"`.
        concurrency: how many trials run at a time; as many as fit if not given, on a cluster as
            its nodes come and go.
        cpus_per_trial: CPUs of one trial; also its number of threads. One if not given; where
            GPUs are packed ("auto"), a machine's CPUs are shared out, up to two for each.
        gpus_per_trial: GPUs of one trial, whole or a fraction; one if there is one. `"auto"`: as
            many trials on each as its memory holds; this is measured, and fewer if it was too many.
        seed: of every random choice in the sweep. (The data's split has its own, see
            `data/split_seed`.)
        sampler: `tpe`, `random`, `grid` or `gp`.
        trial_scheduler: `asha` or `none`.
        metric: `val_accuracy`, `val_mean_class_accuracy` or `val_loss`.
        confirm: how many of the best trials to train again after the search, in full and with
            fresh seeds; the winner is the one with the best mean. 3 if not given and cheap, 0 none.
        seeds: with how many seeds each, at least 2.
        trial_timeout: end a trial that reports nothing for so long; seconds, or a duration.
        keep_checkpoints: of how many of the best trials the checkpoint is kept.
        warm_start: the folder or URL of another sweep: its best configs are tried first, and where
            it trained the same, the sampler is given its trials.
        fresh_test: draw a test set of images that were not opened in any earlier sweep that is
            known here (beside the new sweep, or in the user's state folder): a value of
            `data/test_draw`. Images that were opened may train then.
        storage: where the study is to be, if not in the sweep's folder: a PostgreSQL URL without
            a password, such as `postgresql://USER@HOST/DATABASE`.
        address: of the Ray cluster on which the trials are to run, this process being the driver:
            `"auto"` (this machine is one of its nodes) or `"HOST:6379"`, its head. A Ray of this
            machine's own if not given. One that this process has joined is used anyhow.
        console: where progress is shown; stderr if not given.

    Settings that are None are the space's own (its `SWEEP`), or the default of `SweepSettings`.

    Raises:
        ValueError: for anything the user can mend, before any trial starts and with nothing
            written. See `toprung.errors.USER_ERRORS` for its kinds.
    """
    given = {
        "trials": trials,
        "max_epochs": max_epochs,
        "grace_epochs": grace_epochs,
        "reduction_factor": reduction_factor,
        "time_budget": time_budget,
        "concurrency": concurrency,
        "cpus_per_trial": cpus_per_trial,
        "gpus_per_trial": gpus_per_trial,
        "seed": seed,
        "sampler": sampler,
        "trial_scheduler": trial_scheduler,
        "metric": metric,
        "confirm": confirm,
        "seeds": seeds,
        "trial_timeout": trial_timeout,
        "keep_checkpoints": keep_checkpoints,
    }
    shown = console or PrintableConsole(stderr=True)
    with environment_kept(), joined(address, shown):
        plan = plan_sweep(
            space,
            config,
            given,
            overrides=overrides or {},
            data=data,
            out=out,
            name=name,
            storage=storage,
            warm_start=warm_start,
            fresh_test=fresh_test,
            console=shown,
        )
        _launch(plan)
    return Sweep(plan.folder.path, trust=True)


def resume(
    path: str | Path,
    *,
    space: SpaceFunction | None = None,
    trials: int | str | None = None,
    max_epochs: int | str | None = None,
    time_budget: str | float | None = None,
    concurrency: int | None = None,
    cpus_per_trial: int | None = None,
    gpus_per_trial: float | str | None = None,
    trial_timeout: str | float | None = None,
    address: str | None = None,
    trust: bool = False,
    console: Console | None = None,
) -> Sweep:
    """Go on with a sweep that was interrupted or killed, or give one more to do.

    Nothing that had ended is run again. Trials that ran go on from their last checkpoint, and what
    is decided from now on is what would have been decided anyway. (Exactly so with one trial at a
    time; with more of them, who reports first is up to the machine.)

    This runs the sweep's search space, whose source is kept in its folder. Nothing else of what
    one can do with a sweep runs code from its folder.

    >>> sweep = toprung.resume("sweeps/digits", trials="+50")  # doctest: +SKIP

    Args:
        path: the sweep's folder, or its URL in an object store.
        space: the search space, if it was given as a function.
        trials: how many configurations to try in all, or `"+50"`: so many more.
        max_epochs: how long a trial trains at the most, or `"+10"`; trials that had come to their
            end, and whose checkpoint is kept, go on.
        time_budget: of all that the sweep has run, or `"+1h"`.
        concurrency: how many trials run at a time; as before, if so many fit.
        cpus_per_trial: CPUs of one trial.
        gpus_per_trial: GPUs of one trial, or `"auto"`.
        trial_timeout: end a trial that reports nothing for so long.
        address: of the Ray cluster on which it goes on, as for `run`.
        trust: whether its code is to be run, and all that its files name outside the folder to be
            used, though it is not in the user's record of sweeps; it is recorded then.
        console: where progress is shown; stderr if not given.

    Raises:
        ValueError: for anything the user can mend. See `toprung.errors.USER_ERRORS`.
    """
    given = {
        "trials": trials,
        "max_epochs": max_epochs,
        "time_budget": time_budget,
        "concurrency": concurrency,
        "cpus_per_trial": cpus_per_trial,
        "gpus_per_trial": gpus_per_trial,
        "trial_timeout": trial_timeout,
    }
    shown = console or PrintableConsole(stderr=True)
    with environment_kept(), joined(address, shown), taken_up(path, trust=trust) as record:
        if trust:
            _record_trust(record, shown)
        plan = plan_resume(record, given, space=space, console=shown)
        record.close()  # one who reads would keep the driver from leaving one plain file behind
        if plan is None:
            from toprung.tune.lost_lines import leave_in_order  # it needs Ray

            leave_in_order(record, shown)
            bring_back(record.folder)
        else:
            _launch(plan)
    return Sweep(record.folder.path, trust=True)


def _launch(plan: SweepPlan) -> None:
    with ray_session(_import_launch) as session:
        from toprung.tune.launch import launch

        launch(plan, session, check_cluster(plan) if session.joined else None)


def _import_launch() -> None:
    import toprung.tune.launch  # noqa: F401


def open_sweep(path: str | Path, *, trust: bool = False) -> Sweep:
    """Open the folder of a sweep, finished or still running; or its URL in an object store.

    Args:
        path: the folder, or the URL.
        trust: whether all that its files name outside the folder may be used (a database, images,
            weights), though it is not in the user's record of sweeps; it is recorded then.

    Raises:
        SweepFolderError: if the folder holds no sweep, or its study is in a database that the user
            has not agreed to.
        ToprungError: if the URL holds none.
        StoreError: if the store cannot be read.
    """
    sweep = Sweep(local_path(path), trust=trust)
    if trust:
        _record_trust(sweep, PrintableConsole(stderr=True))
    return sweep


def _record_trust(record: SweepRecord, console: Console) -> None:
    if problem := trust_from_now_on(record):
        show_line(console, problem)
