"""One sweep from its settings to its folder: check, prepare, search."""

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from rich.console import Console

from analysis import Sweep
from search_spaces import SearchSpace
from toprung import launch, resources
from toprung.errors import ToprungError
from toprung.new_sweep import DataPreparer, created, new_folder
from toprung.proposals import Proposals
from toprung.ray_session import RaySession
from toprung.settings import resolve
from trainables.config import as_plain, load_config


def run_sweep(
    session: RaySession,
    space: SearchSpace,
    given: Mapping[str, Any],
    *,
    overrides: Mapping[str, Any],
    data: str | Path | None,
    out: Path,
    name: str | None,
    console: Console,
) -> Sweep:
    """Run a sweep on the session's Ray; see `toprung.run` for the arguments and errors."""
    fixed = _with_data(overrides, data)
    settings = resolve(space.defaults, given)
    there_are = resources.of_running_ray() if session.joined else resources.of_this_machine()
    settings = resources.settle(settings, there_are)
    proposals = Proposals(space, settings, fixed)
    grid = proposals.grid() if settings.sampler == "grid" else []
    if grid:
        settings = settings.model_copy(update={"trials": min(settings.trials, len(grid))})
    folder = new_folder(out, name or f"{space.name}-{datetime.now():%Y%m%d-%H%M%S}")
    pin_data = DataPreparer(console)
    for example in proposals.rehearsal.configs:
        pin_data(example)
    sampler = launch.sampler(settings)
    with created(folder, space, settings, fixed, pin_data.first, sampler) as study:
        for parameters in grid[: settings.trials]:
            study.enqueue_trial(parameters)
        session.wait()
        launch.search(study, proposals, settings, folder, pin_data, console)
    return Sweep(folder.path)


def space_of_one_config(path: Path) -> SearchSpace:
    """The space that holds exactly this config, trained for its full length.

    Raises:
        ConfigError: if the config has mistakes.
    """
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


def _with_data(overrides: Mapping[str, Any], data: str | Path | None) -> dict[str, Any]:
    if data is not None and "data/source" in overrides:
        raise ToprungError("data is given twice: as the data and as the override data/source")
    return dict(overrides) if data is None else {**overrides, "data/source": str(data)}
