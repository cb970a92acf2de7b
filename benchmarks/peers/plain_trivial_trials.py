"""A sweep of trivial trials as an expert writes it by hand with Ray Tune and Optuna.

Actors reused, random sampling through OptunaSearch, ASHA, Tune's own loggers. Prints what it cost
as JSON. Command: uv run python -m benchmarks.peers.plain_trivial_trials NUM_TRIALS
"""

import json
import os
import sys
import tempfile
from dataclasses import asdict

os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
os.environ["RAY_ENABLE_UV_RUN_RUNTIME_ENV"] = "0"

import optuna
import ray
from ray import tune
from ray.tune.schedulers import ASHAScheduler
from ray.tune.search.optuna import OptunaSearch

from benchmarks.trivial_trials import CONCURRENCY, Clock, Costs, report_once

MAX_EPOCHS = 8


def costs(num_trials: int) -> Costs:
    """Run the sweep."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    space = {
        "filters": tune.choice([8, 16, 32]),
        "dense": tune.choice([32, 64, 128]),
        "dropout": tune.uniform(0, 0.5),
        "lr": tune.loguniform(5e-4, 1e-1),
        "wd": tune.loguniform(1e-5, 1e-1),
        "batch_size": tune.choice([32, 64]),
    }
    with tempfile.TemporaryDirectory() as storage:
        clock = Clock()
        tune.Tuner(
            tune.with_resources(report_once, {"CPU": 1}),
            param_space=space,
            tune_config=tune.TuneConfig(
                metric="score",
                mode="max",
                num_samples=num_trials,
                search_alg=OptunaSearch(sampler=optuna.samplers.RandomSampler(seed=0)),
                scheduler=ASHAScheduler(time_attr="epoch", max_t=MAX_EPOCHS, reduction_factor=3),
                reuse_actors=True,
            ),
            run_config=tune.RunConfig(storage_path=storage, verbose=0, callbacks=[clock]),
        ).fit()
        return clock.costs()


def main() -> None:
    """Run the sweep on a Ray of its own."""
    ray.init(
        num_cpus=CONCURRENCY,
        include_dashboard=False,
        log_to_driver=False,
        _node_ip_address="127.0.0.1",
    )
    print(json.dumps(asdict(costs(int(sys.argv[1])))))
    ray.shutdown()


if __name__ == "__main__":
    main()
