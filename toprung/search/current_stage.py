"""The stage that a staged search is in: the sampler leaves alone what it does not search."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import optuna

from toprung import events
from toprung.analysis.study.trials import read_trials, select_best
from toprung.search.staged_search import StagePlan, fixing_sampler
from toprung.settings import Stage


class CurrentStage:
    """Begins one stage after the other.

    Args:
        study: the sweep's, whose sampler it sets.
        plan: of the stages.
        metric: what trials are judged by.
        past: what happened before the sweep was resumed.
        record: writes an event.
        tell: shows the user a line.
    """

    def __init__(
        self,
        study: optuna.Study,
        plan: StagePlan,
        metric: str,
        *,
        past: Sequence[Mapping[str, Any]],
        record: Callable[[dict[str, Any]], None],
        tell: Callable[[str], None],
    ) -> None:
        self._study = study
        self._plan = plan
        self._metric = metric
        self._record = record
        self._tell = tell
        self._sampler = study.sampler
        self._fixed: dict[str, dict[str, Any]] = {
            event["name"]: event["fixed"] for event in past if event["event"] == events.STAGE
        }
        self._stage: Stage | None = None

    def is_to_begin(self, stage: Stage) -> bool:
        """Whether this stage, of the next trial, is another than that of the last."""
        return stage != self._stage

    def begin(self, stage: Stage) -> bool:
        """Fix what this stage leaves alone; False if the stages before have found nothing."""
        fixed = self.fix(stage)
        if fixed is None:
            self._tell(f"stage {stage.name}: cannot begin, because no trial before it succeeded")
            return False
        values = ", ".join(f"{name} = {value}" for name, value in fixed.items()) or "nothing"
        self._tell(f"stage {stage.name}: searches {', '.join(stage.searches)}; fixed: {values}")
        if stage.name not in self._fixed:
            self._record(events.stage(stage.name, fixed))
        return True

    def fix(self, stage: Stage) -> dict[str, Any] | None:
        """Let the sampler leave alone what this stage does; None if nothing is known to fix."""
        before = self._plan.before(stage, read_trials(self._study))
        best = select_best(before, self._metric)
        if best is None and not self._plan.is_first(stage):
            return None
        fixed = self._plan.fixed(stage, best.parameters if best else {})
        fixed = self._fixed.get(stage.name, fixed)  # as it was when the stage began
        self._study.sampler = fixing_sampler(fixed, self._sampler)
        self._stage = stage
        return fixed
