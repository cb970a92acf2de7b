"""Planning to resume a sweep that was interrupted or killed, or to extend it."""

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from rich.console import Console

from toprung.analysis.study.sweep_record import SweepRecord
from toprung.analysis.study.trusting import places_of
from toprung.analysis.sweep_folder import attributes
from toprung.analysis.sweep_folder.known_sweeps import is_id, new_id
from toprung.analysis.sweep_folder.typed import typed
from toprung.cluster.placement import resources
from toprung.console import show_line
from toprung.errors import ToprungError
from toprung.planning.data_pins import DataPins
from toprung.planning.extension import changed
from toprung.planning.plan import SweepPlan, prepared, space_of_one
from toprung.search.proposals import Proposals
from toprung.search_spaces import SearchSpace, SearchSpaceError, load
from toprung.search_spaces.loading import SpaceFunction, load_copy
from toprung.settings import SweepSettings
from toprung.trainables.config import TrialConfig
from toprung.trainables.files.untrusted_files import check_folder
from toprung.trainables.system.typed_settings import parse


def plan_resume(
    record: SweepRecord,
    given: Mapping[str, Any],
    *,
    space: SpaceFunction | None,
    console: Console,
) -> SweepPlan | None:
    """Check that the sweep can resume as it started, and prepare its data; see `toprung.resume`.

    This runs the search space again; nothing else runs code from a sweep's folder.

    Returns:
        The plan; None if the sweep has finished and is not extended.

    Raises:
        NotConfirmedError: if the user has not agreed to that code, or to what the sweep uses
            outside its folder.
    """
    check_folder(record.folder.path)  # many libraries will write to it
    record.outside.confirm(*places_of(record))
    said, before = _said(record), _settings(record)
    asked = changed(before, given)
    settings = _on_this_machine(asked, given)
    if line := resources.without_gpus(asked, settings, grows=resources.autoscales()):
        show_line(console, line)
    if record.ended in (attributes.FINISHED, attributes.TIME_BUDGET) and not _is_more(
        before, settings
    ):
        given_now = ", ".join(name for name, value in given.items() if value is not None)
        unused = f"; without effect: {given_now}" if given_now else ""
        show_line(console, f"{record.name}: has finished, with nothing more to run{unused}")
        return None
    _check_extension(said, before, settings)
    if said.config is not None:
        found = space_of_one(said.space, parse(TrialConfig, said.config, "the sweep's config"))
    else:
        found = _space(record, said.space_origin, space, console)
    proposals = Proposals(found, settings, said.overrides)
    pins, weights = prepared(proposals, console)
    _check_data(said.data, pins)
    _show_progress(record, console)
    return SweepPlan(
        found,
        settings,
        said.overrides,
        proposals,
        record.folder,
        record.study_place,
        pins,
        weights,
        console,
        config=said.config,
        said=record.description,
        id=record.id if record.id is not None and is_id(record.id) else new_id(),
    )


class _Data(BaseModel):
    sha256: str
    test_sha256: str | None


class _Description(BaseModel):
    """The part of `sweep.yaml` that is needed to resume."""

    space: str
    space_origin: str
    overrides: dict[str, Any]
    data: _Data
    config: dict[str, Any] | None = None


def _said(record: SweepRecord) -> _Description:
    try:
        return typed(_Description, record.description)
    except ValueError as error:
        raise ToprungError(f"{record.folder.settings}: cannot be used to resume: {error}") from None


def _settings(record: SweepRecord) -> SweepSettings:
    """The settings with which the sweep was started, or last resumed."""
    attrs = record.study.user_attrs
    if attributes.SETTINGS not in attrs:
        raise ToprungError(
            f"{record.name}: was run by a version of Toprung that could not resume sweeps"
        )
    return parse(SweepSettings, attrs[attributes.SETTINGS], "the sweep's settings")


