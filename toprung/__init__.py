"""Toprung: hyperparameter search for image classifiers on Ray Tune.

    import toprung

    sweep = toprung.run("digits_cnn", trials=24)
    sweep.best(), sweep.test()
    sweep = toprung.resume(sweep.folder.path, trials="+24")

Heavy packages (torch, Ray) are imported when a name is first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from toprung.former_names import keep_former_names

if TYPE_CHECKING:
    from toprung.analysis.models.model import TrainedModel, load_model
    from toprung.analysis.seal.openings import TestResult
    from toprung.analysis.study.trials import TrialResult
    from toprung.analysis.sweep import Sweep
    from toprung.api import open_sweep as open  # noqa: A004
    from toprung.api import resume, run
    from toprung.cluster.jobs.fetching import fetch
    from toprung.cluster.jobs.sweep_jobs import submit
    from toprung.errors import ToprungError

_HOMES = {
    "Sweep": ("toprung.analysis.sweep", "Sweep"),
    "TestResult": ("toprung.analysis.seal.openings", "TestResult"),
    "ToprungError": ("toprung.errors", "ToprungError"),
    "TrainedModel": ("toprung.analysis.models.model", "TrainedModel"),
    "TrialResult": ("toprung.analysis.study.trials", "TrialResult"),
    "fetch": ("toprung.cluster.jobs.fetching", "fetch"),
    "load_model": ("toprung.analysis.models.model", "load_model"),
    "open": ("toprung.api", "open_sweep"),
    "resume": ("toprung.api", "resume"),
    "run": ("toprung.api", "run"),
    "submit": ("toprung.cluster.jobs.sweep_jobs", "submit"),
}

__all__ = [
    "Sweep",
    "TestResult",
    "ToprungError",
    "TrainedModel",
    "TrialResult",
    "fetch",
    "load_model",
    "open",
    "resume",
    "run",
    "submit",
]

keep_former_names()


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'toprung' has no attribute {name!r}")
    module, attribute = _HOMES[name]
    return getattr(import_module(module), attribute)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
