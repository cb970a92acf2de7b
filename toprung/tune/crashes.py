"""Trials whose process or node dies, or that hang: tried again, or given up."""

import re
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from time import monotonic
from typing import Any

import ray

from toprung.cluster.lost_node import is_node_lost
from toprung.trainables.results import columns
from toprung.trainables.results.failures import OUT_OF_MEMORY, TIMED_OUT, WORKER_LOST
from toprung.tune.callbacks.disk_watch import DiskWatch
from toprung.tune.callbacks.not_pickled import NotPickled
from toprung.tune.callbacks.oom_watch import OomWatch
from toprung.tune.callbacks.watcher import TrialStates, WatchedTrial, Watcher
from toprung.tune.patches import IDLE_DIED
from toprung.tune.searcher import StudySearcher

MAX_DEATHS = 3
"""How often a trial is tried again without a new validation in between."""
MAX_NODES_LOST = 20
"""The same for a trial whose node goes, which is no fault of its own, or hardly ever."""
MAX_OOM_KILLS = 1
"""The same for a trial that was killed for memory: those beside it may have been what filled it."""

KILLED_BY_KERNEL = "the kernel killed its process, because memory was full"
KILLED_BY_RAY = "Ray killed its process, because the machine's memory was nearly full"
_EACH_BEGINS = "Failure # "
"""In the file in which Tune writes what Ray says of each of a trial's deaths."""


