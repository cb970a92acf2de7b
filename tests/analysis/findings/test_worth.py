"""Whether the search earned its cost: against brute force, and on curves with known answers."""

import math
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from tests.support.simulated_sweep import Simulated, random_trials, simulated_sweep
from toprung.analysis.findings.results import Results
from toprung.analysis.findings.worth import Worth, expected_best, worth
from toprung.analysis.pictures.worth import search_against_simpler, worth_table
from toprung.analysis.sweep_folder import attributes

EARLY = attributes.STOPPED_EARLY


@pytest.mark.parametrize("larger_is_better", [True, False])
def test_the_expectation_is_that_of_many_draws(larger_is_better: bool) -> None:
    rng = np.random.default_rng(5)
    values_N = rng.normal(size=13).round(1)  # with ties
    mean_M = expected_best(values_N, 13, larger_is_better=larger_is_better)
    draws = rng.permuted(np.tile(values_N, (50_000, 1)), axis=1)
    for m in range(1, 14):
        best = draws[:, :m].max(1) if larger_is_better else draws[:, :m].min(1)
        assert mean_M[m - 1] == pytest.approx(best.mean(), abs=0.015)
    assert mean_M[0] == pytest.approx(values_N.mean())
    assert mean_M[-1] == pytest.approx(values_N.max() if larger_is_better else values_N.min())


def test_the_expectation_is_that_of_the_population_without_bias() -> None:
    """Of draws with replacement from a sample it would be too low, on average over samples."""
    rng = np.random.default_rng(5)
    samples = rng.uniform(size=(4000, 6))
    found = np.mean([expected_best(sample, 4)[-1] for sample in samples])
    assert found == pytest.approx(4 / 5, abs=0.005)  # of the best of 4 uniform values


def test_infinite_losses_that_cannot_be_the_best_weigh_nothing() -> None:
    best_M = expected_best([np.inf, 0.5, 0.25], 3, larger_is_better=False)
    assert best_M.tolist() == [np.inf, pytest.approx((0.25 + 0.25 + 0.5) / 3), 0.25]


def test_the_expectation_is_that_of_counting_ways() -> None:
    """C(i - 1, m - 1) of the C(N, m) ways to draw m values have the i-th smallest as their best."""
    values_N = np.sort(np.random.default_rng(5).uniform(size=60))
    mean_M = expected_best(values_N, 60)
    for m in range(1, 61):
        ways_N = [math.comb(i, m - 1) / math.comb(60, m) for i in range(60)]
        assert mean_M[m - 1] == pytest.approx(float(ways_N @ values_N), rel=1e-12)


def test_the_expectation_takes_memory_in_proportion_to_the_number_of_values() -> None:
    values_N = np.random.default_rng(5).uniform(size=100_000)
    tracemalloc.start()
    try:
        expected_best(values_N, 100)
        _, most_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most_bytes < 100 * len(values_N)


# At the first epoch the winner is third; the fourth trial is never among the best.
CURVES = [
    Simulated([0.5, 0.6, 0.7, 0.7]),
    Simulated([0.6, 0.6], EARLY),
    Simulated([0.4, 0.7, 0.9, 0.8]),
    Simulated([0.1], EARLY),
]


def known(path: Path, *, loss: bool = False, **settings: object) -> tuple[Results, Worth]:
    trials = [
        Simulated([1 - v for v in t.curve] if loss else t.curve, t.ended, start=100.0 * n)
        for n, t in enumerate(CURVES)
    ]
    metric = "val_loss" if loss else "val_accuracy"
    results = simulated_sweep(path, trials, metric=metric, max_epochs=4, **settings)
    found = worth(results)
    assert found is not None
    return results, found


@pytest.mark.parametrize("loss", [False, True])
def test_known_answers(loss: bool, tmp_path: Path) -> None:
    _, found = known(tmp_path / "sweep", loss=loss)

    def value(accuracy: float) -> float:
        return 1 - accuracy if loss else accuracy

    assert (found.epochs, found.trial) == (11, 2)
    assert found.value == pytest.approx(value(0.9))
    assert found.spent_R.tolist() == list(range(1, 12))
    so_far = [0.5, 0.6, 0.7, 0.7, 0.7, 0.7, 0.7, 0.7, 0.9, 0.9, 0.9]
    assert found.best_R == pytest.approx([value(v) for v in so_far])
    assert found.random is not None
    assert (found.random.num_trials, found.random.trial_epochs) == (2, 4)  # 2 of 4 epochs in 11
    assert (found.random.num_drawn_from, found.random.num_stopped) == (4, 2)
    # Of two different ones of .1, .6, .7, .9 the best is .6 once, .7 twice, .9 three times in six.
    assert found.random.at_least_M[-1] == pytest.approx(value((0.6 + 2 * 0.7 + 3 * 0.9) / 6))


