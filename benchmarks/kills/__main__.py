"""Sweeps killed again and again: is everything in the end as if they had been left alone?

Commands:
    uv run python -m benchmarks.kills pretend [--sweeps tpe grid ...] [--every 6]
    uv run python -m benchmarks.kills real [--kills 20] [--confirmed 4] [--workers 4] [--servers 4]
    uv run python -m benchmarks.kills phases [--rounds 4] [--phases search ...]
    uv run python -m benchmarks.kills opening [--rounds 3]
    uv run python -m benchmarks.kills s3 [--kills 20]
    uv run python -m benchmarks.kills process [--rounds 5]
    sudo uv run python -m benchmarks.kills cluster [--rounds 1] --folder /tmp

`pretend` runs Toprung's whole driver in one process, without Ray, on trials that only pretend to
train, and kills it at every write point in turn: before a write, in the middle of it, twice, with
a torn last line; and has the disk full there, for a while and for good. (It needs a C compiler.)
With `--every 6` each of the six ways strikes at every sixth write point, all of them together at
each. `real` kills the driver, the worker, or Ray's server (`gcs_server`), of a real sweep on Ray at
random moments, half of them while a checkpoint is being written. A sweep that was killed is
resumed, and then compared: the decision log line by line; every trial of the study; the reports,
checkpoints and TensorBoard files; the winner. A trial that had ended before the kill must not have
changed at all.

`phases` kills the whole command, with two trials at a time, in its search, confirmation, test,
export and report, and while it is resumed, and checks what must hold of every sweep.

`opening` kills the opening of the test set at every write point, in a folder, and `--rounds` times
at each of its steps in an object store (moto's, on this machine); then the same model is tested
again, and another winner. (It needs a C compiler.)

`s3` kills sweeps whole, driver, trials and Ray, of one machine and of a cluster of two nodes, half
of them in an object store (moto's server) and half in a folder, and resumes them on a machine that
has nothing of the old one. (Half of `--kills` are of sweeps in a store on one machine.)

`process` runs so many sweeps in one Python process, and counts the descriptors, threads, children
and environment variables that each leaves there.

`cluster` runs one sweep on a Ray cluster whose nodes are in network namespaces of this machine (it
needs root and `ip`), and strikes workers, nodes and links while it runs, and the head at last.
"""

import argparse
import gc
import sys
import tempfile
from pathlib import Path

from benchmarks.kills.strikes import load_library
from benchmarks.kills.tally import Tally, show


