"""How well it is known what random search in full would have found, from a search by ASHA.

Command:  uv run python -m benchmarks.stopped_trials [--space digits_cnn] [--draws 1000]

Trains many random configs in full, without stopping early. Then, again and again: draws some of
them, stops them by ASHA's rule at the rungs of their own curves, and asks
`toprung.analysis.findings.worth` for the best of as much random search, as the report does. As
every config was trained in full, the answer is known: the same configs in full. "Covered" is the
share of draws in which it lies between "at least" and "at most".
"""

import argparse
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from datetime import date
from pathlib import Path

import numpy as np

import toprung
from toprung.analysis.findings.curve_ends import CurveScores, ends
from toprung.analysis.findings.results import Results
from toprung.analysis.findings.worth import expected_best
from toprung.analysis.study.curves import Curve
from toprung.analysis.study.trials import TrialResult
from toprung.analysis.sweep import Sweep
from toprung.analysis.sweep_folder import attributes

_KINDS = ("at least", "estimate", "at most", "in full")


def stopped_by_asha(
    trials: Sequence[TrialResult], scores: CurveScores, grace: int = 1, factor: int = 3
) -> tuple[list[TrialResult], CurveScores]:
    """The trials, in the order in which they run, as ASHA would have left them; and their curves.

    A trial goes on at a rung if it is not below the quantile 1 - 1/`factor` of those that were
    there before it (the stopping rule of Ray Tune's ASHA).
    """
    epochs = max(curve.records[-1].epoch for curve in scores.curves.values())
    rungs = [rung for n in range(20) if (rung := grace * factor**n) < epochs]
    before: dict[int, list[float]] = {rung: [] for rung in rungs}
    left, curves = [], dict(scores.curves)
    for trial in trials:
        for rung in rungs:
            score = scores.sign * scores.best(trial, until=rung)
            fails = bool(before[rung]) and score < np.quantile(before[rung], 1 - 1 / factor)
            before[rung].append(score)
            if fails:
                curve = scores.curves[trial.number]
                kept = tuple(record for record in curve.records if record.epoch <= rung)
                curves[trial.number] = Curve(trial.number, kept, ())
                trial = replace(trial, ended=attributes.STOPPED_EARLY)
                break
        left.append(trial)
    return left, CurveScores(scores.metric, curves)


def one_draw(
    trials: Sequence[TrialResult], scores: CurveScores, num_random: int
) -> tuple[float, ...]:
    """What is said of random search after a sweep of these trials, and last what is true."""
    left, stopped = stopped_by_asha(trials, scores)
    epochs = [stopped.curves[trial.number].records[-1].epoch for trial in left]
    in_full = scores.curves[trials[0].number].records[-1].epoch
    num_draws = min(max(1, int(sum(epochs) / in_full)), num_random)
    found = ends(left[:num_random], left, stopped)
    truth_N = np.array([scores.best(trial) for trial in trials[:num_random]])
    answers = (found.at_least_N, found.expected_N, found.at_most_N, truth_N)
    return tuple(
        np.nan
        if values_N is None
        else float(expected_best(values_N, num_draws, larger_is_better=scores.sign > 0)[-1])
        for values_N in answers
    )


def measure(sweep: Sweep, num_draws: int) -> None:
    """Print a line for each size of sweep."""
    results = Results(sweep)
    scores = CurveScores(results.metric, results.curves)
    last = max(curve.records[-1].epoch for curve in results.curves.values())
    full = [t for t in results.scored if results.curves[t.number].records[-1].epoch == last]
    print(f"{len(full)} configs in full, {last:g} epochs, {date.today()}, {num_draws} draws each")
    print(
        "| trials under ASHA | of them at random | " + " | ".join(_KINDS) + " | off by | covered |"
    )
    print("|---" * 8 + "|")
    for num_trials, num_random in ((24, 10), (24, 24), (50, 10), (50, 50)):
        if num_trials > len(full):
            continue
        rng = np.random.default_rng(0)
        drawn = [rng.choice(len(full), num_trials, replace=False) for _ in range(num_draws)]
        found = np.array([one_draw([full[n] for n in d], scores, num_random) for d in drawn])
        least, guess, most, truth = found.T
        low, high = np.minimum(least, most) - 1e-9, np.maximum(least, most) + 1e-9
        off = np.nanmean(np.abs(guess - truth))
        covered = np.mean((low <= truth) & (truth <= high))
        means = " | ".join(f"{mean:.4f}" for mean in np.nanmean(found, axis=0))
        print(f"| {num_trials} | {num_random} | {means} | {off:.4f} | {covered:.3f} |", flush=True)


def main() -> None:
    """Train what the command line asks for, and measure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--space", default="digits_cnn")
    parser.add_argument("--trials", type=int, default=90, help="configs to train in full")
    parser.add_argument("--draws", type=int, default=1000)
    parser.add_argument("--sweep", type=Path, help="one that was run without stopping early")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        sweep = toprung.open(given.sweep) if given.sweep else None
        measure(
            sweep
            or toprung.run(
                given.space,
                trials=given.trials,
                sampler="random",
                trial_scheduler="none",
                confirm=0,
                out=Path(folder),
            ),
            given.draws,
        )


if __name__ == "__main__":
    main()
