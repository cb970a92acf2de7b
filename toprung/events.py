"""The decision log: what a sweep decided, and what it decided it by, in order, one line each.

With one trial at a time, two sweeps of the same seed have the same lines, also if one of them was
killed and resumed. So nothing stands here that depends on time or machine, but in lines of the
kinds `SWEEP` and `PACKING`.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from optuna.trial import FrozenTrial

from toprung.trainables.results.records import Record

SWEEP = "sweep"
"""Lines of this kind tell of the driver's life, and are not the same in a resumed sweep."""
REPORTED, ENDED, STAGE = "reported", "ended", "stage"
PACKING = "packing"
"""Lines of this kind tell what the GPUs' memory holds, and depend on the machine."""


class WriteStudy(Protocol):
    """Writes events with what they changed, all or nothing; see `StudyFile.write`."""

    def __call__(
        self,
        events: Sequence[Mapping[str, Any]],
        trials: Sequence[FrozenTrial] = (),
        attributes: Mapping[str, Any] | None = None,
    ) -> None:
        """Write."""


def sweep(what: str, **details: Any) -> dict[str, Any]:
    """The sweep begins, is resumed, is extended, or ends."""
    return {"event": SWEEP, "what": what, **details}


def suggested(trial: FrozenTrial, confirms: int | None) -> dict[str, Any]:
    """A trial begins; `confirms` names the trial whose config it trains again."""
    again = {} if confirms is None else {"confirms": confirms}
    return {
        "event": "suggested",
        "trial": trial.number,
        **again,
        "parameters": dict(trial.params),
    }


def reported(number: int, record: Record, value: float, score: float) -> dict[str, Any]:
    """A trial has been validated; `score` is the metric of its best validation so far."""
    return {
        "event": REPORTED,
        "trial": number,
        "validation": record.validation,
        "epoch": record.epoch,
        "value": value,
        "score": score,
    }


def promoted(number: int, rung: int) -> dict[str, Any]:
    """ASHA lets a trial go on beyond a rung, of so many epochs."""
    return {"event": "promoted", "trial": number, "rung": rung}


def ended(number: int, how: str, reason: str = "") -> dict[str, Any]:
    """A trial has ended, or never started; `how` is a word of `attributes`."""
    because = {"reason": reason} if reason else {}
    return {"event": ENDED, "trial": number, "how": how, **because}


def packing(trials_per_gpu: int, trial: int | None = None) -> dict[str, Any]:
    """So many trials share a GPU, of those suggested from now on.

    It was measured, or this trial has run out of memory.
    """
    because = {} if trial is None else {"trial": trial}
    return {"event": PACKING, "trials_per_gpu": trials_per_gpu, **because}


def stage(name: str, fixed: dict[str, Any]) -> dict[str, Any]:
    """A stage of the search begins, with these parameters fixed."""
    return {"event": STAGE, "name": name, "fixed": fixed}


def confirmation(candidates: list[int]) -> dict[str, Any]:
    """It is decided which trials are trained again."""
    return {"event": "confirmation", "candidates": candidates}
