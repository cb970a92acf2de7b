"""A sweep on a cluster whose workers, nodes, links and head are struck while it runs.

Each node is in a network namespace (see `net_cluster`); their file system is one, as a shared
folder would be. The driver is on the head.
"""

import json
import os
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic, sleep
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.kills import facts
from benchmarks.kills.net_cluster import NetCluster, NetNode, kill, net_cluster
from toprung import events
from toprung.analysis.sweep_folder.folder import SweepFolder
from toprung.trainables.results.columns import VALIDATION
from toprung.trainables.training.checkpoint import load_checkpoint

MAX_SECONDS = 1200.0
SECONDS_CUT_SHORTLY, SECONDS_CUT_FOR_LONG = 4.0, 80.0
_RUN = "import toprung; toprung.run('digits_cnn', out={out!r}, name={name!r}, {settings})"
_RESUME = "import toprung; toprung.resume({path!r}, address={address!r})"
_SLOW = "confirm=0, trial_scheduler='none', overrides={'training/batch_size': 8}"


@dataclass
class Struck:
    """A row of the table.

    Attributes:
        times: how often it was done.
        seconds: until the trial that was struck, or a trial on the new node, reported again.
        repeated: epochs that were trained again though their checkpoint had been written.
        lost: trials that had ended, and were lost or changed.
    """

    times: int = 0
    seconds: list[float] = field(default_factory=list)
    repeated: int = 0
    lost: int = 0


