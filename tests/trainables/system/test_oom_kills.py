"""Counts of OOM kills, from control groups as Slurm, containers and plain machines have them."""

from pathlib import Path

import pytest

from toprung.trainables.system.oom_kills import oom_kills

V1 = "oom_kill_disable 0\nunder_oom 0\noom_kill {}\n"
V2 = "low 0\nhigh 0\nmax 7\noom 5\noom_kill {}\noom_group_kill 0\n"
SLURM = "/slurm/uid_0/job_7/step_0/task_0"


class Machine:
    """What a process sees of a machine: its groups, the mounts, the counters."""

    def __init__(self, folder: Path) -> None:
        self.process, self.mounts = folder / "proc", folder / "sys"
        self.process.mkdir()
        self.vmstat = folder / "vmstat"

    def in_groups(self, *lines: str) -> None:
        (self.process / "cgroup").write_text("".join(f"{line}\n" for line in lines))

    def mount(self, name: str, kind: str, root: str = "/", options: str = "rw") -> Path:
        folder = self.mounts / name
        folder.mkdir(parents=True)
        escaped = str(folder).replace(" ", r"\040")
        with (self.process / "mountinfo").open("a") as told:
            told.write(f"35 31 0:32 {root} {escaped} rw shared:9 - {kind} {kind} {options}\n")
        return folder

    def kills(self) -> int | None:
        return oom_kills(self.process, self.vmstat)


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def count(folder: Path, kills: int) -> None:
    is_v1 = "v1" in folder.parts
    folder.mkdir(parents=True, exist_ok=True)
    name, text = ("memory.oom_control", V1) if is_v1 else ("memory.events", V2)
    (folder / name).write_text(text.format(kills))


def test_version_1_counts_in_the_group_of_the_process_that_was_killed(machine: Machine) -> None:
    machine.in_groups("4:memory:" + SLURM, "1:cpu,cpuacct:/slurm", "0::/")
    machine.mount("cpu", "cgroup", options="rw,cpu,cpuacct")
    memory = machine.mount("v1", "cgroup", options="rw,memory")
    for above, kills in ((memory, 0), (memory / SLURM[1:], 3)):
        count(above, kills)
    assert machine.kills() == 3


def test_version_2_counts_in_the_groups_above_too_where_other_jobs_are(machine: Machine) -> None:
    machine.in_groups("0::" + SLURM)
    unified = machine.mount("v2", "cgroup2")
    for group, kills in ((SLURM[1:], 2), ("slurm/uid_0", 5), ("slurm", 9)):
        count(unified / group, kills)
    assert machine.kills() == 2


def test_where_the_own_group_does_not_count_the_nearest_above_it_does(machine: Machine) -> None:
    machine.in_groups("0::" + SLURM)
    unified = machine.mount("v2", "cgroup2")
    (unified / SLURM[1:]).mkdir(parents=True)
    count(unified / "slurm/uid_0/job_7", 4)
    count(unified / "slurm", 9)
    assert machine.kills() == 4


def test_of_a_hybrid_machine_the_hierarchy_that_has_memory_counts(machine: Machine) -> None:
    machine.in_groups("4:memory:/job", "0::/user.slice/job")
    unified = machine.mount("v2", "cgroup2")
    (unified / "user.slice/job").mkdir(parents=True)
    count(machine.mount("v1", "cgroup", options="rw,memory") / "job", 6)
    assert machine.kills() == 6


@pytest.mark.parametrize(
    ("group", "root"),
    [
        ("/", "/"),  # a namespace of its own
        ("/docker/3f5e", "/docker/3f5e"),  # none, and the group stands at the mount
        ("/../../user.slice", "/"),  # moved out of what its namespace shows
        ("/elsewhere", "/docker/3f5e"),
    ],
)
def test_in_a_container_the_root_of_the_mount_counts(
    machine: Machine, group: str, root: str
) -> None:
    machine.in_groups("0::" + group)
    count(machine.mount("v2", "cgroup2", root), 8)
    assert machine.kills() == 8


def test_a_group_below_a_containers(machine: Machine) -> None:
    machine.in_groups("4:memory:/docker/3f5e/job")
    memory = machine.mount("v1", "cgroup", "/docker/3f5e", "rw,memory")
    count(memory, 1)
    count(memory / "job", 2)
    assert machine.kills() == 2


def test_a_mount_whose_path_has_blanks(tmp_path: Path) -> None:
    (tmp_path / "a b").mkdir()
    machine = Machine(tmp_path / "a b")
    machine.in_groups("0::/job")
    count(machine.mount("v2", "cgroup2") / "job", 1)
    assert machine.kills() == 1


def test_without_counting_groups_it_is_the_machines_count_or_nothing(machine: Machine) -> None:
    assert machine.kills() is None
    machine.in_groups("0::/")  # the root group of version 2 has no file of events
    machine.mount("v2", "cgroup2")
    assert machine.kills() is None
    machine.vmstat.write_text("nr_free_pages 5\noom_kill 11\n")
    assert machine.kills() == 11


def test_this_machine_says_some_number_or_none() -> None:
    kills = oom_kills()
    assert kills is None or kills >= 0
