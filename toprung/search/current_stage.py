"""The current stage of a staged search: the sampler draws its parameters only."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import optuna

from toprung import events
from toprung.analysis.study.trials import read_trials, select_best
from toprung.search.staged_search import StagePlan, fixing_sampler
from toprung.settings import Stage


class CurrentStage:
    """Starts one search stage after the other.

    Args:
        study: the sweep's study, whose sampler is set for each stage.
        plan: the search stages.
        metric: the metric by which trials are compared.
        past: the events before the sweep was resumed.
        record: writes an event.
        show: shows the user a line.
    """

    def __init__(
        self,
        study: optuna.Study,
        plan: StagePlan,
        metric: str,
        *,
        past: Sequence[Mapping[str, Any]],
        record: Callable[[dict[str, Any]], None],
        show: Callable[[str], None],
    ) -> None:
        self._study = study
        self._plan = plan
        self._metric = metric
        self._record = record
        self._show = show
        self._sampler = study.sampler
        self._fixed: dict[str, dict[str, Any]] = {
            event["name"]: event["fixed"] for event in past if event["event"] == events.STAGE
        }
        self._stage: Stage | None = None

    def is_to_begin(self, stage: Stage) -> bool:
        """Whether this stage, the one of the next trial, has not started yet."""
        return stage != self._stage

    def begin(self, stage: Stage) -> bool:
        """Start a stage; False if no trial of the stages before it has a result."""
        fixed = self.fix(stage)
        if fixed is None:
            self._show(f"stage {stage.name}: cannot start, because no earlier trial succeeded")
            return False
        values = ", ".join(f"{name} = {value}" for name, value in fixed.items()) or "nothing"
        self._show(f"stage {stage.name}: searches {', '.join(stage.searches)}; fixed: {values}")
        if stage.name not in self._fixed:
            self._record(events.stage(stage.name, fixed))
        return True

    def fix(self, stage: Stage) -> dict[str, Any] | None:
        """Fix the parameters that the stage does not search; None if there are no values yet."""
        before = self._plan.before(stage, read_trials(self._study))
        best = select_best(before, self._metric)
        if best is None and not self._plan.is_first(stage):
            return None
        fixed = self._plan.fixed(stage, best.parameters if best else {})
        fixed = self._fixed.get(stage.name, fixed)  # as it was when the stage began
        self._study.sampler = fixing_sampler(fixed, self._sampler)
        self._stage = stage
        return fixed