class ClusterCampaign:
    """One sweep, struck again and again.

    Args:
        folder: for the cluster and the sweep; its path must be short.
        trials: of the sweep.
        epochs: of each trial.
    """

    def __init__(self, folder: Path, trials: int, epochs: int) -> None:
        self._folder = folder
        self._epochs = epochs
        self._settings = f"trials={trials}, max_epochs={epochs}, {_SLOW}"
        self._sweep = SweepFolder(folder / "sweeps" / "struck")
        self._rows: dict[str, Struck] = {}
        self.problems: list[str] = []

    def run(self, rounds: int) -> dict[str, Struck]:
        """Strike in each way so many times, and the head at last; then let the sweep end."""
        with net_cluster(self._folder) as cluster:
            for _ in range(3):
                cluster.add_node()
            driver = self._drive(cluster, self._first(cluster.address))
            self._wait(
                lambda: all(self._trial_on(node) is not None for node in cluster.nodes), driver
            )
            for number in range(rounds):
                node = cluster.nodes[1 + number % 2]
                for strike in (self._worker, self._raylet, self._cut_shortly, self._cut_for_long):
                    strike(node, driver)
                self._come_and_go(cluster, driver)
            self._head(cluster)
        self._check()
        return self._rows

    def _worker(self, node: NetNode, driver: subprocess.Popen[bytes]) -> None:
        with self._struck("worker killed -9", node, driver):
            kill(node.workers())

    def _raylet(self, node: NetNode, driver: subprocess.Popen[bytes]) -> None:
        with self._struck("raylet killed -9, node started again", node, driver):
            kill(node.raylet())
            node.kill()
            node.start()

    def _cut_shortly(self, node: NetNode, driver: subprocess.Popen[bytes]) -> None:
        with self._struck(f"link cut for {SECONDS_CUT_SHORTLY:g} s", node, driver):
            node.cut()
            sleep(SECONDS_CUT_SHORTLY)
            node.mend()

    def _cut_for_long(self, node: NetNode, driver: subprocess.Popen[bytes]) -> None:
        kind = f"link cut for {SECONDS_CUT_FOR_LONG:g} s, node started again"
        with self._struck(kind, node, driver):
            started = monotonic()
            node.cut()
            sleep(SECONDS_CUT_FOR_LONG)
            node.mend()
            assert node.process is not None
            node.process.wait(MAX_SECONDS)  # Ray ends itself on a node that was given up
            print(f"{kind}: it had ended itself after {monotonic() - started:.1f} s", flush=True)
            node.kill()
            node.start()

    def _come_and_go(self, cluster: NetCluster, driver: subprocess.Popen[bytes]) -> None:
        """A node comes, which is to be used, and goes in order, as a spot instance may."""
        node = cluster.add_node()
        row, started = self._rows.setdefault("node added", Struck()), monotonic()
        self._wait(lambda: self._trial_on(node) is not None, driver)
        row.times += 1
        row.seconds.append(monotonic() - started)
        print(f"node added: used after {row.seconds[-1]:.1f} s", flush=True)
        with self._struck("node ended in order", node, driver):
            assert node.process is not None
            os.kill(node.process.pid, signal.SIGTERM)

    def _head(self, cluster: NetCluster) -> None:
        """The head is gone, and the driver with it; the sweep is resumed on a new cluster."""
        head, *others = cluster.nodes
        row = self._rows.setdefault("head killed -9, sweep resumed", Struck())
        before, checkpoints = facts.ended_trials(self._sweep.path), self._checkpoints()
        reported = self._num_reports()
        head.kill()
        struck = monotonic()
        for node in others:  # they would give up by themselves within a minute
            node.kill()
        for node in cluster.nodes[:3]:
            node.start()
        with self._watched(row, checkpoints):
            code = _RESUME.format(path=str(self._sweep.path), address=cluster.address)
            driver = self._drive(cluster, code)
            self._wait(lambda: self._num_reports() > reported, driver)
            row.seconds.append(monotonic() - struck)
            if driver.wait(MAX_SECONDS) != 0:
                raise RuntimeError(self._told())
        row.times += 1
        row.lost += len(facts.lost(before, self._sweep.path))

    @contextmanager
    def _struck(self, kind: str, node: NetNode, driver: subprocess.Popen[bytes]) -> Iterator[None]:
        """Strike while a trial runs on a node, and wait until it has reported again."""
        row = self._rows.setdefault(kind, Struck())
        number = self._trial_far_from_its_end(node, driver)
        before, checkpoints = facts.ended_trials(self._sweep.path), self._checkpoints()
        started, last = monotonic(), self._last(number)[VALIDATION]
        with self._watched(row, checkpoints):
            yield
            self._wait(lambda: self._last(number)[VALIDATION] > last, driver)
            row.seconds.append(monotonic() - started)
            print(f"{kind}: trial {number} went on after {row.seconds[-1]:.1f} s", flush=True)
            sleep(1)
        row.times += 1
        row.lost += len(facts.lost(before, self._sweep.path))

    def _trial_on(self, node: NetNode) -> int | None:
        """The number of the trial that trains on a node whose Ray runs."""
        if not node.workers():
            return None
        logs = sorted(self._sweep.path.glob("trials/*/result.json"), key=_changed)
        for log in reversed(logs):
            last = _last_line(log)
            if last.get("node_ip") == node.address and last.get("pid") in node.workers():
                return None if last["finished"] else int(last["config"]["number"])
        return None

    def _trial_far_from_its_end(self, node: NetNode, driver: subprocess.Popen[bytes]) -> int:
        while True:
            self._wait(lambda: self._trial_on(node) is not None, driver)
            number = self._trial_on(node)
            if number is not None and self._last(number)[VALIDATION] < self._epochs / 2:
                return number
            sleep(0.1)

    def _last(self, number: int) -> dict[str, Any]:
        return _last_line(self._sweep.result_log(number))

    def _num_reports(self) -> int:
        logs = self._sweep.path.glob("trials/*/result.json")
        return sum(log.read_bytes().count(b"\n") for log in logs)

    def _checkpoints(self) -> dict[Path, float]:
        """The epoch of each trial's checkpoint."""
        found = {}
        for path in self._sweep.path.glob("trials/*/checkpoint.pt"):
            with suppress(FileNotFoundError):  # it goes when better trials have ended
                found[path] = float(load_checkpoint(path)["record"]["epoch"])
        return found

    @contextmanager
    def _watched(self, row: Struck, before: dict[Path, float]) -> Iterator[None]:
        """Count the epochs by which a checkpoint falls back."""
        over = threading.Event()

        def watch() -> None:
            known = dict(before)
            while not over.wait(0.2):
                for path, epoch in self._checkpoints().items():
                    row.repeated += int(max(0.0, known.get(path, 0.0) - epoch))
                    known[path] = epoch

        watcher = threading.Thread(target=watch)
        watcher.start()
        try:
            yield
        finally:
            over.set()
            watcher.join()

    def _check(self) -> None:
        """Every trial has ended once, and reported each epoch once."""
        decisions = [json.loads(line) for line in facts.decisions(self._sweep.path)]
        ends = Counter(event["trial"] for event in decisions if event["event"] == events.ENDED)
        self.problems += [
            f"trial {n}: ended {times} times" for n, times in ends.items() if times > 1
        ]
        if not facts.facts_of(self._sweep.path)["log and table agree"]:
            self.problems.append("decisions.jsonl and the study's table differ")
        for log in self._sweep.path.glob("trials/*/result.json"):
            lines = log.read_text("utf-8").splitlines()
            validations = [json.loads(line)[VALIDATION] for line in lines]
            if validations != list(range(1, len(validations) + 1)):
                self.problems.append(f"{log}: reports {validations}")

    def _first(self, address: str) -> str:
        place, name = str(self._sweep.path.parent), self._sweep.path.name
        return _RUN.format(out=place, name=name, settings=f"{self._settings}, {address=}")

    def _drive(self, cluster: NetCluster, code: str) -> subprocess.Popen[bytes]:
        with self._log.open("ab") as log:
            return cluster.nodes[0].run([sys.executable, "-c", code], stdout=log)

    @property
    def _log(self) -> Path:
        return self._folder / "driver.log"

    def _told(self) -> str:
        return self._log.read_text("utf-8")[-3000:]

    def _wait(self, until: Callable[[], bool], driver: subprocess.Popen[bytes]) -> None:
        deadline = monotonic() + MAX_SECONDS
        while not until():
            if driver.poll() is not None or monotonic() > deadline:
                raise RuntimeError(self._told())
            sleep(0.1)


def show(rows: dict[str, Struck], problems: list[str]) -> None:
    """Print a row for each kind of strike, and what was not as it should be."""
    table = Table(title="one sweep on a cluster, struck", title_justify="left")
    table.add_column("struck")
    for column in ("times", "finished trials lost", "epochs repeated", "seconds until it went on"):
        table.add_column(column, justify="right")
    for kind, row in rows.items():
        seconds = ", ".join(f"{each:.0f}" for each in row.seconds)
        table.add_row(kind, str(row.times), str(row.lost), str(row.repeated), seconds)
    console = Console(width=120)
    console.print(table)
    for problem in problems:
        console.print(problem, markup=False, highlight=False)


def _changed(path: Path) -> float:
    return path.stat().st_mtime


def _last_line(path: Path) -> dict[str, Any]:
    *_, whole, _ = ["", "{}", *path.read_text("utf-8").split("\n")]
    found: dict[str, Any] = json.loads(whole or "{}")
    return found
