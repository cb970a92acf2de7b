"""Sweeps over a partly frozen pretrained network: Toprung against a plain Ray Tune script.

Command:  uv run python -m benchmarks.frozen_sweep --images FOLDER --weights FILE
              [--image-size 112] [--trials 16] [--epochs 10] [--peer-trials 4] [--pairs 1]

FOLDER has a folder for each class; FILE is a torchvision state dict of --architecture. For each
freeze policy (head only; head and last stage) a sweep over SGD's learning rate, momentum and weight
decay is run, every trial for all its epochs, two trials at a time on one CPU each. Counted are
trials per hour of the whole process, from the shell to the tested winner:

* Toprung, first sweep: in an empty cache folder, so that decoding the images and whatever else it
  keeps for later is counted.
* Toprung, next sweep: again, in the same cache folder.
* plain Ray Tune: `benchmarks/peers/frozen_ray_tune.py`, with the same splits and the very configs
  that Toprung drew.
* features by hand: the peer with --cache-features, for head only.

The peer shares nothing between its trials, so it may run fewer of them (--peer-trials, an even
number): only the time of its trials is then multiplied, not that of its start and end. After each
sweep its best validation accuracy is printed, over the configs that both sides tried, to show that
the work was the same. (The test accuracies are of the winners, which may have different configs.)
"""

import argparse
import json
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import toprung
from benchmarks.tables import PEERS, command_seconds, print_table, ratios
from toprung.analysis.sweep import Sweep
from toprung.analysis.sweep_folder import attributes
from toprung.trainables.data.listing.cache import CACHE_VARIABLE

SPACE = Path(__file__).parent / "frozen_space.py"
PEER = PEERS / "frozen_ray_tune.py"
CONCURRENCY = 2
STAGE_POLICY = "head_and_stage:"
PLAIN, BY_HAND = "plain Ray Tune", "features by hand"
FIRST, NEXT = "Toprung, first sweep", "Toprung, next sweep"


@dataclass(frozen=True)
class Ran:
    """How a sweep went.

    Attributes:
        trials_per_hour: of the whole process.
        val_accuracy: the best one, over the configs that the peer tries too.
        test_accuracy: of the winner among all that were tried.
    """

    trials_per_hour: float
    val_accuracy: float
    test_accuracy: float

    def __str__(self) -> str:
        return (
            f"{self.trials_per_hour:,.0f} trials/h, best validation accuracy "
            f"{self.val_accuracy:.4f}, test accuracy of the winner {self.test_accuracy:.4f}"
        )


def run_pair(given: argparse.Namespace, policy: str, folder: Path) -> Iterator[tuple[str, Ran]]:
    """Each way to run the sweep, by its name in the table; all files go to this empty folder."""
    for name, row in (("first", FIRST), ("next", NEXT)):
        sweep, seconds = run_toprung(given, policy, folder, name)
        yield row, ran_toprung(given, sweep, seconds)
    configs = folder / "configs.json"
    configs.write_text(json.dumps(drawn_configs(sweep)[: given.peer_trials]))
    yield PLAIN, run_peer(given, policy, sweep, configs)
    if policy == "head_only":
        yield BY_HAND, run_peer(given, policy, sweep, configs, "--cache-features")


def run_toprung(
    given: argparse.Namespace, policy: str, folder: Path, name: str
) -> tuple[Sweep, float]:
    """Toprung's sweep of this name, from the command line, and the seconds it took."""
    overrides = {
        "model/architecture": given.architecture,
        "model/weights": given.weights,
        "model/freeze_policy": policy,
        "data/image_size": given.image_size,
    }
    command = [sys.executable, "-c", "from toprung.cli.main import main; main()", "run", str(SPACE)]
    command += [f"--data={given.images}", f"--name={name}", f"--concurrency={CONCURRENCY}"]
    command += [f"--trials={given.trials}", f"--max-epochs={given.epochs}"]
    command += ["--cpus-per-trial=1", "--gpus-per-trial=0"]
    command += [f"--set={path}={value}" for path, value in overrides.items()]
    seconds = command_seconds(command, folder, {CACHE_VARIABLE: str(folder / "cache")})
    return toprung.open(folder / "sweeps" / name), seconds


def ran_toprung(given: argparse.Namespace, sweep: Sweep, seconds: float) -> Ran:
    """How Toprung's sweep went; it must have run every trial to its end."""
    if sweep.counts() != {attributes.FINISHED: given.trials}:
        raise SystemExit(f"{sweep.folder.path}: {sweep.counts()}, not {given.trials} finished")
    trials = sweep.trials()[: given.peer_trials]
    best = max(trial.best.val_accuracy for trial in trials if trial.best)
    return Ran(given.trials * 3600 / seconds, best, sweep.test().accuracy)


