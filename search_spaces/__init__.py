"""What is searched: shipped search spaces, and the loading of anybody's.

A search space is a function `search_space(trial: optuna.Trial) -> dict` that returns a trial's
config. Parameter names are paths into that config (`"optimizer/lr"`). A module-level `SWEEP`
gives the sweep's defaults. A new space is one file, here or anywhere.
"""

from toprung.search_spaces.loading import SearchSpace, SearchSpaceError, load, shipped
from toprung.search_spaces.pinned import PinnedTrial

__all__ = ["PinnedTrial", "SearchSpace", "SearchSpaceError", "load", "shipped"]
