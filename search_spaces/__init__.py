"""The shipped search spaces, and loading a user's own.

A search space is a function `search_space(trial: optuna.Trial) -> dict` that returns a trial's
config. Parameter names are paths into that config (`"optimizer/lr"`). A module-level `SWEEP` holds
the defaults of the sweep's settings. A new search space is one file, in this folder or any other.
"""

from toprung.search_spaces.loading import SearchSpace, SearchSpaceError, load, shipped
from toprung.search_spaces.pinned import PinnedTrial

__all__ = ["PinnedTrial", "SearchSpace", "SearchSpaceError", "load", "shipped"]
