"""What a sweep's parts are told of its trials, in plain values: none of them need know Ray Tune."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class WatchedTrial:
    """A trial that Tune runs.

    Attributes:
        trial_id: Tune's. A trial that begins again with more GPU memory has a new one.
        number: the trial's, in the study.
        config: the `TrialConfig` as JSON.
        confirms: the trial that this run confirms; None for a trial of the search.
        resources: what it is given of a machine.
        tuned: Tune's own object, for `Deaths`, which changes how often Tune tries it again.
    """

    trial_id: str
    number: int
    config: str = ""
    confirms: int | None = None
    resources: Mapping[str, float] = field(default_factory=dict)
    tuned: Any = None


class TrialStates:
    """Which trials run and which wait, looked up when asked for: there may be thousands.

    Args:
        tuned: all trials of Tune.
    """

    def __init__(self, tuned: Sequence[Any]) -> None:
        self._tuned = tuned

    def running(self) -> list[int]:
        """The numbers of the trials that run."""
        return [trial.config["number"] for trial in self._tuned if trial.status == "RUNNING"]

    def any_waits(self) -> bool:
        """Whether a trial has no process yet."""
        return any(trial.status == "PENDING" for trial in self._tuned)


class Watcher:
    """A part of a sweep that follows its trials. Each method does nothing unless overridden."""

    def on_begin(self) -> None:
        """The sweep's first trial is about to start."""

    def on_start(self, trial: WatchedTrial) -> None:
        """A trial is about to start, in a new process or in one that has become idle."""

    def on_report(self, trial: WatchedTrial, report: Mapping[str, Any]) -> None:
        """A trial has reported a validation or a failure."""

    def on_retry(self, trial: WatchedTrial) -> None:
        """A trial whose process has died waits for another process."""

    def on_end(self, trial: WatchedTrial, last: Mapping[str, Any] | None) -> None:
        """A trial has ended.

        Args:
            trial: the trial.
            last: its last report; None if its process died, and it is not tried again.
        """

    def on_step(self, trials: TrialStates) -> None:
        """Tune has handled one event, or has waited for one in vain."""

    def on_close(self) -> None:
        """The sweep's last trial has ended, or no more of them are waited for."""
