"""Workers that the kernel kills for memory, in a group with a limit: are they called out of memory?

Command:  sudo uv run python -m benchmarks.kills.memory [--trials 12] [--limit 3G]

It needs root and a memory controller of control groups version 1 or 2. Twice the same sweep, in
which some trials want more memory than the limit. `own`: the driver and its Ray are in a group that
is nested as Slurm's are, with the limit at the group of the job. `node`: the driver joins a cluster
of two nodes of this machine; trials fit on the second alone, which is in such a group, and the
driver is not. Then `signal`: the first again without a limit, and the worker of each big trial is
killed by a signal, which must not be called out of memory. The kernel's own count is compared with
what the study says: each kill is one that a trial was told of.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from time import sleep

from benchmarks.kills.processes import descendants, is_worker
from tests.support.real_cluster import real_cluster
from toprung.analysis.sweep import Sweep
from toprung.trainables.results.failures import OUT_OF_MEMORY, WORKER_LOST

_SPACE = Path(__file__).parent / "spaces" / "memory.py"
_NESTED = "step_0/task_0"


@dataclass(frozen=True)
class Group:
    """A control group with a limit, and one far below it for the processes.

    Attributes:
        path: the folder of the upper one, the job's.
        is_v1: whether it is one of version 1.
    """

    path: Path
    is_v1: bool

    @property
    def inner(self) -> Path:
        """The folder of the lower one."""
        return self.path / _NESTED

    def kills(self) -> int:
        """How many of its processes the kernel has killed."""
        text = (self.inner / ("memory.oom_control" if self.is_v1 else "memory.events")).read_text()
        return int(dict(line.split() for line in text.splitlines())["oom_kill"])

    def enter(self) -> None:
        """Put this process there, and with it those that it will start."""
        (self.inner / "cgroup.procs").write_text(str(os.getpid()))

    @contextmanager
    def entered(self) -> Iterator[None]:
        """Let this process be there for a while."""
        before = self._before()
        self.enter()
        try:
            yield
        finally:
            (before / "cgroup.procs").write_text(str(os.getpid()))

    def _before(self) -> Path:
        """The folder of this process's own group for memory."""
        lines = Path("/proc/self/cgroup").read_text().splitlines()
        mark = ":memory:" if self.is_v1 else "0::"
        (group,) = (line.partition(mark)[2] for line in lines if mark in line)
        return self.path.parent / group.lstrip("/")


@contextmanager
def limited_group(limit: str) -> Iterator[Group]:
    """A group of so much memory, taken away afterwards."""
    memory = Path("/sys/fs/cgroup/memory")
    is_v1 = memory.is_dir()
    root = memory if is_v1 else Path("/sys/fs/cgroup")
    group = Group(root / f"toprung_job_{os.getpid()}", is_v1)
    group.inner.mkdir(parents=True)
    try:
        if not is_v1:
            for above in (root, group.path, group.inner.parent):
                (above / "cgroup.subtree_control").write_text("+memory")
        name = "memory.limit_in_bytes" if is_v1 else "memory.max"
        (group.path / name).write_text(limit)
        yield group
    finally:
        sleep(1)  # Ray's last processes end
        for folder in (group.inner, group.inner.parent, group.path):
            folder.rmdir()


def run(out: Path, trials: int, group: Group | None, env: Mapping[str, str] | None = None,
        options: tuple[str, ...] = (), *, kill: bool = False) -> Sweep:  # fmt: skip
    """Run the sweep in a process of its own, in the group; or kill its big trials' workers."""
    call = "from toprung.cli.main import main; main()"
    command = [sys.executable, "-c", call, "run", str(_SPACE), "--out", str(out), "--name", "sweep"]
    command += ["--trials", str(trials), *options]
    driver = subprocess.Popen(command, env=env, preexec_fn=group.enter if group else None)
    while driver.poll() is None:
        sleep(0.5)
        big = [pid for pid in descendants(driver.pid) if is_worker(pid) and _size(pid) > 1 << 30]
        for pid in big if kill else []:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
    return Sweep(out / "sweep")


def _size(pid: int) -> int:
    """Bytes of memory of a process."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0


def tally(sweep: Sweep, kills: int, wanted: str) -> dict[str, object]:
    """What became of the sweep's trials, beside what the kernel counted."""
    trials = sweep.trials()
    kinds = Counter(trial.failure for trial in trials if trial.failure)
    states = Counter(
        trial.state.name for trial in sweep.study.get_trials() if "failure_kind" in trial.user_attrs
    )
    big = [trial for trial in trials if trial.parameters["labels/size"] == "big"]
    wrong = [t.number for t in big if t.failure != wanted]
    wrong += [t.number for t in trials if t.failure and t not in big]
    return {
        "trials": len(trials),
        "too big": len(big),
        "kernel's kills": kills,
        "failures": dict(kinds),
        "states of failed": dict(states),
        "wrong": wrong,
    }


def main() -> None:
    """Run the three; the exit code is 1 if a trial failed as another kind than it should."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, default=12)
    parser.add_argument("--limit", default="3G")
    given = parser.parse_args()
    found = {}
    with tempfile.TemporaryDirectory(prefix="memory", dir="/tmp") as place:
        folder = Path(place)
        with limited_group(given.limit) as group:
            sweep = run(folder / "own", given.trials, group, options=("--concurrency", "1"))
            found["own"] = tally(sweep, group.kills(), OUT_OF_MEMORY)
        with limited_group(given.limit) as group, real_cluster(num_cpus=0) as cluster:
            with group.entered():
                cluster.add_node()
            address = ("--address", cluster.address)
            sweep = run(folder / "node", given.trials, None, cluster.client_env(), address)
            found["node"] = tally(sweep, group.kills(), OUT_OF_MEMORY)
            cluster.end()
        sweep = run(
            folder / "signal", given.trials, None, options=("--concurrency", "1"), kill=True
        )
        found["signal"] = tally(sweep, 0, WORKER_LOST)
    print(json.dumps(found, indent=2))
    sys.exit(any(bool(row["wrong"]) or not row["failures"] for row in found.values()))


if __name__ == "__main__":
    main()
