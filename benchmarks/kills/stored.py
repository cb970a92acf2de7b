"""A whole sweep, driver, trials and all of Ray, killed at one moment, and resumed on a new machine.

The sweep lies in an object store (moto's server, which goes on), or in a folder. The new machine
has nothing of the old one: no working copy, no cache.
"""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic, sleep
from typing import Any

from rich.console import Console
from rich.table import Table
from tensorboard.backend.event_processing.event_file_loader import RawEventFileLoader
from tensorboard.compat.proto.event_pb2 import Event

from benchmarks.kills.invariants import broken, read_study
from benchmarks.kills.processes import descendants
from tests.support.real_cluster import RealCluster
from tests.support.s3 import BUCKET, s3_server
from toprung.storage.working_copy import fetch_from_store
from toprung.trainables.results.records import history_of
from toprung.trainables.training.checkpoint import load_checkpoint

MAX_SECONDS = 1800.0


@dataclass(frozen=True)
class Shape:
    """A sweep of which every trial runs to its end, and which ones of its reports it is killed at.

    Attributes:
        name: for the table.
        trials: how many.
        epochs: of each.
        nodes: of the cluster that it runs on, with two CPUs each; 0 for a Ray of its own.
        moments: how often it is killed, each time a new sweep, evenly over its reports.
        stored: whether it lies in an object store.
    """

    name: str
    trials: int
    epochs: int
    nodes: int
    moments: int
    stored: bool


def shapes(moments: int) -> Iterator[Shape]:
    """Those of the campaign."""
    for stored, place in ((True, "S3"), (False, "folder")):
        yield Shape(f"{place}, one machine", 12, 6, 0, moments, stored)
        yield Shape(f"{place}, cluster of two nodes", 60, 4, 2, 1, stored)
    yield Shape("S3, cluster of two nodes, longer", 75, 10, 2, 1, stored=True)


@dataclass
class Row:
    """What became of the sweeps of one shape.

    Attributes:
        kills: how many there were.
        running: trials that ran when they were killed, after a first validation.
        ahead: validations that were in checkpoints then, and not in the study.
        reports: validations in the end.
        expected: how many there should be.
        gone: lines of logs that had been there when it was killed, and were not in the end.
        problems: all that was not as it must be.
    """

    kills: int = 0
    running: int = 0
    ahead: int = 0
    reports: int = 0
    expected: int = 0
    gone: int = 0
    problems: list[str] = field(default_factory=list)


class StoredCampaign:
    """Kills real sweeps whole.

    Args:
        folder: for the sweeps; its path must be short.
        seed: of the moments.
    """

    def __init__(self, folder: Path, seed: int) -> None:
        self._folder = folder
        self._random = random.Random(seed)
        self._number = 0

    def run(self, shape: Shape) -> Row:
        """Kill sweeps of a shape."""
        row = Row()
        for turn in range(shape.moments):
            self._number += 1
            share = (turn + self._random.random()) / shape.moments
            target = 1 + int(0.9 * share * shape.trials * shape.epochs)
            with tempfile.TemporaryDirectory(dir=self._folder) as folder:
                sweep = _Sweep(Path(folder), f"sweep_{self._number}", shape)
                self._strike(sweep, target, row)
            print(f"{shape.name}: killed after {target} reports: {row}", flush=True)
        return row

    def _strike(self, sweep: "_Sweep", target: int, row: Row) -> None:
        with sweep.machine("m1") as machine:
            driver = sweep.start(machine)
            _wait(driver, lambda: sweep.num_reports(machine) >= target, sweep)
            sleep(self._random.uniform(0, 1))
            machine.kill(driver)
        row.kills += 1
        before = sweep.copied("before")
        lines = _lines(before)
        running, ahead = sweep.ahead(before)
        row.running, row.ahead = row.running + running, row.ahead + ahead
        with sweep.machine("m2") as machine:
            code = sweep.resume(machine).wait(MAX_SECONDS)
        where = f"{sweep.shape.name}, {sweep.place}"
        if code != 0:
            row.problems.append(f"{where}: exit {code}: {sweep.log.read_text()[-3000:]}")
            return
        after = sweep.copied("after")
        row.expected += sweep.shape.trials * sweep.shape.epochs
        row.reports += _num_reports(after / "decisions.jsonl")
        there = _lines(after)
        row.gone += sum(len(known - there.get(name, set())) for name, known in lines.items())
        row.problems += [f"{where}: {problem}" for problem in [*broken(after), *_logs(after)]]