def main() -> None:
    """Run what the command line asks for; the exit code is 1 if anything differed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    kinds = ["pretend", "real", "phases", "opening", "s3", "process", "cluster"]
    parser.add_argument("kind", choices=kinds)
    parser.add_argument(
        "--sweeps", nargs="+", default=[], help="of the pretended or of s3; all if not given"
    )
    parser.add_argument("--modes", nargs="+", default=[], help="of striking; all if not given")
    parser.add_argument("--phases", nargs="+", default=[], help="to kill in; all if not given")
    parser.add_argument("--every", type=int, default=6, help="so many write points")
    parser.add_argument("--kills", type=int, default=20, help="of the driver of a real sweep")
    parser.add_argument("--confirmed", type=int, default=4, help="of one that is confirmed")
    parser.add_argument("--workers", type=int, default=4, help="of a worker")
    parser.add_argument("--servers", type=int, default=4, help="of Ray's server")
    parser.add_argument("--trials", type=int, default=50, help="on a cluster, for each round")
    parser.add_argument("--rounds", type=int, default=1, help="at a cluster, or in each phase")
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    parser.add_argument("--folder", type=Path, help="for the sweeps; in memory it is quicker")
    given = parser.parse_args()
    if given.kind in ("pretend", "opening"):
        load_library()
    with tempfile.TemporaryDirectory(prefix="kills", dir=given.folder) as folder:
        others = {
            "cluster": _cluster,
            "phases": _phases,
            "opening": _opening,
            "s3": _stored,
            "process": _process,
        }
        if given.kind in others:
            sys.exit(others[given.kind](given, Path(folder)))
        run = _pretend if given.kind == "pretend" else _real
        tallies = run(given, Path(folder))
    show(f"{given.kind} sweeps, killed and resumed", tallies)
    if any(tally.failed for tally in tallies.values()):
        sys.exit(1)


def _pretend(given: argparse.Namespace, folder: Path) -> dict[tuple[str, str], Tally]:
    from benchmarks.kills.pretended.campaign import MODES, Campaign, chosen
    from benchmarks.kills.pretended.sweep import tables_known

    tallies = {}
    with tables_known():
        gc.freeze()  # what has been imported is shared with every process that is struck
        for scenario in chosen(given.sweeps):
            campaign = Campaign(scenario, folder / scenario.name)
            print(f"{scenario.name}: {campaign.count} write points", flush=True)
            for number, mode in enumerate(given.modes or MODES):
                offset = number * given.every // len(MODES)
                tally = campaign.run(mode, given.every, offset)
                tallies[scenario.name, mode] = tally
                show(scenario.name, {(scenario.name, mode): tally})
    return tallies


def _cluster(given: argparse.Namespace, folder: Path) -> int:
    from benchmarks.kills import cluster

    campaign = cluster.ClusterCampaign(folder, trials=given.trials * given.rounds, epochs=40)
    rows = campaign.run(given.rounds)
    cluster.show(rows, campaign.problems)
    return int(bool(campaign.problems) or any(row.lost or row.repeated for row in rows.values()))


def _phases(given: argparse.Namespace, folder: Path) -> int:
    from benchmarks.kills.phases import PhasesCampaign

    rows = PhasesCampaign(folder, given.seed).run(given.rounds, given.phases)
    for name, row in rows.items():
        print(f"{name}: {row.kills} kills, {row.late} too late, {len(row.problems)} problems")
        print("".join(f"  {problem}\n" for problem in row.problems), end="")
    return int(any(row.problems for row in rows.values()))


def _opening(given: argparse.Namespace, folder: Path) -> int:
    from benchmarks.kills.opening import OpeningCampaign, show
    from tests.support.s3 import BUCKET, s3_server

    campaign = OpeningCampaign(folder)
    rows = dict(campaign.in_a_folder())
    show(rows)
    with s3_server():
        rows |= dict(campaign.in_a_store(f"s3://{BUCKET}/openings", given.rounds))
    show(rows)
    return int(any(row.problems for row in rows.values()))


def _stored(given: argparse.Namespace, folder: Path) -> int:
    from benchmarks.kills import stored

    rows = stored.run(folder, given.kills // 2, given.seed, given.sweeps)
    stored.show(rows)
    return int(any(row.problems or row.gone for row in rows.values()))


def _process(given: argparse.Namespace, folder: Path) -> int:
    from benchmarks.kills import process

    looked_at = process.run(folder, given.rounds)
    process.show(looked_at)
    found = process.problems(looked_at)
    print("".join(f"  {problem}\n" for problem in found), end="")
    return int(bool(found))


def _real(given: argparse.Namespace, folder: Path) -> dict[tuple[str, str], Tally]:
    from benchmarks.kills.real import RealCampaign

    search = {"trials": 8, "max_epochs": 8, "concurrency": 1, "confirm": 0}
    confirmed = search | {"trials": 4, "confirm": 1, "seeds": 2}
    tallies = {}
    for name, settings, whom, times in (
        ("searched", search, "driver", given.kills),
        ("searched", search, "worker", given.workers),
        ("searched", search, "server", given.servers),
        ("confirmed", confirmed, "driver", given.confirmed),
    ):
        if times:
            campaign = RealCampaign(folder / f"{name} {whom}", settings, given.seed)
            tallies[name, f"{whom} killed"] = campaign.kill(whom, times)
            show(name, {(name, whom): tallies[name, f"{whom} killed"]})
    return tallies


if __name__ == "__main__":
    main()
