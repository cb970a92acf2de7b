"""How many trials, on how many nodes, one driver is good for: what each of its duties costs.

Command:  uv run python -m benchmarks.cluster_scale [--trials 1000] [--places 16] [--repeats 3]
                                                    [--postgres URL]
Nothing here trains. Shown are:

- results: sweeps of trials that sleep for 10 ms and report, in as many Ray workers as `--places`,
  with Toprung's real driver (study, searcher, checks, loggers, TensorBoard, lines) and random
  sampling. Once with 20 reports for each trial, and once with one: the first is about reports, the
  second about trials that begin and end. The driver's CPU time for each is what a faster machine
  or a quieter one would divide; the rate by the clock is what this machine made of it, of which the
  workers take a part. Its memory is that of the driver's process;
- study: what one report costs in the sweep's database, with its statements: to a database over a
  network each is one round trip, and a transaction has two more. `--postgres` measures one too
  (a URL without a password, which is taken from PGPASSWORD);
- TPE: its time for one suggestion, with so many trials in the study;
- checkpoints: their size, and the time to write one, which is the trial's and not the driver's.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import optuna
from optuna.study import StudyDirection
from rich.console import Console

from benchmarks.tables import print_table
from benchmarks.train_loop import CASES, Case, random_data
from benchmarks.trivial_trials import Clock, report_of, report_often

ROOT = Path(__file__).parent.parent
SPACE = "digits_cnn"
MANY_REPORTS = 20
STUDY_SIZES = (100, 1000, 3000)
NUM_SUGGESTIONS = 10
NUM_EVENTS = 300
CHECKPOINTS = ("digits CNN, 8x8", "resnet18, 64x64")


def sweep_costs(num_trials: int, num_reports: int, places: int) -> dict[str, float]:
    """Run a sweep of trials that sleep and report, in this process."""
    from toprung.api import run
    from toprung.tune import launch
    from toprung.tune.callbacks.progress import Progress

    clock = Clock()

    class ClockedProgress(Progress):
        def on_report(self, *arguments: Any) -> None:
            super().on_report(*arguments)
            clock.on_trial_result(0, [])

    setattr(launch, "Progress", ClockedProgress)  # noqa: B010
    setattr(launch, "train_trial", report_often)  # noqa: B010
    with tempfile.TemporaryDirectory() as folder, ray_of(places):
        run(
            SPACE,
            trials=num_trials,
            max_epochs=num_reports,
            sampler="random",
            trial_scheduler="none",
            confirm=0,
            out=folder,
            console=Console(stderr=True, quiet=True),
        )
        size = sum(file.stat().st_size for file in Path(folder).rglob("*") if file.is_file())
    return {**clock.rates(), "disk_kb": size / 1000 / (num_trials * num_reports)}


@contextmanager
def ray_of(places: int) -> Iterator[None]:
    """A Ray that takes this machine for one with so many CPUs; it is joined like a cluster's."""
    from toprung.cluster.session import prepare_ray

    prepare_ray()
    import ray

    ray.init(address="local", num_cpus=places, include_dashboard=False, log_to_driver=False)
    try:
        yield
    finally:
        ray.shutdown()


def sweep_rows(num_trials: int, places: int, repeats: int) -> dict[str, list[float]]:
    """The rows of sweeps, each in a process of its own."""
    rows: dict[str, list[float]] = {}
    units = {
        "per_second": "results per second, by the clock",
        "cpu_ms": "the driver's CPU time for a result, ms",
        "growth_kb": "the driver's memory grows by, kB per result",
        "disk_kb": "the sweep's folder, kB per result",
    }
    for num_reports in (MANY_REPORTS, 1):
        wanted = num_trials if num_reports == 1 else max(places, num_trials // MANY_REPORTS)
        costs = [_in_a_process(wanted, num_reports, places) for _ in range(repeats)]
        title = f"{wanted} trials x {num_reports}"
        rows |= {f"{title}: {unit}": [one[name] for one in costs] for name, unit in units.items()}
    return rows


def _in_a_process(*numbers: int) -> dict[str, float]:
    command = [sys.executable, "-m", "benchmarks.cluster_scale", "--sweep", *map(str, numbers)]
    ended = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)
    costs: dict[str, float] = json.loads(ended.stdout.splitlines()[-1])
    return costs


def study_rows(url: str | None) -> dict[str, list[float]]:
    """The rows of what one report costs in the study's database."""
    from ray import cloudpickle

    from toprung.analysis.sweep_folder.study_place import StudyPlace, study_in_file

    report = cloudpickle.dumps(report_of(1, 10, 0.5))
    rows = {"a report on its way to the driver, bytes": [float(len(report))]}
    with tempfile.TemporaryDirectory() as folder:
        places = {"SQLite": study_in_file(Path(folder) / "study.db")}
        if url is not None:
            places["PostgreSQL"] = StudyPlace(url, f"benchmark-{time.time()}")
        for name, place in places.items():
            milliseconds, num_statements = _writing(place, Path(folder) / f"{name}.jsonl")
            rows[f"{name}: a report written, ms"] = milliseconds
            rows[f"{name}: statements for it"] = [num_statements]
    return rows


