"""The options of a sweep that is submitted: checked here as far as that goes, written for there."""

import json
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import unquote, urlsplit

from toprung.errors import ToprungError
from toprung.planning.code_package import Package, package, whole_path
from toprung.trainables.files.object_store import check_url, is_url, url_within
from toprung.trainables.system.typed_settings import nearest

_NOT_SETTINGS = {"config", "data", "name", "out", "storage", "warm_start", "fresh_test"}
_NEVER = {"space", "overrides", "console", "address"}


@dataclass(frozen=True)
class SubmittedSweep:
    """A sweep as it is to run on the cluster.

    Attributes:
        name: of the sweep.
        folder: its folder there, or its URL.
        arguments: of `toprung run` there.
        package: what of this machine's files it needs.
    """

    name: str
    folder: str
    arguments: list[str]
    package: Package


def submitted_sweep(
    space: str | None, overrides: Mapping[str, Any], given: Mapping[str, Any]
) -> SubmittedSweep:
    """Check what can be checked without cluster and data, as `toprung.run` does.

    Args:
        space: as for `toprung.run`, but no function.
        overrides: as for `toprung.run`.
        given: further arguments of `toprung.run`, by name.

    Raises:
        ValueError: as `toprung.run`; see `toprung.errors.USER_ERRORS`.
    """
    from toprung.planning.plan import check_before, plain_value

    given = {name: value for name, value in given.items() if value is not None}
    _check_names(given)
    if space is not None and not isinstance(space, str):
        raise ToprungError("space: a function cannot be submitted; give the path of its file")
    settings = {name: value for name, value in given.items() if name not in _NOT_SETTINGS}
    config, data = given.get("config"), given.get("data")
    found, proposals = check_before(space, config, settings, overrides=overrides, data=data)
    for example in proposals.rehearsal.configs:
        _check_data(example.data.source, example.data.root)
    out = _place(given.get("out"), "out", "a folder that all its nodes share")
    name = _name(given.get("name"), found.name)
    if "warm_start" in given:
        _place(given["warm_start"], "warm_start", "the folder of a sweep there")
    if "storage" in given:
        from toprung.planning.study_location import checked_url

        checked_url(given["storage"])
    travels = package(_root(space))
    travels.check_code(_imported())
    there = {**given, "name": name, "out": out}
    if config is not None:
        there["config"] = travels.place(Path(config))
    space_there = travels.place(Path(space)) if space and _is_file(space) else space
    arguments = ["run", *([space_there] if space_there else []), *as_options(there)]
    arguments += [
        f"--set={path}={json.dumps(value, default=plain_value)}"
        for path, value in overrides.items()
    ]
    folder = url_within(out, name) if is_url(out) else f"{out.rstrip('/')}/{name}"
    return SubmittedSweep(name, folder, arguments, travels)


def as_options(given: Mapping[str, Any]) -> list[str]:
    """Keyword arguments of `toprung.run` or `toprung.resume` as options of the command.

    Those that are False, or None, are left out.
    """
    return [
        f"--{name.replace('_', '-')}{'' if value is True else f'={value}'}"
        for name, value in given.items()
        if value is not None and value is not False
    ]


def check_sweep_place(place: str) -> str:
    """See that it is an absolute path, or an object store's URL without credentials.

    Returns:
        The place, without a slash at its end.
    """
    return _place(place, "sweep", "the sweep's folder there")


def name_of(place: str) -> str:
    """The name of the sweep in this folder, or at this URL."""
    path = unquote(urlsplit(place).path) if is_url(place) else place
    return PurePosixPath(path).name


def _check_names(given: Mapping[str, Any]) -> None:
    from inspect import signature

    from toprung.api import run

    known = set(signature(run).parameters) - _NEVER
    for name in given:
        if name not in known:
            raise ToprungError(f"{name}: is no option of a submitted sweep{nearest(name, known)}")


def _check_data(source: str, root: str | None) -> None:
    """Data are not sent: a named data set, or a path that all nodes have."""
    from toprung.trainables.data.sources import NAMES

    for name, value in (("data", source), ("data/root", root)):
        is_named = name == "data" and value in NAMES
        if value is not None and not is_named and not PurePosixPath(value).is_absolute():
            raise ToprungError(
                f"{name} = {value!r}: data do not travel; on a cluster give the absolute path that "
                f"they have on its nodes, or a named data set{nearest(value, set(NAMES))}"
            )


def _place(value: str | Path | None, option: str, what: str) -> str:
    if value is not None and is_url(str(value)):
        check_url(str(value))
        parts = urlsplit(str(value))
        return parts._replace(path=parts.path.rstrip("/")).geturl()
    if value is None or not PurePosixPath(str(value)).is_absolute():
        raise ToprungError(
            f"{option} = {'none' if value is None else repr(str(value))}: on a cluster must be the "
            f"absolute path of {what}, or a URL such as s3://bucket/sweeps"
        )
    return str(PurePosixPath(value))


def _name(given: str | None, space: str) -> str:
    name = f"{space}-{datetime.now():%Y%m%d-%H%M%S}" if given is None else given
    if not name or "/" in name or name in (".", ".."):
        raise ToprungError(f"name = {name!r}: must be the name of a folder")
    return name


def _root(space: str | None) -> Path | None:
    """The folder that travels: the current one, if the space is in it; otherwise the space's."""
    here = Path.cwd()
    if not _is_file(space):
        is_module = space is not None and re.fullmatch(r"\w+(\.\w+)+", space)
        return here if is_module else None
    path = whole_path(str(space))
    return here if path.is_relative_to(here) else path.parent


def _imported() -> Iterator[Path]:
    """The files of all modules that were imported here, those of the search space among them."""
    for module in list(sys.modules.values()):
        if isinstance(file := getattr(module, "__file__", None), str):
            yield whole_path(file)


def _is_file(space: str | None) -> bool:
    return space is not None and space.endswith(".py")
