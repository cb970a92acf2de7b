"""What one sees while a sweep runs: a live table on a terminal, plain lines elsewhere."""

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from toprung.analysis.study.trials import TrialResult, has_score
from toprung.analysis.sweep_folder import attributes
from toprung.cluster.placement.packing import Packing
from toprung.console import show_line
from toprung.settings import SweepSettings
from toprung.trainables.frozen_features.cache_folder import num_images_building
from toprung.trainables.results import columns
from toprung.trainables.results.records import Record, is_better
from toprung.trainables.system.printable import printable_line
from toprung.trainables.system.terminal import print_only_printable
from toprung.tune.callbacks.watcher import TrialStates, WatchedTrial, Watcher

SECONDS_BETWEEN_LINES = 10.0
_CONFIRMED = "runs to confirm"
_NOT_CONFIRMED = "runs to confirm that failed"


class Progress(Watcher):
    """Counts trials as they start, report and end, and shows it.

    Args:
        name: the sweep's name.
        settings: its budget, against which progress is shown.
        console: where to show it.
        packing: knows which trials begin again that ran out of a GPU's memory.
        before: the trials that there were before the sweep was resumed.
        seconds_used: for how long it had run.
    """

    def __init__(
        self,
        name: str,
        settings: SweepSettings,
        console: Console,
        packing: Packing,
        *,
        before: Sequence[TrialResult] = (),
        seconds_used: float = 0.0,
    ) -> None:
        self._name = name
        self._packing = packing
        self._settings = settings
        self._seconds_used = seconds_used
        self._console = console
        self._started = self._last_line = time.monotonic()
        self._running: set[str] = set()
        self._waiting: set[str] = set()
        self._ended: Counter[str] = Counter()
        self._epochs: dict[int, float] = {}
        self._best: tuple[Record, int] | None = None
        self._told: set[str] = set()
        for trial in before:
            self._remember(trial)
        self._num_before = self._num_ended
        # Last, because it draws the table at once.
        self._live = None
        if console.is_terminal:
            self._live = Live(console=console, get_renderable=self._table, refresh_per_second=2)

    def on_begin(self) -> None:
        """Begin: the sweep's first trial is about to start."""
        if self._live:
            self._live.start()
            print_only_printable()  # what is printed meanwhile: rich takes its escapes for styles

    def on_start(self, trial: WatchedTrial) -> None:
        """Show a trial as running."""
        self._running.add(trial.trial_id)
        self._waiting.discard(trial.trial_id)
        self._show()

    def on_retry(self, trial: WatchedTrial) -> None:
        """A trial whose process, or node, has died waits for a place."""
        self._waiting.add(trial.trial_id)
        self._show()

    def on_report(self, trial: WatchedTrial, report: Mapping[str, Any]) -> None:
        """Take note of a validation, and of how the trial ends if it ends with it."""
        if columns.FAILURE in report and self._begins_again(trial, report):
            self._running.discard(trial.trial_id)
        elif columns.FAILURE in report:
            self._ended[_ending(trial.confirms, "failed")] += 1
            self._running.discard(trial.trial_id)
            self.tell(f"{_told(trial)} failed: {report[columns.FAILURE]}")
        elif columns.VALIDATION in report:
            self._note(trial, report)
        self._show()

    def on_step(self, trials: TrialStates) -> None:
        """Show how far it is, also while nothing is reported."""
        del trials
        self._show()

    def on_end(self, trial: WatchedTrial, last: Mapping[str, Any] | None) -> None:
        """Count a trial that has ended, unless it had reported that it failed."""
        if trial.trial_id not in self._running:
            return
        self._running.discard(trial.trial_id)
        if last is None:
            self._ended[_ending(trial.confirms, "failed")] += 1
            return
        ended = "finished" if last.get(columns.FINISHED) else "stopped early"
        self._ended[_ending(trial.confirms, ended)] += 1
        self._show()

    def refused(self, ended: str, reason: str) -> None:
        """Count a trial that never started: its network cannot exist, or its config is wrong."""
        self._ended[ended] += 1
        if ended == "failed":
            self.tell(f"a trial could not start: {reason}")

    def on_close(self) -> None:
        """Show the last state and give the terminal back."""
        self._show(force=True)
        self.close()

    def close(self) -> None:
        """Give the terminal back."""
        if self._live:
            self._live.stop()

    def _remember(self, trial: TrialResult) -> None:
        """Count a trial of before the sweep was resumed."""
        if trial.ended not in (attributes.RUNNING, attributes.TIME_BUDGET):
            self._ended[_ending(trial.confirms, trial.ended)] += 1
        self._epochs[trial.number] = trial.last_epoch
        if trial.confirms is None and has_score(trial):
            assert trial.best is not None
            self._note_best(trial.best, trial.number)

    def _note(self, trial: WatchedTrial, report: Mapping[str, Any]) -> None:
        self._epochs[trial.number] = report[columns.EPOCH]
        if columns.RESTARTED in report:
            self._tell_once(trial, report[columns.RESTARTED])
        self._tell_once(trial, report[columns.FROZEN_PART])
        if report[columns.PRECISION] != "fp32":
            self._tell_once(trial, f"computes in {report[columns.PRECISION]}")
        if trial.confirms is not None:
            return
        self._note_best(columns.best_record_of(report), trial.number)

    def _begins_again(self, trial: WatchedTrial, report: Mapping[str, Any]) -> bool:
        return self._packing.begins_again(report[columns.FAILURE_KIND], trial.resources)

    def _note_best(self, record: Record, number: int) -> None:
        if is_better(record, self._best[0] if self._best else None, self._settings.metric):
            self._best = record, number

    def _tell_once(self, trial: WatchedTrial, line: str) -> None:
        """Show a line about a trial, if none before it said the same."""
        if line and line not in self._told:
            self._told.add(line)
            self.tell(f"{_told(trial)}: {line}")

    def _show(self, force: bool = False) -> None:
        if self._live:
            return
        now = time.monotonic()
        if force or now - self._last_line >= SECONDS_BETWEEN_LINES:
            self._last_line = now
            self.tell(", ".join(f"{key} {value}" for key, value in self._figures().items()))

    def tell(self, text: str) -> None:
        """Show a line, above the live table if there is one."""
        show_line(self._live.console if self._live else self._console, text)

    @property
    def _num_ended(self) -> int:
        return sum(self._ended[ended] for ended in ("finished", "stopped early", "failed"))

    def _figures(self) -> dict[str, str]:
        num_ended = self._num_ended
        figures = {
            "trials": f"{num_ended}/{self._settings.trials}",
            "running": str(len(self._running - self._waiting)),
            "finished": str(self._ended["finished"]),
            "stopped early": str(self._ended["stopped early"]),
        }
        figures |= {
            ended: str(self._ended[ended])
            for ended in ("infeasible", "failed", _CONFIRMED, _NOT_CONFIRMED)
            if self._ended[ended]
        }
        waiting = self._running & self._waiting
        if waiting:
            figures["waiting for a place"] = str(len(waiting))
        done, total = num_images_building()
        if total:
            figures["frozen part"] = f"computed for {done} of {total} images"
        figures["epochs"] = f"{sum(self._epochs.values()):g}"
        figures["best"] = self._best_so_far()
        figures["time"] = self._time(num_ended)
        return figures

    def _best_so_far(self) -> str:
        if self._best is None:
            return "none yet"
        (record, number), metric = self._best, self._settings.metric
        value = getattr(record, metric)
        return f"{metric} {value:.4f} (trial {number}, epoch {record.epoch:g})"

    def _time(self, num_ended: int) -> str:
        used = time.monotonic() - self._started
        ends, budget = [], self._settings.time_budget
        ended_now = num_ended - self._num_before
        if ended_now > 0 and num_ended < self._settings.trials:
            ends.append(used / ended_now * (self._settings.trials - self._num_before))
        if budget:
            ends.append(budget - self._seconds_used)
        # Past the search's end comes what confirms the winner, of which no time is known.
        left = min(ends, default=0) - used
        return f"{_clock(used)} used" + (f", about {_clock(left)} left" if left > 0 else "")

    def _table(self) -> Table:
        title = Text(f"sweep {printable_line(self._name)}")  # a string would be read as markup
        table = Table(title=title, show_header=False, title_justify="left")
        table.add_column(style="bold")
        table.add_column()
        for key, value in self._figures().items():
            table.add_row(key, value)
        return table


def _ending(confirms: int | None, ended: str) -> str:
    """How a trial of the search ended; of a run that confirms one, only whether it did."""
    if confirms is None:
        return ended
    return _CONFIRMED if ended == "finished" else _NOT_CONFIRMED


def _told(trial: WatchedTrial) -> str:
    if trial.confirms is None:
        return f"trial {trial.number}"
    return f"run {trial.number}, to confirm trial {trial.confirms},"


def _clock(duration: float) -> str:
    minutes, seconds = divmod(round(duration), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"
