"""What the commands take for a sweep: its folder, or its URL in an object store."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    _PathType = click.ParamType[Path]
else:
    _PathType = click.ParamType  # not generic before click 8.4


class SweepPlace(_PathType):
    """A path; of a URL, that of a working copy as the store has the sweep now."""

    name = "path"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        """The path on this machine."""
        from toprung.storage.working_copy import local_path

        del param, ctx
        return local_path(value)


SWEEP_PLACE = SweepPlace()


def trust_sweep(model: Path) -> None:
    """Record that the user trusts the sweep whose winner is the model that a command is given."""
    from toprung.analysis.sweep_folder.folder import SweepFolder
    from toprung.api import open_sweep

    if not SweepFolder(model).settings.is_file():
        raise click.UsageError("--trust: goes with a sweep's folder; of an export nothing is asked")
    open_sweep(model, trust=True)


TRUST = click.option(
    "--trust",
    is_flag=True,
    help="Use what the sweep's files name outside its folder (database, images, weights, code), "
    "though you did not make it here; asked once.",
)
