"""The folder of a sweep whose trials never trained: their curves are given, or follow a formula."""

import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import yaml
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from tests.support.helpers import remember_configs, tiny_config
from toprung.analysis.findings.results import Results
from toprung.analysis.sweep import Sweep
from toprung.analysis.sweep_folder import attributes
from toprung.analysis.sweep_folder.folder import SweepFolder
from toprung.analysis.sweep_folder.known_sweeps import new_id
from toprung.analysis.sweep_folder.study_place import STUDY_NAME, study_in_file
from toprung.trainables.config import METRICS, dump_config
from toprung.trainables.results.failures import GPU_OUT_OF_MEMORY
from toprung.trainables.results.records import Record

START = datetime(2026, 1, 1, 12)
STATES = {
    attributes.FINISHED: TrialState.COMPLETE,
    attributes.FAILED: TrialState.FAIL,
    attributes.RUNNING: TrialState.RUNNING,
}


@dataclass
class Simulated:
    """One trial: its parameters (with what they are drawn from), and the metric of each epoch."""

    curve: Sequence[float] = ()
    ended: str = attributes.FINISHED
    parameters: Mapping[str, Any] = field(default_factory=dict)
    distributions: Mapping[str, BaseDistribution] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    reason: str = ""
    failure: str = ""
    traceback: str = ""
    log_steps: bool = False
    start: float = 0.0
    confirms: int | None = None


def simulated_sweep(
    path: Path,
    trials: Sequence[Simulated],
    *,
    metric: str = "val_accuracy",
    max_epochs: int = 9,
    **settings: Any,
) -> Results:
    """Write a sweep's folder; a trial validates every epoch, of 10 seconds."""
    folder = SweepFolder(path)
    path.mkdir(parents=True)
    asked = {
        "metric": metric,
        "seed": 0,
        "trials": len(trials),
        "max_epochs": max_epochs,
        "grace_epochs": 1,
        "reduction_factor": 3,
        "sampler": "random",
        "trial_scheduler": "asha",
        "stages": [],
    }
    data = {"sha256": "a", "test_sha256": "b"}
    description = {"id": new_id(), "settings": asked | settings, "data": data}
    folder.settings.write_text(yaml.safe_dump(description), "utf-8")
    folder.study.write_bytes(_empty_study(METRICS[metric] == "max"))
    study = optuna.load_study(study_name=STUDY_NAME, storage=study_in_file(folder.study).url)
    study.add_trials(
        [_written(folder, n, trial, metric, max_epochs) for n, trial in enumerate(trials)]
    )
    sweep = Sweep(path)
    assert sweep.id is not None
    remember_configs(sweep.id, sweep.configs())
    return Results(sweep)


@cache
def _empty_study(larger_is_better: bool) -> bytes:
    """The file of a study that has ended; made once, because Optuna takes a second for it."""
    direction = StudyDirection.MAXIMIZE if larger_is_better else StudyDirection.MINIMIZE
    with tempfile.TemporaryDirectory() as place:
        folder = SweepFolder(Path(place))
        study = optuna.create_study(
            study_name=STUDY_NAME, storage=study_in_file(folder.study).url, direction=direction
        )
        study.set_user_attr(attributes.SWEEP_ENDED, attributes.FINISHED)
        return folder.study.read_bytes()


def random_trials(num_trials: int, seed: int = 0, *, loss: bool = False) -> list[Simulated]:
    """Trials as ASHA leaves them: a good learning rate and `adamw` are what matters."""
    rng = np.random.default_rng(seed)
    return [_random_trial(rng, number, loss=loss) for number in range(num_trials)]