def test_what_stopped_trials_would_have_become_is_estimated_and_bounded(tmp_path: Path) -> None:
    _, found = known(tmp_path / "sweep")
    assert found.random is not None
    assert found.random.expected_M is not None
    assert found.random.at_most_M is not None
    # Of their error those that finished had left .3 / .5 and .1 / .6 after one epoch, .3 / .4 and
    # .1 / .3 after two: the trial stopped at .6 (epoch 2) and the one at .1 (epoch 1) have left of
    # theirs the median, .5417 and .3833.
    ends = sorted([0.7, 1 - 0.4 * (3 / 4 + 1 / 3) / 2, 0.9, 1 - 0.9 * (3 / 5 + 1 / 6) / 2])
    best = (ends[1] + 2 * ends[2] + 3 * ends[3]) / 6
    assert found.random.expected_M.tolist() == pytest.approx([np.mean(ends), best])
    # At most both had become .9.
    assert found.random.at_most_M.tolist() == pytest.approx([(0.7 + 3 * 0.9) / 4, 0.9])


@pytest.mark.parametrize("metric", ["val_accuracy", "val_loss"])
@pytest.mark.parametrize("seed", range(2))
def test_an_estimate_lies_between_its_bounds(metric: str, seed: int, tmp_path: Path) -> None:
    trials = random_trials(30, seed, loss=metric == "val_loss")
    found = worth(simulated_sweep(tmp_path / "sweep", trials, metric=metric))
    assert found is not None
    assert found.random is not None
    assert found.random.num_stopped > 0
    assert found.random.expected_M is not None
    assert found.random.at_most_M is not None
    sign = 1 if metric == "val_accuracy" else -1
    assert (sign * found.random.at_least_M < sign * found.random.expected_M).all()
    assert (sign * found.random.at_least_M < sign * found.random.at_most_M).all()
    assert (sign * np.diff(found.random.expected_M) >= 0).all()


def test_where_no_trial_trained_to_its_end_there_is_a_bound_alone(tmp_path: Path) -> None:
    trials = [Simulated([0.1 * n, 0.1 * n], EARLY) for n in range(1, 5)]
    results = simulated_sweep(tmp_path / "sweep", trials, max_epochs=4)
    found = worth(results)
    assert found is not None
    assert found.random is not None
    assert found.random.expected_M is None
    assert found.random.at_most_M is None
    rows = worth_table(results)
    assert rows is not None
    row = dict(zip(rows.columns, rows.rows[1], strict=True))
    assert (row["val_accuracy"], row["at most"], row["behind by"]) == (None, None, None)
    assert row["at least"] == pytest.approx(2 / 6 * 0.3 + 1 / 6 * 0.2 + 3 / 6 * 0.4)
    assert "random search, at least" in labels(results)


def test_no_more_is_said_of_more_trials_than_were_drawn(tmp_path: Path) -> None:
    trials = [Simulated([n / 50, n / 50]) for n in range(30)]
    results = simulated_sweep(tmp_path / "sweep", trials, sampler="tpe", max_epochs=2)
    found = worth(results)
    assert found is not None
    assert found.random is not None
    assert (found.random.num_trials, found.random.num_draws) == (30, 10)
    assert found.random.is_short
    rows = worth_table(results)
    assert rows is not None
    assert rows.rows[1][3] == "at least the best of 10"
    assert rows.rows[1][4:6] == pytest.approx((9 / 50, 9 / 50))
    assert rows.rows[1][6] is None


def labels(results: Results) -> set[object]:
    figure = search_against_simpler(results)
    assert figure is not None
    return {line.get_label() for line in figure.axes[0].lines}


def test_one_epoch_of_everything_then_the_best(tmp_path: Path) -> None:
    _, found = known(tmp_path / "sweep")
    top = found.top_k
    assert top is not None
    # After an epoch of each, 7 epochs are left: two more trials of 3 epochs each, 1 and 0.
    assert (top.num_trials, top.epochs, top.num_stopped) == (2, 10, 1)
    assert (top.trial, top.at_least, top.at_most) == (0, 0.7, 0.9)
    assert top.expected == pytest.approx(1 - 0.4 * (3 / 4 + 1 / 3) / 2)


def test_the_samplers_that_learn_are_random_at_first(tmp_path: Path) -> None:
    trials = [Simulated([n / 20, n / 20]) for n in range(14)]
    drawn = {}
    for sampler in ("tpe", "gp", "random", "grid"):
        results = simulated_sweep(tmp_path / sampler, trials, sampler=sampler, max_epochs=2)
        found = worth(results)
        assert found is not None
        assert found.random is not None
        drawn[sampler] = found.random.num_drawn_from
    assert drawn == {"tpe": 10, "gp": 10, "random": 14, "grid": 14}


def test_of_a_staged_search_no_trial_is_drawn_from_the_whole_space(tmp_path: Path) -> None:
    results, found = known(tmp_path / "sweep", stages=[{"name": "a", "searches": ["x"]}])
    assert found.random is None
    rows = worth_table(results)
    assert rows is not None
    assert len(rows.rows) == 2


def failed(epochs: int) -> Simulated:
    return Simulated([0.95] * epochs, attributes.FAILED, reason="NaN")