class Deaths(NotPickled, Watcher):
    """Decides what becomes of a trial whose process has died, and ends processes that hang.

    Args:
        searcher: is told why a trial has died.
        tell: shows the user a line.
        timeout: of a trial between two reports, in seconds; None waits for ever.
        disk: knows whether trials wait for room or for their store, which is not held against them.
        oom_watch: knows whether the kernel has killed a process for memory.
    """

    def __init__(
        self,
        searcher: StudySearcher,
        tell: Callable[[str], None],
        *,
        timeout: float | None,
        disk: DiskWatch,
        oom_watch: OomWatch,
    ) -> None:
        self._searcher = searcher
        self._tell = tell
        self._timeout = timeout
        self._disk = disk
        self._oom_watch = oom_watch
        self._heard: dict[Any, float] = {}
        self._validations: dict[Any, int] = {}
        self._looked = monotonic()
        self._timed_out: dict[Any, int] = {}
        self._nodes_lost: Counter[Any] = Counter()
        self._without_node: set[Any] = set()
        self._oom_kills: Counter[Any] = Counter()
        self._oom_killed: dict[Any, str] = {}
        self._not_begun: set[Any] = set()

    def died(self, trial: Any) -> None:
        """Find out why the process of this trial has died."""
        self._heard.pop(trial, None)
        text = Path(trial.error_file).read_text("utf-8", "replace") if trial.error_file else ""
        last = text.rpartition(_EACH_BEGINS)[2]
        goes_on = trial.should_recover()  # as Tune has decided; what follows is for the next time
        if goes_on and IDLE_DIED in last:  # the trial had not begun in it
            self._not_begun.add(trial)
            self._oom_watch.accounts_for(last)
            return
        failures_before = self._timed_out.pop(trial, None)
        if is_node_lost(last):
            self._note_node_lost(trial, failures_before)
            times = f"{self._nodes_lost[trial]} times without a new validation"
            kind, reason = WORKER_LOST, f"its node was lost or cut off, {times}"
        elif failures_before is not None:
            kind, reason = TIMED_OUT, f"reported nothing for {self._timeout:g} s"
        else:
            kind, reason = self._why(trial, last)
        self._searcher.note_death(trial.trial_id, kind, reason, text)
        has_told_itself = trial.max_failures == 0
        if not goes_on and not has_told_itself:
            self._tell(f"trial {trial.config['number']} failed: {reason}")

    def on_start(self, trial: WatchedTrial) -> None:
        """The trial's time runs."""
        self._heard[trial.tuned] = monotonic()

    def on_report(self, trial: WatchedTrial, report: Mapping[str, Any]) -> None:
        """The trial lives; one that has failed by itself is not to be tried again."""
        self._note_report(trial.tuned, report)

    def _note_report(self, trial: Any, report: Mapping[str, Any]) -> None:
        self._heard[trial] = monotonic()
        validation = report.get(columns.VALIDATION, 0)
        if validation > self._validations.get(trial, 0):  # a trial that goes on repeats its last
            self._validations[trial] = validation
            self._nodes_lost.pop(trial, None)
            self._oom_kills.pop(trial, None)
            trial.run_metadata.num_failures = 0
        if columns.FAILURE in report:
            trial.max_failures = 0

    def on_retry(self, trial: WatchedTrial) -> None:
        """The trial is tried again."""
        self._announce_retry(trial.tuned)

    def _announce_retry(self, trial: Any) -> None:
        if trial in self._not_begun:
            self._not_begun.discard(trial)
            return
        self._searcher.note_recovery(trial.trial_id)
        number, times = trial.config["number"], trial.run_metadata.num_failures
        how = "goes on from its last checkpoint" if trial in self._validations else "begins again"
        if trial in self._without_node:
            self._without_node.discard(trial)
            self._tell(f"trial {number}: its node was lost or cut off; it {how}")
        elif trial in self._oom_killed:
            what = self._oom_killed.pop(trial)
            last = "for the last time without a new validation"
            self._tell(f"trial {number}: {what}; it {how} ({last})")
        else:
            self._tell(
                f"trial {number}: its process died; it {how} "
                f"(time {times} of {MAX_DEATHS} without a new validation)"
            )

    def on_end(self, trial: WatchedTrial, last: Mapping[str, Any] | None) -> None:
        """The trial's time no longer runs."""
        del last
        self._heard.pop(trial.tuned, None)

    def on_step(self, trials: TrialStates) -> None:
        """End the processes of trials that have not reported for too long."""
        del trials
        if self._timeout is None:
            return
        now = monotonic()
        # What the driver itself has waited for, a database say, is not held against the trials.
        waited = now - self._looked if self._disk.trials_wait or now - self._looked > 1 else 0.0
        self._heard = {trial: heard + waited for trial, heard in self._heard.items()}
        self._looked = now
        for trial in [t for t, heard in self._heard.items() if now - heard > self._timeout]:
            del self._heard[trial]
            failures = trial.run_metadata.num_failures
            self._timed_out[trial] = failures
            trial.run_metadata.num_failures = max(failures, MAX_DEATHS)  # the next is its last
            if trial.temporary_state.ray_actor is not None:  # else it has ended in this step
                ray.kill(trial.temporary_state.ray_actor)

    def _note_node_lost(self, trial: Any, failures_before: int | None) -> None:
        """It is not the trial's fault (see `patches`), unless it is so again and again.

        Nor is it that it reported nothing from a node that was cut off: its failures are as before.
        """
        self._without_node.add(trial)
        self._nodes_lost[trial] += 1
        if failures_before is not None:
            trial.run_metadata.num_failures = failures_before
        if self._nodes_lost[trial] == MAX_NODES_LOST:
            trial.run_metadata.num_failures = MAX_DEATHS + 1  # the next is its last

    def _why(self, trial: Any, text: str) -> tuple[str, str]:
        """The kind and the reason of a death of which Ray says this."""
        by_kernel = self._oom_watch.accounts_for(text)
        if is_killed_by_ray(text):
            return self._note_oom_kill(trial, KILLED_BY_RAY)
        if by_kernel:
            return self._note_oom_kill(trial, KILLED_BY_KERNEL)
        exits = re.findall(r"Worker exit type: (\w+)", text)
        how = f" ({exits[-1]})" if exits else ""
        unknown = "; its node does not say whether for memory" if by_kernel is None else ""
        times = f"{MAX_DEATHS + 1} times without a new validation"
        return WORKER_LOST, f"its process died{how}, {times}{unknown}"

    def _note_oom_kill(self, trial: Any, what: str) -> tuple[str, str]:
        """It is tried again once, not as often as one that died of something else."""
        self._oom_kills[trial] += 1
        self._oom_killed[trial] = what
        if self._oom_kills[trial] >= MAX_OOM_KILLS:
            failures = trial.run_metadata.num_failures
            trial.run_metadata.num_failures = max(failures, MAX_DEATHS)  # the next is its last
        times = self._oom_kills[trial]
        return OUT_OF_MEMORY, f"{what}, {times} times without a new validation"


def is_killed_by_ray(text: str) -> bool:
    """Whether Ray says that its memory monitor has ended the process (every crash names OOM)."""
    return "OutOfMemoryError" in text or "Worker exit type: NODE_OUT_OF_MEMORY" in text