def drawn_configs(sweep: Sweep) -> list[dict[str, float]]:
    """What each trial of the sweep gave SGD, by torch's names."""
    return [
        {path.removeprefix("optimizer/"): value for path, value in trial.parameters.items()}
        for trial in sweep.trials()
    ]


def run_peer(
    given: argparse.Namespace, policy: str, sweep: Sweep, configs: Path, *options: str
) -> Ran:
    """The plain Ray Tune script on the sweep's splits and these configs.

    Its trials' time is reckoned up to as many trials as Toprung ran.
    """
    out = configs.with_name("peer.json")
    command = [sys.executable, str(PEER), f"--images={given.images}", f"--weights={given.weights}"]
    command += [f"--splits={sweep.folder.splits}", f"--configs={configs}", f"--out={out}"]
    command += [f"--architecture={given.architecture}", f"--image-size={given.image_size}"]
    command += [f"--epochs={given.epochs}", *options]
    if policy.startswith(STAGE_POLICY):
        command.append(f"--first-trained={policy.removeprefix(STAGE_POLICY)}")
    seconds = command_seconds(command, configs.parent)
    figures = json.loads(out.read_text())
    more = given.trials / given.peer_trials - 1
    seconds += more * figures["trial_seconds"] / CONCURRENCY
    return Ran(given.trials * 3600 / seconds, figures["val_accuracy"], figures["test_accuracy"])


def print_rates(given: argparse.Namespace, policy: str, ran: dict[str, list[Ran]]) -> None:
    """The table of one freeze policy."""
    rates = {name: [run.trials_per_hour for run in runs] for name, runs in ran.items()}
    rows = {
        f"{name}, trials/h": rates[name] for name in (PLAIN, BY_HAND, FIRST, NEXT) if name in rates
    }
    for peer in (PLAIN, BY_HAND):
        for ours in (FIRST, NEXT) if peer in rates else ():
            rows[f"ratio: {ours} / {peer}"] = ratios(rates[ours], rates[peer])
    print_table(
        f"frozen sweep, {policy}\n{given.architecture} at {given.image_size} pixels, "
        f"{given.trials} trials (peer: {given.peer_trials}) of {given.epochs} epochs",
        rows,
    )


def read_once(folder: Path) -> None:
    """Bring the images, and the packages that both sides import, into the system's cache."""
    for path in folder.rglob("*"):
        if path.is_file():
            path.read_bytes()
    command_seconds([sys.executable, "-c", "import ray.tune, torch, torchvision"], folder)


def absolute(text: str) -> Path:
    """A path that also holds in the folder where the sweeps run."""
    return Path(text).absolute()


def parsed() -> argparse.Namespace:
    """What the command line says."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=absolute, required=True, help="a folder of class folders")
    parser.add_argument("--weights", type=absolute, required=True, help="torchvision's state dict")
    parser.add_argument("--architecture", default="squeezenet1_0", help="torchvision's name")
    parser.add_argument(
        "--freeze-policies",
        nargs="+",
        default=["head_only", f"{STAGE_POLICY}features.12"],
        help="head_only, or head_and_stage with the network's last stage",
    )
    parser.add_argument("--image-size", type=int, default=112, help="pixels of a side")
    parser.add_argument("--trials", type=int, default=16, help="of Toprung's sweeps")
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--peer-trials", type=int, help="of the peer's sweeps (default: as many)")
    parser.add_argument("--pairs", type=int, default=1, help="runs of each, in turn")
    given = parser.parse_args()
    given.peer_trials = given.peer_trials or given.trials
    if given.peer_trials > given.trials or given.peer_trials % CONCURRENCY:
        parser.error(f"--peer-trials must be even, and at most {given.trials}")
    for policy in given.freeze_policies:
        if policy != "head_only" and not policy.startswith(STAGE_POLICY):
            parser.error(f"--freeze-policies: the peer knows head_only and {STAGE_POLICY}STAGE")
    return given


def main() -> None:
    """Run the pairs of each freeze policy and print its table."""
    given = parsed()
    read_once(given.images)
    for policy in given.freeze_policies:
        ran: dict[str, list[Ran]] = defaultdict(list)
        for _ in range(given.pairs):
            with tempfile.TemporaryDirectory() as folder:
                for name, run in run_pair(given, policy, Path(folder)):
                    ran[name].append(run)
                    print(f"{policy}, {name}: {run}", flush=True)
        print_rates(given, policy, ran)


if __name__ == "__main__":
    main()
