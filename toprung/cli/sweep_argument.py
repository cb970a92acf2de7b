"""The argument by which the commands name a sweep: its folder, or its URL in an object store."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    _PathType = click.ParamType[Path]
else:
    _PathType = click.ParamType  # not generic before click 8.4


class SweepPlace(_PathType):
    """A path; for a URL, the path of a working copy with the sweep's present state."""

    name = "path"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        """The path on this machine."""
        from toprung.storage.working_copy import local_path

        del param, ctx
        return local_path(value)


SWEEP_PLACE = SweepPlace()


def trust_sweep(model: Path) -> None:
    """Record that the user trusts the sweep that a command is given as its model."""
    from toprung.analysis.sweep_folder.folder import SweepFolder
    from toprung.api import open_sweep

    if not SweepFolder(model).settings.is_file():
        raise click.UsageError("--trust: applies to a sweep's folder; an export needs none")
    open_sweep(model, trust=True)


TRUST = click.option(
    "--trust",
    is_flag=True,
    help="Use what the sweep's files name outside its folder (database, images, weights, code), "
    "even if it was not made by you here; needed once.",
)