def _writing(place: Any, log: Path) -> tuple[list[float], float]:
    """How long each of many reports took, and how many statements one was."""
    from sqlalchemy import event

    from toprung import events
    from toprung.search.trial_ledger import RunningTrial
    from toprung.storage.retry import Patience
    from toprung.storage.study_database import StudyFile

    file = StudyFile(place, log, Patience(print), StudyDirection.MAXIMIZE)
    study = optuna.create_study(direction="maximize")
    trial = study.ask()
    for number in range(10):
        trial.suggest_float(f"parameter/{number}", 0, 1)
    running = RunningTrial(trial, "val_accuracy", {"CPU": 1.0})
    file.write([events.suggested(study.trials[0], None)], study.trials)
    statements: list[str] = []
    event.listen(file._engine, "before_cursor_execute", lambda *told: statements.append(told[2]))
    milliseconds = []
    for epoch in range(1, NUM_EVENTS + 1):
        happened = running.note(report_of(epoch, NUM_EVENTS + 1, 0.5))
        started = time.perf_counter()
        file.write(happened, study.trials)
        milliseconds.append(1000 * (time.perf_counter() - started))
    file.discard()
    file.close()
    return milliseconds, len(statements) / NUM_EVENTS


def suggestion_rows(sizes: tuple[int, ...]) -> dict[str, list[float]]:
    """The rows of TPE's time for a suggestion."""
    from toprung.search.proposals import Proposals
    from toprung.search.samplers import SeededByTrial
    from toprung.search_spaces import load
    from toprung.settings import resolve

    space = load(SPACE)
    proposals = Proposals(space, resolve(space.defaults, {}), {})
    study = optuna.create_study(direction="maximize", sampler=SeededByTrial("random", 0))
    rows = {}
    for size in sizes:
        while len(study.get_trials(deepcopy=False)) < size:
            trial = study.ask()
            proposals.config(trial)
            study.tell(trial, trial.number % 97 / 97)
        study.sampler = SeededByTrial("tpe", 0)
        rows[f"TPE: a suggestion after {size} trials, ms"] = [
            _suggestion(study, proposals) for _ in range(NUM_SUGGESTIONS)
        ]
        study.sampler = SeededByTrial("random", 0)
    return rows


def _suggestion(study: optuna.Study, proposals: Any) -> float:
    started = time.perf_counter()
    trial = study.ask()
    proposals.config(trial)
    milliseconds = 1000 * (time.perf_counter() - started)
    study.tell(trial, 0.5)
    return milliseconds


def checkpoint_rows() -> dict[str, list[float]]:
    """The rows of checkpoints on the local disk, with Adam's state."""
    from toprung.trainables.results.columns import CHECKPOINT_FILE
    from toprung.trainables.training.fit import fit

    rows = {}
    for case in CASES:
        if case.name not in CHECKPOINTS:
            continue
        small = Case(case.name, case.model, case.shape_HWC, num_images=2)
        validation = next(fit(small.config("fp32"), random_data(small)))
        with tempfile.TemporaryDirectory() as folder:
            times = []
            for _ in range(5):
                started = time.perf_counter()
                validation.save_checkpoint(Path(folder))
                times.append(1000 * (time.perf_counter() - started))
            size = (Path(folder) / CHECKPOINT_FILE).stat().st_size
        rows[f"{case.name}: a checkpoint, MB"] = [size / 1e6]
        rows[f"{case.name}: a checkpoint written, ms"] = times
    return rows


def main() -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, default=1000, help="of the sweep that reports once")
    parser.add_argument("--places", type=int, default=16, help="Ray workers")
    parser.add_argument("--repeats", type=int, default=1, help="runs of each sweep")
    parser.add_argument("--study-sizes", type=int, nargs="+", default=STUDY_SIZES)
    parser.add_argument("--postgres", metavar="URL", help="also measure this database")
    parser.add_argument("--sweep", type=int, nargs=3, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.sweep:
        print(json.dumps(sweep_costs(*given.sweep)))
        return
    print_table(
        f"one driver, {given.places} workers",
        {
            **study_rows(given.postgres),
            **suggestion_rows(tuple(given.study_sizes)),
            **checkpoint_rows(),
            **sweep_rows(given.trials, given.places, given.repeats),
        },
    )


if __name__ == "__main__":
    main()
