"""The Python interface: run a sweep, open a sweep."""

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from rich.console import Console

from analysis import Sweep
from search_spaces import SearchSpace, load
from search_spaces.loading import SpaceFunction
from toprung import launch, resources
from toprung.errors import ToprungError
from toprung.new_sweep import DataPreparer, created, new_folder
from toprung.proposals import Proposals
from toprung.settings import resolve
from trainables.config import as_plain, load_config


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
    gpus_per_trial: float | None = None,
    seed: int | None = None,
    sampler: str | None = None,
    trial_scheduler: str | None = None,
    metric: str | None = None,
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
        data: `digits`, a folder of class folders, or a CSV file; the space's own if not given.
        overrides: settings or parameters to fix, by path: `{"optimizer/lr": 0.01}`.
        name: the sweep's name; the space's name and the time if not given.
        out: the folder in which the sweep's folder is made.
        trials: how many configurations to try.
        max_epochs: how long a trial trains at the most.
        grace_epochs: how long a trial trains at the least before it can be stopped early.
        reduction_factor: ASHA lets the best 1/`reduction_factor` of a rung go on.
        time_budget: seconds, or a duration such as `"2h"`.
        concurrency: how many trials run at a time; as many as fit if not given.
        cpus_per_trial: CPUs of one trial; also its number of threads.
        gpus_per_trial: GPUs of one trial, whole or a fraction; one if there is one.
        seed: of every random choice in the sweep. (The data's split has its own, see
            `data/split_seed`.)
        sampler: `tpe`, `random`, `grid` or `gp`.
        trial_scheduler: `asha` or `none`.
        metric: `val_accuracy` or `val_loss`.
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
    }
    console = console or Console(stderr=True)
    search_space = _space(space, config)
    settings = resources.settle(resolve(search_space.defaults, given))
    fixed = _overrides(overrides or {}, data)
    proposals = Proposals(search_space, settings, fixed)
    grid = proposals.grid() if settings.sampler == "grid" else []
    if grid:
        settings = settings.model_copy(update={"trials": min(settings.trials, len(grid))})
    folder = new_folder(Path(out), name or _default_name(search_space))
    pin_data = DataPreparer(console)
    for example in proposals.rehearsal.configs:
        pin_data(example)
    with launch.ray_running():
        sampler_ = launch.sampler(settings)
        with created(folder, search_space, settings, fixed, pin_data.first, sampler_) as study:
            for parameters in grid[: settings.trials]:
                study.enqueue_trial(parameters)
            launch.search(study, proposals, settings, folder, pin_data, console)
    return Sweep(folder.path)


def open_sweep(path: str | Path) -> Sweep:
    """Open the folder of a sweep, finished or still running.

    Raises:
        SweepFolderError: if the folder holds no sweep.
    """
    return Sweep(path)


def _space(space: str | SpaceFunction | None, config: str | Path | None) -> SearchSpace:
    if (space is None) == (config is None):
        raise ToprungError("give either a search space or a config, and not both")
    if space is not None:
        return load(space)
    assert config is not None
    return _space_of_one(Path(config))


def _space_of_one(path: Path) -> SearchSpace:
    """The space that holds exactly this config, trained for its full length."""
    config = load_config(path)
    return SearchSpace(
        name=path.stem,
        function=lambda _: as_plain(config),
        defaults={
            "trials": 1,
            "max_epochs": config.training.epochs,
            "trial_scheduler": "none",
            "metric": config.training.metric,
        },
        description=f"The one config {path}.",
    )


def _overrides(given: Mapping[str, Any], data: str | Path | None) -> dict[str, Any]:
    if data is not None and "data/source" in given:
        raise ToprungError("data is given twice: as the data and as the override data/source")
    return dict(given) if data is None else {**given, "data/source": str(data)}


def _default_name(space: SearchSpace) -> str:
    return f"{space.name}-{datetime.now():%Y%m%d-%H%M%S}"
