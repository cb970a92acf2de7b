"""What the commands take for a sweep: its folder, or its URL in an object store."""

from pathlib import Path
from typing import Any

import click


class SweepPlace(click.ParamType[Path]):
    """A path; of a URL, that of a working copy as the store has the sweep now."""

    name = "path"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        """The path on this machine."""
        from toprung.working_copy import local_path

        del param, ctx
        return local_path(value)


SWEEP_PLACE = SweepPlace()