def test_failed_trials_cost_but_are_never_picked(tmp_path: Path) -> None:
    results = simulated_sweep(tmp_path / "sweep", [*CURVES, failed(4), failed(5)], max_epochs=4)
    found = worth(results)
    assert found is not None
    assert (found.epochs, found.trial) == (20, 2)
    assert np.nanmax(found.best_R) == 0.9
    assert found.random is not None
    # Four useful trials of 4 epochs, and the 9 that failed: of 20 epochs, 3 useful trials.
    assert (found.random.num_drawn_from, found.random.trial_epochs) == (4, 25 / 4)
    assert found.random.num_trials == 3
    # After an epoch of all six, 14 epochs are left: all four go on, for 3 epochs each.
    assert found.top_k is not None
    assert (found.top_k.num_trials, found.top_k.epochs, found.top_k.trial) == (4, 6 + 12, 2)


def test_failed_trials_are_no_gift_to_a_simpler_search(tmp_path: Path) -> None:
    """Where nearly all epochs went into failed trials, as much random search has its share."""
    useful = [Simulated([0.4 + 0.1 * n]) for n in range(4)]
    results = simulated_sweep(tmp_path / "s", [*useful, *[failed(9)] * 4], max_epochs=1)
    found = worth(results)
    assert found is not None
    assert found.random is not None
    assert (found.epochs, found.random.trial_epochs, found.random.num_trials) == (40, 10, 4)
    assert found.top_k is not None
    assert found.top_k.epochs == 8


def test_of_tpe_the_failed_trials_count_that_were_drawn_at_random(tmp_path: Path) -> None:
    trials = [failed(2), *[Simulated([0.1, 0.2])] * 11, failed(2)]
    results = simulated_sweep(tmp_path / "sweep", trials, sampler="tpe", max_epochs=2)
    found = worth(results)
    assert found is not None
    assert found.random is not None
    assert found.random.num_drawn_from == 9
    assert found.random.trial_epochs == pytest.approx(20 / 9)


@pytest.mark.parametrize("values", [[float("inf")] * 3, [float("inf"), 0.5, float("inf"), 0.4]])
def test_infinite_losses_break_nothing(values: list[float], tmp_path: Path) -> None:
    trials = [Simulated([value], start=10.0 * n) for n, value in enumerate(values)]
    results = simulated_sweep(tmp_path / "sweep", trials, metric="val_loss", max_epochs=1)
    figure = search_against_simpler(results)
    assert figure is not None
    figure.draw_without_rendering()
    assert np.isfinite(figure.axes[0].get_ylim()).all()
    rows = worth_table(results)
    assert rows is not None
    assert rows.rows[0][4] == min(values)


def test_the_runs_that_confirm_are_no_part_of_the_budget(tmp_path: Path) -> None:
    _, without = known(tmp_path / "without")
    runs = [Simulated([0.99] * 4, confirms=2)] * 3
    found = worth(simulated_sweep(tmp_path / "with", [*CURVES, *runs], max_epochs=4))
    assert found is not None
    assert (found.epochs, found.trial, found.value) == (without.epochs, 2, 0.9)


def test_table_and_picture(tmp_path: Path) -> None:
    results, found = known(tmp_path / "sweep", loss=True)
    rows = worth_table(results)
    assert rows is not None
    table = [dict(zip(rows.columns, row, strict=True)) for row in rows.rows]
    assert [row["epochs"] for row in table] == [11, 8, 10]
    assert found.random is not None
    assert found.random.expected_M is not None
    assert table[1]["behind by"] == pytest.approx(found.random.expected_M[-1] - found.value)
    assert table[1]["val_loss"] == found.random.expected_M[-1]
    assert table[2]["behind by"] == pytest.approx(0.4 * (3 / 4 + 1 / 3) / 2 - 0.1)
    assert table[1]["stopped"] == "2 of 4"
    figure = search_against_simpler(results)
    assert figure is not None
    lines = {line.get_label(): line for line in figure.axes[0].lines}
    assert len(lines["random search, estimated"].get_ydata()) == 2  # type: ignore[arg-type]
    assert lines["this search"].get_ydata() == pytest.approx(found.best_R)


@pytest.mark.parametrize("num_trials", [0, 1])
def test_there_must_be_something_to_compare(num_trials: int, tmp_path: Path) -> None:
    results = simulated_sweep(tmp_path / "sweep", CURVES[:num_trials])
    assert worth(results) is None
    assert worth_table(results) is None
    assert search_against_simpler(results) is None


def test_the_axis_holds_the_last_half_of_random_search(tmp_path: Path) -> None:
    trials = [Simulated([value]) for value in (0.9, 0.1)]
    results = simulated_sweep(tmp_path / "sweep", trials, max_epochs=1)
    found, figure = worth(results), search_against_simpler(results)
    assert found is not None
    assert found.random is not None
    assert figure is not None
    assert found.random.num_trials == 2
    assert figure.axes[0].get_ylim()[0] < found.random.at_least_M[0]
