"""A sweep that has been checked and prepared, but not started: nothing is written yet."""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from rich.console import Console

from toprung.analysis.seal.ledger import History, history_of
from toprung.analysis.study.sweep_record import SweepRecord
from toprung.analysis.sweep_folder.folder import SweepFolder
from toprung.analysis.sweep_folder.known_sweeps import new_id
from toprung.analysis.sweep_folder.study_place import StudyPlace
from toprung.cluster.placement import resources
from toprung.console import show_line
from toprung.errors import ToprungError
from toprung.planning.data_pins import DataPins
from toprung.planning.fresh_test import fresh_test as find_fresh_test
from toprung.planning.fresh_test import opened_before
from toprung.planning.shared_images import shared_with
from toprung.planning.study_location import new_study_place
from toprung.planning.weights_pins import WeightsPins
from toprung.search.proposals import Proposals
from toprung.search.warm_start import WarmStart
from toprung.search.warm_start import warm_start as find_warm_start
from toprung.search_spaces import SearchSpace, load
from toprung.search_spaces.loading import SpaceFunction
from toprung.settings import SweepSettings, resolve
from toprung.storage.working_copy import local_path, new_copy
from toprung.trainables.config import TrialConfig, as_plain, load_config
from toprung.trainables.data.listing.cache import limit_bytes
from toprung.trainables.files.object_store import ObjectStore, is_url
from toprung.trainables.system.secrecy import is_secret

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
"""Settings of a search, which have no meaning for a single trial."""


@dataclass(frozen=True)
class SweepPlan:
    """What a sweep will do, where, and on which data.

    Attributes:
        space: the search space.
        settings: budget, sampler, resources.
        overrides: the fixed settings and parameters, by path.
        proposals: makes the trials' configs.
        folder: the sweep's folder.
        study_place: where its study is.
        data: the prepared data of the trials.
        weights: the weights files that trials start from, and the sweep's images they were made
            with.
        console: where progress is shown.
        grid: the combinations to try, in order, for the sampler `grid`; empty for others.
        warm_start: what the study starts with from another sweep.
        config: the one config to train, instead of a space.
        said: the content of `sweep.yaml` if the sweep is resumed; None for a new one.
        id: the sweep's identifier in the user's records.
    """

    space: SearchSpace
    settings: SweepSettings
    overrides: Mapping[str, Any]
    proposals: Proposals
    folder: SweepFolder
    study_place: StudyPlace
    data: DataPins
    weights: WeightsPins
    console: Console
    grid: Sequence[dict[str, Any]] = ()
    warm_start: WarmStart | None = None
    config: Mapping[str, Any] | None = None
    said: Mapping[str, Any] | None = None
    id: str = field(default_factory=new_id)

    @property
    def store(self) -> ObjectStore | None:
        """The sweep's object store, if it has one; `folder` is then the driver's working copy."""
        return self.folder.store


def plan_sweep(
    space: str | SpaceFunction | None,
    config: str | Path | None,
    given: Mapping[str, Any],
    *,
    overrides: Mapping[str, Any],
    data: str | Path | None,
    out: str | Path,
    name: str | None,
    console: Console,
    storage: str | None = None,
    warm_start: str | Path | None = None,
    fresh_test: bool = False,
) -> SweepPlan:
    """Check everything that can be checked, and prepare the data; see `toprung.run`."""
    of_one, found = _find_space(space, config, given)
    asked = resolve(found.defaults, given)
    grows = resources.autoscales()
    settings = resources.settle(
        asked, resources.nodes(), elastic=resources.is_joined(), grows=grows
    )
    if line := resources.without_gpus(asked, settings, grows=grows):
        show_line(console, line)
    fixed = _with_data(overrides, data)
    if name is None:
        name = f"{found.name}-{datetime.now():%Y%m%d-%H%M%S}"
    folder = _new_folder(out, name)
    place = new_study_place(storage, folder)
    other = SweepRecord(local_path(warm_start)) if warm_start is not None else None
    proposals = Proposals(found, settings, fixed)
    history = history_of(folder)
    if fresh_test:
        fixed |= _with_fresh_test(proposals, fixed, history, console)
        proposals = Proposals(found, settings, fixed)
    grid = proposals.grid() if settings.sampler == "grid" else []
    if grid:
        settings = settings.model_copy(update={"trials": min(settings.trials, len(grid))})
    pins, weights = prepared(proposals, console)
    if opened := opened_before(pins.first, history):
        show_line(console, opened)
    begins_with = None
    if other is not None:
        digest = pins.first.settings.digest
        assert digest is not None
        begins_with = find_warm_start(other, proposals, settings, digest)
        for line in begins_with.messages:
            show_line(console, line)
        if warning := shared_with(other.name, other.folder, pins.first):
            show_line(console, warning)
    return SweepPlan(
        found,
        settings,
        fixed,
        proposals,
        folder,
        place,
        pins,
        weights,
        console,
        grid,
        begins_with,
        as_plain(of_one) if of_one else None,
    )


