"""The Python interface: run a sweep, resume one, open one.

Everything is checked first, without torch; torch and Tune are imported while Ray starts.
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

    Settings that are None are taken from the space (its `SWEEP`), or else from the defaults of
    `SweepSettings`.

    >>> sweep = toprung.run("digits_cnn", trials=24)  # doctest: +SKIP
    >>> sweep.best(), sweep.test()  # doctest: +SKIP

    Args:
        space: the name of a shipped space, `path/to/file.py`, `package.module`, or a function
            `search_space(trial: optuna.Trial) -> dict`.
        config: instead of a space, a trial's YAML file (such as an exported `trial.yaml`); exactly
            that trial is trained.
        data: a named data set, a folder of class folders, or a CSV file; by default, the data set
            that the space names.
        overrides: settings or parameters to fix, by path: `{"optimizer/lr": 0.01}`.
        name: the sweep's name; by default, the space's name and the time.
        out: the folder in which the sweep's folder is created; or the URL of a location in an
            object store, such as `s3://bucket/sweeps`, without credentials.
        trials: how many configs to try.
        max_epochs: the most epochs for which a trial trains.
        grace_epochs: the fewest epochs for which a trial trains before it can be stopped early.
        reduction_factor: at each rung, ASHA lets the best 1/`reduction_factor` of the trials
            continue.
        time_budget: the time for the search, and for a confirmation that was not asked for; in
            seconds, or a duration such as `"2h"`.
        concurrency: how many trials run at a time; by default, as many as fit (on a cluster, this
            follows the nodes that join and leave).
        cpus_per_trial: the CPUs of one trial, and its number of threads. The default is 1; where
            trials share GPUs (`"auto"`), they divide the machine's CPUs, up to two for each trial.
        gpus_per_trial: the GPUs of one trial, a whole number or a fraction; by default 1 if the
            machine has a GPU. `"auto"`: as many trials on each GPU as its memory holds; this is
            measured, and lowered if a trial runs out of memory.
        seed: the seed of every random choice in the sweep, except the split of the data, which has
            its own (`data/split_seed`).
        sampler: `tpe`, `random`, `grid` or `gp`.
        trial_scheduler: `asha` or `none`.
        metric: `val_accuracy`, `val_mean_class_accuracy` or `val_loss`.
        confirm: how many of the best trials to train again after the search, in full and with
            fresh seeds; the winner is the one with the best mean. 0 for none; by default 3, if
            that is cheap.
        seeds: with how many fresh seeds each of these is trained, at least 2.
        trial_timeout: end a trial that has reported nothing for this long; in seconds, or a
            duration.
        keep_checkpoints: how many of the best trials keep their checkpoints.
        warm_start: the folder or URL of another sweep: its best configs are tried first, and its
            trials that match the new space and data are added to the sampler's history.
        fresh_test: draw a test set of images that were not opened in any earlier sweep that is
            known here (beside the new sweep, or in the user's state folder): a value of
            `data/test_draw`. Images that were opened before may then be used for training.
        storage: the database of the study, if it is not to be a file in the sweep's folder: a
            PostgreSQL URL without a password, such as `postgresql://USER@HOST/DATABASE`.
        address: the address of the Ray cluster on which the trials run, with this process as the
            driver: `"auto"` (this machine is one of its nodes), or the address of its head,
            `"HOST:6379"`. By default, Ray is started on this machine; a cluster that this process
            has joined already is used in any case.
        console: where progress is shown; stderr by default.

    Returns:
        The finished or interrupted sweep.

    Raises:
        ValueError: for any error that the user can fix, before any trial starts and before
            anything is written. See `toprung.errors.USER_ERRORS` for its subclasses.
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
    """Resume a sweep that was interrupted or killed, or extend one by more trials, epochs or time.

    No trial that has ended is run again. Trials that were running resume from their last
    checkpoint, and the sweep's further decisions are those that it would have made without the
    interruption. (This holds exactly with one trial at a time; with several, their order of
    reporting depends on the machine.)

    This runs the sweep's search space, whose source is kept in its folder. It is the only operation
    on a sweep that runs code from its folder.

    >>> sweep = toprung.resume("sweeps/digits", trials="+50")  # doctest: +SKIP

    Args:
        path: the sweep's folder, or its URL in an object store.
        space: the search space, if the sweep was started with a function.
        trials: how many configs to try in total, or an addition such as `"+50"`.
        max_epochs: the most epochs for which a trial trains, or an addition such as `"+10"`;
            trials that had finished, and whose checkpoints are kept, continue.
        time_budget: the time for all that the sweep runs, including what it has used before; or an
            addition such as `"+1h"`.
        concurrency: how many trials run at a time; by default, as many as before, if they fit.
        cpus_per_trial: the CPUs of one trial.
        gpus_per_trial: the GPUs of one trial, or `"auto"`.
        trial_timeout: end a trial that has reported nothing for this long; in seconds, or a
            duration.
        address: the address of the Ray cluster on which the trials run, as for `run`.
        trust: run the sweep's code, and use whatever its files name outside its folder, even if the
            sweep is not in the user's record of sweeps; it is then added to that record.
        console: where progress is shown; stderr by default.

    Returns:
        The finished or interrupted sweep.

    Raises:
        ValueError: for any error that the user can fix. See `toprung.errors.USER_ERRORS`.
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
        record.close()  # an open reader would keep the driver from leaving one plain file
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
    """Open a sweep, finished or still running, by its folder or its URL in an object store.

    Args:
        path: the folder, or the URL.
        trust: use whatever the sweep's files name outside its folder (a database, images, weights),
            even if the sweep is not in the user's record of sweeps; it is then added to that
            record.

    Returns:
        The sweep, for reading, testing, exporting and reporting.

    Raises:
        SweepFolderError: if the folder does not hold a sweep, or its study is in a database that
            the user has not agreed to.
        ToprungError: if there is no sweep at the URL.
        StoreError: if the object store cannot be read.
    """
    sweep = Sweep(local_path(path), trust=trust)
    if trust:
        _record_trust(sweep, PrintableConsole(stderr=True))
    return sweep


def _record_trust(record: SweepRecord, console: Console) -> None:
    if problem := trust_from_now_on(record):
        show_line(console, problem)