def _check_extension(said: _Description, before: SweepSettings, now: SweepSettings) -> None:
    """Refuse an extension that would have no effect in this sweep."""
    if said.config is not None and now.trials > before.trials:
        raise ToprungError("trials: applies to a search space only; this sweep trains one config")
    if now.max_epochs > before.max_epochs and "training/epochs" in said.overrides:
        raise ToprungError("max_epochs: has no effect, because training/epochs was fixed (--set)")


def _is_more(before: SweepSettings, now: SweepSettings) -> bool:
    longer = (now.time_budget or 0) > (before.time_budget or float("inf"))
    return now.trials > before.trials or now.max_epochs > before.max_epochs or longer


def _on_this_machine(settings: SweepSettings, given: Mapping[str, Any]) -> SweepSettings:
    """As many trials at a time as before, or as fit here, if that is fewer.

    A sweep whose concurrency followed a cluster's nodes continues to follow those that join and
    leave.
    """
    nodes, elastic = resources.nodes(), settings.concurrency is None and resources.is_joined()
    grows = resources.autoscales()
    if elastic or grows or given.get("concurrency") is not None:
        return resources.settle(settings, nodes, elastic=elastic, grows=grows)
    fitting = resources.settle(settings.model_copy(update={"concurrency": None}), nodes)
    if fitting.concurrency is None:  # trials per GPU are measured
        packs_anew = given.get("gpus_per_trial") is not None
        at_once = None if packs_anew else settings.concurrency
        return fitting.model_copy(update={"concurrency": at_once})
    at_once = min(settings.concurrency or fitting.concurrency, fitting.concurrency)
    return fitting.model_copy(update={"concurrency": at_once})


def _space(
    record: SweepRecord, origin: str, space: SpaceFunction | None, console: Console
) -> SearchSpace:
    """The search space with which the sweep started."""
    copy = _text(record.folder.search_space)
    if space is not None or not origin:
        return _function(record, space, copy)
    if record.folder.code.is_dir():  # the code that was sent to the cluster
        return load_copy(record.folder.search_space, origin, record.folder.code)
    if not origin.endswith(".py") or _text(Path(origin)) == copy:  # otherwise it must not be run
        with suppress(SearchSpaceError):
            found = load(origin)
            if found.source_code == copy:
                return found
    show_line(
        console,
        f"search space {origin} has changed or no longer exists; using the sweep's own copy: "
        f"{record.folder.search_space}",
    )
    return load_copy(record.folder.search_space, origin)


def _function(record: SweepRecord, space: SpaceFunction | None, copy: str | None) -> SearchSpace:
    if space is None:
        raise ToprungError(
            f"{record.name}: its search space was a function; resume it from Python with "
            "toprung.resume(path, space=function)"
        )
    found = load(space)
    if found.source_code != copy:
        raise ToprungError(
            f"{record.name}: started with another search space, whose source is in "
            f"{record.folder.search_space}"
        )
    return found


def _text(path: Path) -> str | None:
    return path.read_text("utf-8") if path.is_file() else None


def _check_data(then: _Data, pins: DataPins) -> None:
    """Check that the images and their splits are those with which the sweep started."""
    now = pins.first
    if (now.settings.digest, now.test_digest) != (then.sha256, then.test_sha256):
        raise ToprungError(
            f"data {now.settings.source}: the images or their splits have changed since the sweep "
            "started, so its trials could not be compared. Start a new sweep (--warm-start this "
            "one)"
        )


def _show_progress(record: SweepRecord, console: Console) -> None:
    """Show how many trials have ended and which ones resume.

    This process is already recorded as the sweep's driver, so the state of the sweep itself is not
    shown.
    """
    trials = record.trials()
    resuming = [
        f"trial {trial.number} (after epoch {trial.last_epoch:g})"
        for trial in trials
        if trial.ended in (attributes.RUNNING, attributes.INTERRUPTED)
    ]
    ended = len(trials) - len(resuming)
    rest = f"; these resume: {', '.join(resuming)}" if resuming else ""
    show_line(console, f"resuming {record.name}: {ended} of its trials have ended{rest}")