def _with_fresh_test(
    proposals: Proposals, fixed: Mapping[str, Any], history: History, console: Console
) -> dict[str, Any]:
    """The settings that `--fresh-test` fixes; shows the user which test set they select."""
    found, line = find_fresh_test(proposals.rehearsal.configs[0].data, fixed, history)
    show_line(console, line)
    return found


def check_before(
    space: str | None,
    config: str | Path | None,
    given: Mapping[str, Any],
    *,
    overrides: Mapping[str, Any],
    data: str | Path | None,
) -> tuple[SearchSpace, Proposals]:
    """Make those checks of `plan_sweep` that need neither the data nor the cluster."""
    _, found = _find_space(space, config, given)
    return found, Proposals(found, resolve(found.defaults, given), _with_data(overrides, data))


def prepared(proposals: Proposals, console: Console) -> tuple[DataPins, WeightsPins]:
    """Prepare the images and fetch the weights that the trials will need."""
    limit_bytes()  # raises here if it is not a size
    pins = DataPins(console)
    with_weights = with_each_weights(proposals.rehearsal.configs)
    for config in with_weights:
        config.model.fetch_weights()
    for example in proposals.rehearsal.configs:
        pins(example)
    weights = WeightsPins(pins.first, console)
    for config in with_weights:
        weights(config)
    return pins, weights


def _find_space(
    space: str | SpaceFunction | None, config: str | Path | None, given: Mapping[str, Any]
) -> tuple[TrialConfig | None, SearchSpace]:
    """The one config to train, if one was given; and the space to search."""
    of_one = _find_config(space, config, given)
    if of_one:
        return of_one, space_of_one(Path(str(config)).stem, of_one)
    return None, load(space or "")


def _find_config(
    space: str | SpaceFunction | None, config: str | Path | None, given: Mapping[str, Any]
) -> TrialConfig | None:
    if (space is None) == (config is None):
        raise ToprungError("give either a search space or a config (--config), and not both")
    if config is None:
        return None
    searching = [name for name in _SEARCHING if given.get(name) is not None]
    if searching:
        raise ToprungError(
            f"{', '.join(searching)}: applies to a search space only; with a config, exactly that "
            "trial is trained. Change the trial itself with --set"
        )
    return load_config(Path(config))


def with_each_weights(configs: Sequence[TrialConfig]) -> list[TrialConfig]:
    """One config for each of the pretrained weights that these configs start from."""
    decides = {"architecture", "backbone", "weights"}
    return list(
        {str(config.model.model_dump(include=decides)): config for config in configs}.values()
    )


def space_of_one(name: str, config: TrialConfig) -> SearchSpace:
    """A space that contains exactly this config, trained for all its epochs."""
    return SearchSpace(
        name=name,
        function=lambda _: as_plain(config),
        defaults={
            "trials": 1,
            "max_epochs": config.training.epochs,
            "trial_scheduler": "none",
            "metric": config.training.metric,
            "seed": config.seed,
        },
        description=f"The one config {name}.",
    )


def _with_data(overrides: Mapping[str, Any], data: str | Path | None) -> dict[str, Any]:
    if data is not None and "data/source" in overrides:
        raise ToprungError("data is given twice: as the data and as the override data/source")
    plain: dict[str, Any] = json.loads(json.dumps(dict(overrides), default=plain_value))
    # A trial's config may have pinned the digest of its data; other data have another digest.
    return plain if data is None else {"data/digest": None, **plain, "data/source": str(data)}


def plain_value(value: Any) -> Any:
    """NumPy's numbers as Python's; any other object, such as a path, as text."""
    return value.item() if hasattr(value, "item") else str(value)


def _new_folder(out: str | Path, name: str) -> SweepFolder:
    """The sweep's future folder; nothing is created yet."""
    if not name or "/" in name or name in (".", ".."):
        raise ToprungError(f"name = {name!r}: must be the name of a folder")
    if is_secret("name", name):
        raise ToprungError(
            "name: looks like a secret, and every record of the sweep would keep it; choose "
            "another --name"
        )
    if isinstance(out, str) and is_url(out):
        return new_copy(ObjectStore(out).within(name))
    folder = SweepFolder(Path(out).absolute() / name)
    try:
        exists = folder.path.exists()
        parent = next(parent for parent in folder.path.parents if parent.exists())
    except OSError as error:
        raise ToprungError(f"{folder.path}: cannot be created: {error.strerror}") from None
    if exists:
        what = "another sweep" if folder.settings.exists() else "something else"
        raise ToprungError(
            f"{folder.path}: already contains {what}; choose another --name or --out"
        )
    if not parent.is_dir() or not os.access(parent, os.W_OK | os.X_OK):
        raise ToprungError(f"{folder.path}: cannot be created, because {parent} is not writable")
    return folder