def _random_trial(rng: np.random.Generator, number: int, *, loss: bool) -> Simulated:
    optimizer = str(rng.choice(["adamw", "sgd"]))
    policy = str(rng.choice(["all", "head", "gradual"]))
    parameters: dict[str, Any] = {
        "optimizer/name": optimizer,
        "optimizer/lr": float(10 ** rng.uniform(-4, -1)),
        "model/dense_dropout": float(rng.uniform(0, 0.5)),
        "labels/policy": policy,
    }
    distributions: dict[str, BaseDistribution] = {
        "optimizer/name": CategoricalDistribution(["adamw", "sgd"]),
        "optimizer/lr": FloatDistribution(1e-4, 1e-1, log=True),
        "model/dense_dropout": FloatDistribution(0, 0.5),
        "labels/policy": CategoricalDistribution(["all", "head", "gradual"]),
    }
    if optimizer == "sgd":
        parameters["optimizer/momentum"] = float(rng.uniform(0, 0.99))
        distributions["optimizer/momentum"] = FloatDistribution(0, 0.99)
    quality = -((np.log10(parameters["optimizer/lr"]) + 2.5) ** 2) + (optimizer == "adamw")
    reach = 0.95 / (1 + np.exp(-1.5 - quality)) + rng.normal(0, 0.01)
    epochs = int(rng.choice([1, 3, 9], p=[0.6, 0.25, 0.15]))
    curve = reach * (1 - 0.6 ** np.arange(1, epochs + 1)) + rng.normal(0, 0.005, epochs)
    ended = attributes.FINISHED if epochs == 9 else attributes.STOPPED_EARLY
    start = 5.0 * number
    if number % 17 == 5:
        return Simulated(curve[:1].tolist(), attributes.FAILED, parameters, distributions,
                         reason=f"CUDA out of memory <b>{number % 2}</b>",
                         failure=GPU_OUT_OF_MEMORY, start=start)  # fmt: skip
    if number % 23 == 7:
        return Simulated((), attributes.INFEASIBLE, parameters, distributions, reason="too small")
    values = (3 * (1 - curve)).tolist() if loss else curve.tolist()
    return Simulated(values, ended, parameters, distributions, start=start, log_steps=number < 8)


def _written(
    folder: SweepFolder, number: int, trial: Simulated, metric: str, max_epochs: int
) -> FrozenTrial:
    records = [_record(epoch, value, metric) for epoch, value in enumerate(trial.curve, start=1)]
    sign = 1 if METRICS[metric] == "max" else -1
    best = max(records, key=lambda record: sign * getattr(record, metric), default=None)
    attrs: dict[str, Any] = {}
    settings = {
        path.replace("/", "__"): v for path, v in {**trial.parameters, **trial.settings}.items()
    }
    if trial.ended != attributes.INFEASIBLE:
        attrs[attributes.CONFIG] = dump_config(
            tiny_config(**{"training__epochs": max_epochs} | settings)
        )
    if trial.ended != attributes.RUNNING:
        attrs[attributes.ENDED] = trial.ended
    if trial.confirms is not None:
        attrs[attributes.CONFIRMS] = trial.confirms
    told = {
        attributes.REASON: trial.reason,
        attributes.FAILURE_KIND: trial.failure,
        attributes.TRACEBACK: trial.traceback,
    }
    attrs |= {name: text for name, text in told.items() if text}
    if best is not None:
        attrs[attributes.BEST] = asdict(best)
    _write_log(folder, number, records, trial)
    state = STATES.get(trial.ended, TrialState.PRUNED)
    start = START + timedelta(seconds=trial.start)
    return FrozenTrial(
        number=number,
        trial_id=number,
        state=state,
        value=getattr(best, metric) if best and state == TrialState.COMPLETE else None,
        datetime_start=start,
        datetime_complete=(
            None
            if state == TrialState.RUNNING
            else start + timedelta(seconds=0.1 + 10 * len(records))
        ),
        params=dict(trial.parameters),
        distributions=dict(trial.distributions),
        user_attrs=attrs,
        system_attrs={},
        intermediate_values={r.validation: getattr(r, metric) for r in records},
    )


def _record(epoch: int, value: float, metric: str) -> Record:
    loss = value if metric == "val_loss" else 1.5 * (1 - value)
    accuracy = value if metric != "val_loss" else float(np.exp(-value))
    return Record(
        validation=epoch,
        epoch=float(epoch),
        train_loss=0.9 * loss,
        train_accuracy=min(1.0, accuracy + 0.02),
        val_loss=loss,
        val_accuracy=accuracy,
        val_mean_class_accuracy=accuracy,
        lr=0.01 * 0.8**epoch,
        seconds=10.0 * epoch,
    )


def _write_log(
    folder: SweepFolder, number: int, records: Sequence[Record], trial: Simulated
) -> None:
    if not records:
        return
    log = folder.result_log(number)
    log.parent.mkdir(parents=True)
    lines = []
    for record in records:
        steps = [
            {
                "step": step,
                "loss": 2 / (1 + step),
                "gradient_norm": 3 / (1 + step),
                "update_norm": 0.1,
            }
            for step in range(20 * (record.validation - 1), 20 * record.validation)
        ]
        lines.append(json.dumps(asdict(record) | {"steps": steps if trial.log_steps else []}))
    log.write_text("\n".join(lines) + "\n", "utf-8")