@dataclass
class _Machine:
    """What a driver is started with, and what is killed with it."""

    folder: Path
    cluster: RealCluster | None

    @property
    def env(self) -> dict[str, str]:
        own = {
            "TOPRUNG_CACHE_DIR": str(self.folder / "cache"),
            "TOPRUNG_STATE_DIR": str(self.folder / "state"),
        }
        return {**os.environ, **(self.cluster.client_env() if self.cluster else {}), **own}

    @property
    def options(self) -> list[str]:
        return ["--address", self.cluster.address] if self.cluster else []

    def kill(self, driver: "subprocess.Popen[bytes]") -> None:
        """All of it at once, as when the power goes."""
        for pid in [driver.pid, *descendants(driver.pid)]:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        for node in self.cluster.nodes if self.cluster else ():
            node.kill()
        driver.wait()
        shutil.rmtree(self.folder)


class _Sweep:
    """One sweep, before it is killed and after."""

    def __init__(self, folder: Path, name: str, shape: Shape) -> None:
        self._folder = folder
        self._name = name
        self.shape = shape
        self.log = folder / "log"
        self._out = f"s3://{BUCKET}/{folder.name}" if shape.stored else str(folder / "sweeps")
        self.place = f"{self._out}/{name}"

    @contextmanager
    def machine(self, name: str) -> Iterator[_Machine]:
        """A machine on which nobody knows of the sweep; or a cluster of such."""
        folder = self._folder / name
        folder.mkdir()
        cluster = None
        if self.shape.nodes:
            names = ("AWS_", "PYTHONPATH")
            env = {key: value for key, value in os.environ.items() if key.startswith(names)}
            (folder / "c").mkdir()
            cluster = RealCluster(folder / "c", num_cpus=2, env=env)
            cluster.start_head()
            for _ in range(self.shape.nodes - 1):
                cluster.add_node(num_cpus=2)
        try:
            yield _Machine(folder, cluster)
        finally:
            if cluster is not None:
                cluster.end()

    def start(self, machine: _Machine) -> "subprocess.Popen[bytes]":
        """Begin it."""
        settings = {
            "--trials": self.shape.trials,
            "--max-epochs": self.shape.epochs,
            "--concurrency": 2 * max(1, self.shape.nodes),
            "--trial-scheduler": "none",
            "--confirm": 0,
        }
        options = [str(part) for option in settings.items() for part in option]
        place = ["--out", self._out, "--name", self._name]
        return self._toprung(machine, "run", "digits_cnn", *place, *options)

    def resume(self, machine: _Machine) -> "subprocess.Popen[bytes]":
        """Resume it, also on a machine that has no record of it."""
        return self._toprung(machine, "resume", self.place, "--trust")

    def num_reports(self, machine: _Machine) -> int:
        """How many the driver has written down."""
        copies = machine.folder.glob(f"cache/sweeps/*/{self._name}")
        places = copies if self.shape.stored else [Path(self.place)]
        return max((_num_reports(place / "decisions.jsonl") for place in places), default=0)

    def copied(self, name: str) -> Path:
        """The sweep as it is now, with its checkpoints."""
        to = self._folder / name
        if self.shape.stored:
            fetch_from_store(self.place, to, checkpoints=True)
        else:
            shutil.copytree(self.place, to)
        return to

    def ahead(self, copy: Path) -> tuple[int, int]:
        """The trials that have not ended, and how many validations their checkpoints alone have."""
        trials, _ = read_study(copy / "study.db")
        held = {
            int(file.parent.name.removeprefix("trial_")): len(history_of(load_checkpoint(file)))
            for file in copy.glob("trials/*/checkpoint.pt")
        }
        known = {number: len(trial.values) for number, trial in trials.items()}
        running = [n for n in held if n not in trials or trials[n].state == "RUNNING"]
        return len(running), sum(max(0, held[n] - known.get(n, 0)) for n in held)

    def _toprung(self, machine: _Machine, *arguments: str) -> "subprocess.Popen[bytes]":
        code = "from toprung.cli.main import main; main()"
        command = [sys.executable, "-c", code, *arguments, *machine.options]
        with self.log.open("ab") as log:
            return subprocess.Popen(command, stdout=log, stderr=log, env=machine.env)


