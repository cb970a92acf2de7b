"""Whether a sweep's record is complete: invariants that hold however often a sweep was killed."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence

from optuna.trial import FrozenTrial

from toprung import events
from toprung.analysis.sweep_folder import attributes
from toprung.storage.study_database import Event

_SHOWN = 5


def problems(trials: Sequence[FrozenTrial], past: Sequence[Event]) -> str:
    """The violated invariants, in a line that names the trials; empty if all hold.

    The validations of each trial are 1, 2, 3 …, each once; the study has the same values as the
    decision log; every trial that has ended has ended once.

    Args:
        trials: the trials of the study.
        past: all events of the decision log, in order.
    """
    found = [*_of_validations(past), *_of_values(trials, past), *_of_ends(trials, past)]
    more = f"; and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
    return "; ".join(found[:_SHOWN]) + more


def _reported(past: Sequence[Event]) -> Iterator[Event]:
    return (event for event in past if event["event"] == events.REPORTED)


def _of_validations(past: Sequence[Event]) -> Iterator[str]:
    counts: dict[int, Counter[int]] = defaultdict(Counter)
    for event in _reported(past):
        counts[event["trial"]][event["validation"]] += 1
    for trial, times in sorted(counts.items()):
        missing = [number for number in range(1, max(times) + 1) if number not in times]
        doubled = [number for number, count in sorted(times.items()) if count > 1]
        if missing:
            yield f"trial {trial} lacks {_named(missing)} of {max(times)}"
        if doubled:
            yield f"trial {trial} has {_named(doubled)} more than once"


def _of_values(trials: Sequence[FrozenTrial], past: Sequence[Event]) -> Iterator[str]:
    logged: dict[int, dict[int, float]] = defaultdict(dict)
    for event in _reported(past):
        logged[event["trial"]][event["validation"]] = event["value"]
    for trial in trials:
        if attributes.TAKEN_FROM not in trial.user_attrs:
            values = trial.intermediate_values
            if not _same(values, logged[trial.number]):
                yield f"trial {trial.number} has other values in the study than in the decisions"


def _of_ends(trials: Sequence[FrozenTrial], past: Sequence[Event]) -> Iterator[str]:
    ends: Counter[int] = Counter()
    for event in past:
        if event["event"] == events.ENDED:
            ends[event["trial"]] += 1
        for number in event.get("taken_up_again", ()):
            ends[number] = 0
    for trial in trials:
        attrs = trial.user_attrs
        has_ended = trial.state.is_finished() and attributes.ENDED in attrs
        is_left = attrs.get(attributes.ENDED) == attributes.INTERRUPTED
        if attributes.TAKEN_FROM in attrs or is_left:
            continue
        if ends[trial.number] != has_ended:
            yield f"trial {trial.number} has ended {ends[trial.number]} times in the decisions"


def _same(values: Mapping[int, float], others: Mapping[int, float]) -> bool:
    return values.keys() == others.keys() and all(
        value == others[number] or value != value for number, value in values.items()
    )


def _named(numbers: Sequence[int]) -> str:
    return f"validation{'s' if len(numbers) > 1 else ''} {', '.join(map(str, numbers))}"
