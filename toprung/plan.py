"""A sweep that has been checked and prepared, and not started: nothing is written yet."""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from rich.console import Console

from analysis.folder import SweepFolder
from search_spaces import SearchSpace, load
from search_spaces.loading import SpaceFunction
from toprung import resources
from toprung.data_pins import DataPins
from toprung.errors import ToprungError
from toprung.proposals import Proposals
from toprung.settings import SweepSettings, resolve
from trainables.config import TrialConfig, as_plain, load_config
from trainables.data.cache import limit_bytes

_SEARCHING = (
    "trials",
    "max_epochs",
    "grace_epochs",
    "reduction_factor",
    "seed",
    "sampler",
    "trial_scheduler",
    "metric",
)
"""Settings of a search, which mean nothing for one trial."""


@dataclass(frozen=True)
class SweepPlan:
    """What a sweep will do, where, and on which data.

    `grid` has the combinations to try, in order, for the sampler `grid`; it is empty for others.
    """

    space: SearchSpace
    settings: SweepSettings
    overrides: Mapping[str, Any]
    proposals: Proposals
    grid: list[dict[str, Any]]
    folder: SweepFolder
    data: DataPins
    console: Console


def plan_sweep(
    space: str | SpaceFunction | None,
    config: str | Path | None,
    given: Mapping[str, Any],
    *,
    overrides: Mapping[str, Any],
    data: str | Path | None,
    out: Path,
    name: str | None,
    console: Console,
) -> SweepPlan:
    """Check everything that can be checked, and prepare the data; see `toprung.run`."""
    found = _find_space(space, config, given)
    settings = resources.settle(resolve(found.defaults, given), resources.nodes())
    fixed = _with_data(overrides, data)
    if name is None:
        name = f"{found.name}-{datetime.now():%Y%m%d-%H%M%S}"
    folder = _new_folder(out, name)
    proposals = Proposals(found, settings, fixed)
    grid = proposals.grid() if settings.sampler == "grid" else []
    if grid:
        settings = settings.model_copy(update={"trials": min(settings.trials, len(grid))})
    limit_bytes()  # told here if it is no size
    pins = DataPins(console)
    _fetch_weights(proposals.rehearsal.configs)
    for example in proposals.rehearsal.configs:
        pins(example)
    return SweepPlan(found, settings, fixed, proposals, grid, folder, pins, console)


def _find_space(
    space: str | SpaceFunction | None, config: str | Path | None, given: Mapping[str, Any]
) -> SearchSpace:
    if (space is None) == (config is None):
        raise ToprungError("give either a search space or a config (--config), and not both")
    if space is not None:
        return load(space)
    assert config is not None
    searching = [name for name in _SEARCHING if given.get(name) is not None]
    if searching:
        raise ToprungError(
            f"{', '.join(searching)}: goes with a search space; with a config exactly that trial "
            "is trained. Change the trial itself with --set"
        )
    return _space_of_one(Path(config))


def _fetch_weights(configs: Sequence[TrialConfig]) -> None:
    """See that all pretrained weights are there before any trial starts."""
    decides = {"architecture", "backbone", "weights"}
    models = {str(config.model.model_dump(include=decides)): config.model for config in configs}
    for model in models.values():
        model.fetch_weights()


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
            "seed": config.seed,
        },
        description=f"The one config {path}.",
    )


def _with_data(overrides: Mapping[str, Any], data: str | Path | None) -> dict[str, Any]:
    if data is not None and "data/source" in overrides:
        raise ToprungError("data is given twice: as the data and as the override data/source")
    plain: dict[str, Any] = json.loads(json.dumps(dict(overrides), default=_plain))
    # Other data have another content than the one that a trial's config may have pinned.
    return plain if data is None else {"data/digest": None, **plain, "data/source": str(data)}


def _plain(value: Any) -> Any:
    """NumPy's numbers as Python's; paths and the like as text."""
    return value.item() if hasattr(value, "item") else str(value)


def _new_folder(out: Path, name: str) -> SweepFolder:
    """Where the sweep will go; nothing is made yet."""
    if not name or "/" in name or name in (".", ".."):
        raise ToprungError(f"name = {name!r}: must be the name of a folder")
    folder = SweepFolder(out.absolute() / name)
    try:
        exists = folder.path.exists()
        parent = next(parent for parent in folder.path.parents if parent.exists())
    except OSError as error:
        raise ToprungError(f"{folder.path}: cannot be made: {error.strerror}") from None
    if exists:
        what = "another sweep" if folder.settings.exists() else "something else"
        raise ToprungError(f"{folder.path}: holds {what} already; choose another --name or --out")
    if not parent.is_dir() or not os.access(parent, os.W_OK | os.X_OK):
        raise ToprungError(f"{folder.path}: cannot be made, because {parent} cannot be written")
    return folder