def _wait(driver: "subprocess.Popen[bytes]", until: Callable[[], bool], sweep: _Sweep) -> None:
    deadline = monotonic() + MAX_SECONDS
    while not until():
        if driver.poll() is not None or monotonic() > deadline:
            raise RuntimeError(sweep.log.read_text()[-3000:])
        sleep(0.02)


def _num_reports(decisions: Path) -> int:
    with suppress(FileNotFoundError):
        return decisions.read_bytes().count(b'"event": "reported"')
    return 0


def _lines(sweep: Path) -> Mapping[str, set[str]]:
    """What must not disappear: each line of the decisions, each validation of the reports."""
    found = {"decisions.jsonl": set((sweep / "decisions.jsonl").read_text("utf-8").splitlines())}
    for log in sweep.glob("trials/*/result.json"):
        found[log.parent.name] = set(map(str, _reported(log)))
    return found


def _reported(log: Path) -> list[int]:
    told: list[dict[str, Any]] = [json.loads(line) for line in log.read_text("utf-8").splitlines()]
    return [said["validation"] for said in told if "validation" in said]


def _logs(sweep: Path) -> Iterator[str]:
    """Where a trial's reports or its curve do not have each validation, or have one twice."""
    trials, _ = read_study(sweep / "study.db")
    for number, trial in trials.items():
        if trial.values:
            name = f"trial_{number:05d}"
            expected = sorted(trial.values)
            reports = _reported(sweep / "trials" / name / "result.json")
            if reports != expected:
                yield f"trial {number}: its reports are {reports}"
            curve = _curve(sweep / "tensorboard" / name)
            if curve != expected:
                yield f"trial {number}: TensorBoard has {curve}"


def _curve(folder: Path) -> list[int]:
    return sorted(
        Event.FromString(raw).step
        for file in folder.glob("*")
        for raw in RawEventFileLoader(str(file)).Load()
        if any(value.tag == "loss/validation" for value in Event.FromString(raw).summary.value)
    )


def show(rows: Mapping[str, Row]) -> None:
    """Print a row for each shape, and every problem."""
    table = Table(title="sweeps killed whole, and resumed on a new machine", title_justify="left")
    table.add_column("sweep")
    columns = ("kills", "trials running", "validations in checkpoints alone", "reports", "expected")
    for column in (*columns, "lines gone", "problems"):
        table.add_column(column, justify="right")
    for name, row in rows.items():
        figures = (row.kills, row.running, row.ahead, row.reports, row.expected, row.gone)
        table.add_row(name, *map(str, figures), str(len(row.problems)))
    console = Console(width=120)
    console.print(table)
    for row in rows.values():
        for problem in row.problems:
            console.print(problem, markup=False, highlight=False)


def run(folder: Path, moments: int, seed: int, wanted: list[str]) -> dict[str, Row]:
    """Kill sweeps of every shape whose name begins with one of those that are wanted."""
    with s3_server():
        campaign = StoredCampaign(folder, seed)
        return {
            shape.name: campaign.run(shape)
            for shape in shapes(moments)
            if not wanted or shape.name.startswith(tuple(wanted))
        }
