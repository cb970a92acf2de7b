"""What Tune reports of the trials: written down, and forgotten when a trial has ended."""

import json
from typing import Any

from ray.tune import Callback
from ray.tune.utils.util import SafeFallbackEncoder

from analysis.folder import SweepFolder
from toprung.ray_parts import NotPickled


class ResultLog(NotPickled, Callback):  # type: ignore[misc]
    """Writes each trial's `result.json`, straight into the sweep's folder.

    Ray's own logger writes to a folder of its session, from where snapshots copy.
    """

    def __init__(self, folder: SweepFolder) -> None:
        self._folder = folder

    def on_trial_result(
        self,
        iteration: int,
        trials: list[Any],
        trial: Any,
        result: dict[str, Any],
        **info: Any,
    ) -> None:
        """Append the report as a line."""
        del iteration, trials, info
        path = self._folder.result_log(trial.config["number"])
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(result, cls=SafeFallbackEncoder) + "\n")


class ForgetEnded(NotPickled, Callback):  # type: ignore[misc]
    """Forgets reports and configs of trials that have ended: Tune would keep them all."""

    def __init__(self) -> None:
        self._ended: list[Any] = []

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Take note of a trial; others are still to read its last report."""
        del iteration, trials, info
        self._ended.append(trial)

    def on_step_end(self, iteration: int, trials: list[Any], **info: Any) -> None:
        """Forget what Tune holds of the trials that have ended in this step."""
        del iteration, trials, info
        for trial in self._ended:
            trial.last_result.clear()
            trial.evaluated_params.clear()
            del trial.config["config"]
            for checkpoint in trial.run_metadata.checkpoint_manager.best_checkpoint_results:
                checkpoint.metrics.clear()
        self._ended.clear()
