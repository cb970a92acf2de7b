"""Failures: how an error is sorted, where in the space they happen, what the user is told."""

import errno
import io
import operator
import subprocess
import sys
from collections.abc import Callable, Iterator
from itertools import combinations, product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from PIL import Image, UnidentifiedImageError
from safetensors import SafetensorError
from sklearn.metrics import matthews_corrcoef

from tests.support.simulated_sweep import Simulated, simulated_sweep
from toprung.analysis.findings.failure_region import Region, _boundary, find_region
from toprung.analysis.findings.failures import (
    ADVICE,
    IMPOSSIBLE,
    UNSORTED,
    FailureGroup,
    failure_groups,
)
from toprung.analysis.findings.importance import Parameter
from toprung.analysis.findings.results import Results
from toprung.analysis.report import how_it_ran
from toprung.analysis.report.sections import SECTIONS
from toprung.analysis.sweep import Sweep
from toprung.analysis.sweep_folder import attributes
from toprung.cli import text_sweep
from toprung.trainables.data import DataError, DataSettings, decode_image
from toprung.trainables.data.store import Store
from toprung.trainables.networks.base import ImpossibleNetworkError
from toprung.trainables.results import failures
from toprung.trainables.results.failures import MAX_REASON, failure_of
from toprung.trainables.results.records import DivergedError
from toprung.trainables.system.typed_settings import ConfigError

FULL = Path("/dev/full")
SCRIPT = "<script>alert(1)</script>"
TRACEBACK = f'Traceback:\n  File "{SCRIPT}", line 7, in f\nValueError: {SCRIPT}'


def raised_by(action: Callable[[], Any]) -> BaseException:
    try:
        action()
    except BaseException as error:
        return error
    raise AssertionError("nothing was raised")


def chained(error: BaseException, *, cause: BaseException | None = None) -> BaseException:
    """The error as it is when it was raised from another."""

    def wrap() -> None:
        raise error from cause

    return raised_by(wrap)


def while_handling(hidden: BaseException, error: BaseException) -> BaseException:
    def wrap() -> None:
        try:
            raise hidden
        except BaseException:
            raise error  # noqa: B904

    return raised_by(wrap)


class TestKinds:
    """With the errors that the libraries really raise, wherever this machine can raise them."""

    @pytest.mark.parametrize(
        "action",
        [lambda: torch.empty(2**50), lambda: np.zeros(2**50), lambda: bytearray(2**62)],
        ids=["torch", "numpy", "Python"],
    )
    def test_out_of_memory(self, action: Callable[[], Any]) -> None:
        assert failure_of(raised_by(action))[0] == failures.OUT_OF_MEMORY

    @pytest.mark.parametrize(
        "error",
        [
            torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB."),
            RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(h)`"),
            RuntimeError("MPS backend out of memory (MPS allocated: 8.82 GB)"),
            RuntimeError("CUDA error: out of memory\nCUDA kernel errors might be reported late"),
        ],
    )
    def test_out_of_gpu_memory(self, error: RuntimeError) -> None:
        assert failure_of(error)[0] == failures.GPU_OUT_OF_MEMORY

    def test_another_gpu_error_is_none_of_memory(self) -> None:
        error = RuntimeError("CUDA error: an illegal memory access was encountered")
        assert failure_of(error)[0] == failures.CODE_ERROR

    def test_diverged(self) -> None:
        reason = "the loss became NaN or infinite by epoch 1 (train nan, validation 0.7)"
        assert failure_of(DivergedError(reason)) == (failures.DIVERGED, reason)

    @pytest.mark.skipif(
        not FULL.is_char_device(), reason="this system has no device that is always full"
    )
    @pytest.mark.parametrize(
        "write",
        [
            lambda: torch.save(torch.zeros(99_999), FULL),
            lambda: torch.save(torch.zeros(99_999), FULL.open("wb")),
            lambda: np.save(FULL.open("wb"), np.zeros(99_999)),
            lambda: FULL.write_text("x"),
        ],
        ids=["torch by path", "torch to a file", "numpy", "Python"],
    )
    @pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
    @pytest.mark.filterwarnings("ignore::ResourceWarning")
    def test_disk_full(self, write: Callable[[], Any]) -> None:
        assert failure_of(raised_by(write))[0] == failures.DISK_FULL

    @pytest.mark.parametrize(
        "error",
        [
            OSError(errno.EDQUOT, "Disk quota exceeded"),
            OSError("500000 requested and 38384 written"),  # numpy's, on a disk that becomes full
            SafetensorError("Error while serializing: I/O error: No space left on device (os …"),
        ],
    )
    def test_disk_full_in_other_words(self, error: Exception) -> None:
        assert failure_of(error)[0] == failures.DISK_FULL

    def test_bad_data(self, tmp_path: Path) -> None:
        path = tmp_path / "image.png"
        content = io.BytesIO()
        noise = np.random.default_rng(0).integers(0, 256, (64, 64)).astype(np.uint8)
        Image.fromarray(noise).save(content, "png")
        path.write_bytes(content.getvalue()[:900])
        errors = [
            raised_by(lambda: decode_image(path, DataSettings(source="x"))),
            raised_by(lambda: Image.open(io.BytesIO(b"no image"))),
            raised_by(lambda: Image.open(io.BytesIO(path.read_bytes())).load()),
            raised_by(lambda: Store(tmp_path).array("images")),
        ]
        assert {failure_of(error)[0] for error in errors} == {failures.BAD_DATA}
        kinds = [type(error) for error in errors]
        assert kinds == [DataError, UnidentifiedImageError, OSError, DataError]

    @pytest.mark.parametrize(
        "error",
        [
            raised_by(lambda: 1 / 0),
            raised_by(lambda: Path("/no/such/checkpoint").read_bytes()),
            ConfigError("optimizer/lr = 0: must be above zero"),
            ImpossibleNetworkError("the 1x1 picture shrinks to nothing"),
            ConfigError("the words CUDA out of memory in a name"),
            KeyboardInterrupt(),
        ],
    )
    def test_everything_else_is_a_code_error(self, error: BaseException) -> None:
        assert failure_of(error)[0] == failures.CODE_ERROR

    def test_every_kind_says_what_to_do(self) -> None:
        assert set(ADVICE) == {*failures.KINDS, IMPOSSIBLE, UNSORTED}

    def test_the_words_are_known_without_torch(self) -> None:
        code = (
            "import sys, toprung.trainables.results.failures; "
            "assert not {'torch', 'PIL'} & set(sys.modules)"
        )
        subprocess.run([sys.executable, "-c", code], check=True)


class TestWhatHides:
    """Behind an error there may be another one that tells more."""

    def test_a_cause(self) -> None:
        error = chained(ValueError("layer 3"), cause=torch.OutOfMemoryError("CUDA out of memory"))
        told = failures.GPU_OUT_OF_MEMORY, "OutOfMemoryError: CUDA out of memory"
        assert failure_of(error) == told

    def test_what_was_being_handled(self) -> None:
        hidden = OSError(errno.ENOSPC, "No space left on device")
        error = while_handling(hidden, RuntimeError("could not clean up"))
        assert failure_of(error)[0] == failures.DISK_FULL

    def test_a_full_disk_behind_an_error_about_data(self) -> None:
        error = chained(DataError("cannot be prepared"), cause=OSError(errno.ENOSPC, "full"))
        assert failure_of(error)[0] == failures.DISK_FULL

    def test_what_was_said_not_to_matter(self) -> None:
        error = while_handling(MemoryError(), chained(ValueError("x"), cause=None))
        assert error.__suppress_context__
        assert failure_of(error) == (failures.CODE_ERROR, "ValueError: x")

    def test_a_circle(self) -> None:
        one, two = ValueError("one"), DivergedError("two")
        one.__cause__, two.__cause__ = two, one
        assert failure_of(one) == (failures.DIVERGED, "two")


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (ValueError("one\n  two\tthree"), "ValueError: one two three"),
        (MemoryError(), "MemoryError"),
        (ValueError("x" * 9999), f"ValueError: {'x' * (MAX_REASON - 13)}…"),
    ],
)
def test_a_reason_is_one_line(error: Exception, reason: str) -> None:
    assert failure_of(error)[1] == reason


def a_space(rng: np.random.Generator, num: int, num_parameters: int = 2) -> list[Parameter]:
    """Continuous, whole-numbered, categorical and conditional parameters of some trials."""
    optimizers = ["adamw", "sgd", None, True]
    choice = {t: optimizers[rng.integers(4)] for t in range(num)}
    momentum = {t: float(rng.uniform(0, 1)) for t, name in choice.items() if name == "sgd"}
    return [
        *(
            Parameter(f"p/{n}", {t: float(10 ** rng.uniform(-4, 0)) for t in range(num)}, (), True)
            for n in range(num_parameters)
        ),
        Parameter("batch", {t: int(2 ** rng.integers(4, 8)) for t in range(num)}, (16, 32), False),
        Parameter("name", choice, tuple(optimizers), False),
        Parameter("momentum", momentum, (), False),
    ]


def conditions(parameters: list[Parameter], num: int) -> Iterator[np.ndarray[Any, Any]]:
    """Every condition on one parameter, as the trials that it holds for, by brute force."""
    for parameter in parameters:
        checks = [_equals] if parameter.name == "name" else [operator.ge, operator.le]
        for value, check in product(parameter.values.values(), checks):
            had = parameter.values
            inside_T = np.array([t in had and check(had[t], value) for t in range(num)])
            if 0 < inside_T.sum() < num:
                yield inside_T


def _equals(one: Any, other: Any) -> bool:
    return repr(one) == repr(other)


def holds(region: Region, parameters: list[Parameter], num: int) -> list[bool]:
    """For which trials the words of a region hold."""
    name, sign, told = region.condition.split(" ", 2)
    (values,) = [parameter.values for parameter in parameters if parameter.name == name]
    checks: dict[str, Callable[[Any], bool]] = {
        "=": lambda value: str(value) == told,
        ">=": lambda value: bool(value >= float(told)),
        "<=": lambda value: bool(value <= float(told)),
    }
    return [t in values and checks[sign](values[t]) for t in range(num)]


class TestRegion:
    def test_is_the_best_of_all_conditions_and_counts_what_its_words_say(self) -> None:
        num_told = 0
        for seed in range(20):
            rng = np.random.default_rng(seed)
            parameters = a_space(rng, 24)
            inside_CT = np.array(list(conditions(parameters, 24)))
            hidden_T = inside_CT[seed * 3]
            failed_T = np.where(rng.random(24) < 0.1, ~hidden_T, hidden_T)
            region = find_region(parameters, np.flatnonzero(failed_T).tolist(), range(24))
            if region is None:
                continue
            num_told += 1
            inside_T = np.array(holds(region, parameters, 24))
            best = np.corrcoef(inside_CT, failed_T)[-1, :-1].max()
            assert matthews_corrcoef(failed_T, inside_T) == pytest.approx(best)
            assert (region.num_inside, region.num_outside) == (inside_T.sum(), (~inside_T).sum())
            assert region.num_failed == failed_T[inside_T].sum()
            assert region.num_failed_outside == failed_T[~inside_T].sum()
        assert num_told > 10

    def test_is_told_where_chance_seldom_finds_one_as_good(self) -> None:
        """Against every way in which 5 of 12 trials can fail, counted out."""
        parameters = a_space(np.random.default_rng(0), 12)
        inside_CT = np.array(list(conditions(parameters, 12)))
        deals_DT = np.zeros((792, 12))
        for deal, trials in zip(deals_DT, combinations(range(12), 5), strict=True):
            deal[list(trials)] = 1
        correlation_CD = np.corrcoef(inside_CT, deals_DT)[: len(inside_CT), len(inside_CT) :]
        best_D = correlation_CD.max(axis=0).round(9)
        told = []
        for best in np.unique(best_D):
            chance = float((best_D >= best).mean())
            failed = np.flatnonzero(deals_DT[np.flatnonzero(best_D == best)[0]])
            region = find_region(parameters, failed.tolist(), range(12))
            assert abs(chance - 0.05) > 0.015
            assert (region is not None) == (chance < 0.05)
            told.append(region is not None)
        assert sum(told) == 2 < len(told)

    def test_a_single_failure_and_nothing_but_failures_tell_nothing(self) -> None:
        parameters = a_space(np.random.default_rng(0), 30)
        assert find_region(parameters, [3], range(30)) is None
        assert find_region(parameters, range(30), range(30)) is None
        assert find_region([], [3, 4], range(30)) is None

    @pytest.mark.parametrize(
        ("counts", "told"),
        [
            ((5, 6, 0, 18), "5 of the 6 trials with x, none of the other 18"),
            ((6, 6, 1, 18), "all 6 trials with x, 1 of the other 18"),
        ],
    )
    def test_in_words(self, counts: tuple[int, int, int, int], told: str) -> None:
        assert str(Region("x", *counts)) == told

    @pytest.mark.parametrize(
        ("inside", "outside", "log", "told"),
        [
            (0.0612345, 0.0287654, True, "0.04"),
            (0.0612345, 0.0287654, False, "0.04"),
            (0.5, 0.4999999, False, "0.5"),
            (0.49999991, 0.4999999, False, "0.499999905"),
            (0.1 + 0.2, 0.3, False, "0.30000000000000004"),
            (256, 128, True, "256"),
            (-0.0234567, 0.0234567, True, "0"),
            (1.234567e308, 1.7e308, False, "1.5e+308"),
        ],
    )
    def test_its_boundary_is_short_and_exact(
        self, inside: float, outside: float, log: bool, told: str
    ) -> None:
        assert _boundary(inside, outside, log=log) == told
        assert abs(float(told) - inside) < abs(outside - inside)


LR = FloatDistribution(1e-4, 1, log=True)
BATCH = CategoricalDistribution([16, 32, 64, 128])
BLOCKS = IntDistribution(1, 4)


def a_trial(number: int) -> Simulated:
    """High rates diverge, large batches need too much memory, deep networks cannot be."""
    parameters = {
        "training/batch_size": 2 ** (4 + number % 4),
        "optimizer/lr": 10 ** (-4 + number * 0.12),
        "model/num_blocks": 4 if number % 8 == 7 else 1 + number % 5 // 4,
    }
    trial = Simulated([0.5, 0.6], parameters=parameters)
    trial.distributions = dict(zip(parameters, (BATCH, LR, BLOCKS), strict=True))
    if parameters["model/num_blocks"] == 4:
        trial.ended, trial.reason = attributes.INFEASIBLE, "it shrinks to nothing"
    elif number >= 27:
        trial.ended, trial.reason = attributes.FAILED, "the loss became NaN"
        trial.failure = failures.DIVERGED
    elif parameters["training/batch_size"] == 128:
        trial.ended, trial.reason = attributes.FAILED, f"CUDA out of\nmemory \x1b[1m{SCRIPT}"
        trial.failure, trial.traceback = failures.GPU_OUT_OF_MEMORY, TRACEBACK
    if trial.ended != attributes.FINISHED:
        trial.curve = ()
    return trial


def a_sweep(path: Path) -> Results:
    """32 trials, of which the first still runs, and a run that confirms one."""
    trials = [a_trial(number) for number in range(32)]
    trials[0].ended = attributes.RUNNING
    again = Simulated((), attributes.FAILED, reason="NaN", failure=failures.DIVERGED, confirms=1)
    return simulated_sweep(path, [*trials, again])


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Results:
    """A sweep that is not to be written to."""
    return a_sweep(tmp_path_factory.mktemp("sweeps") / "sweep")


@pytest.fixture(scope="module")
def groups(results: Results) -> list[FailureGroup]:
    return failure_groups(results.sweep.study)


class TestGroups:
    def test_the_largest_first_with_the_runs_that_confirm(self, groups: list[FailureGroup]) -> None:
        assert [(group.kind, group.numbers) for group in groups] == [
            (failures.DIVERGED, (27, 28, 29, 30, 32)),
            (IMPOSSIBLE, (7, 15, 23, 31)),
            (failures.GPU_OUT_OF_MEMORY, (3, 11, 19)),
        ]

    def test_where_each_happens(self, groups: list[FailureGroup]) -> None:
        assert [str(group.region) for group in groups] == [
            # Of 32 trials in the search four never began, and one still runs.
            "all 4 trials with optimizer/lr >= 0.15, none of the other 23",
            "all 4 trials with model/num_blocks >= 4, none of the other 28",
            "3 of the 4 trials with training/batch_size >= 128, none of the other 23",
        ]

    def test_what_to_do(self, groups: list[FailureGroup]) -> None:
        assert "optimizer/lr" in groups[0].advice
        assert "--gpus-per-trial" in groups[2].advice

    def test_the_first_reason_and_traceback(self, groups: list[FailureGroup]) -> None:
        assert groups[0].reason == "the loss became NaN"
        assert [group.traceback for group in groups] == ["", "", TRACEBACK]

    def test_an_older_sweep_tells_reasons_only(self, tmp_path: Path) -> None:
        trials = [Simulated((), attributes.FAILED, reason="broke"), Simulated([0.5])]
        study = simulated_sweep(tmp_path / "sweep", trials).sweep.study
        (group,) = failure_groups(study)
        assert group == FailureGroup(UNSORTED, (0,), None, "broke", "")

    def test_nothing_went_wrong(self, tmp_path: Path) -> None:
        results = simulated_sweep(tmp_path / "sweep", [Simulated([0.5])])
        assert failure_groups(results.sweep.study) == []
        assert how_it_ran.failures(results) is None
        assert how_it_ran.failed_trials(results) is None


class TestTheCommands:
    def test_status_has_a_few_lines_for_each_kind(self, results: Results) -> None:
        told = text_sweep.status(Sweep(results.sweep.folder.path)).splitlines()
        memory = told[told.index("  3 trials failed: GPU out of memory (trials 3, 11, 19)") :]
        where = "3 of the 4 trials with training/batch_size >= 128, none of the other 23"
        assert memory == [
            memory[0],
            f"    where: {where}",
            f"    first reason: CUDA out of memory \\x1b[1m{SCRIPT}",
            f"    what to do: {ADVICE[failures.GPU_OUT_OF_MEMORY]}",
        ]

    def test_names_and_values_are_shown_as_text(self, tmp_path: Path) -> None:
        name, choices = "labels/<b>\x1b]0;", [f"{SCRIPT}\n  trial 0", "plain"]
        distributions = {name: CategoricalDistribution(choices)}
        trials = [
            Simulated((), attributes.FAILED, {name: choice}, distributions, failure="bad data")
            if choice != "plain"
            else Simulated([0.5], parameters={name: choice}, distributions=distributions)
            for choice in choices * 6
        ]
        results = simulated_sweep(tmp_path / "sweep", trials)
        where = f"labels/<b>\\x1b]0; = {SCRIPT} trial 0, none of the other 6"
        told = text_sweep.status(Sweep(results.sweep.folder.path))
        assert f"    where: all 6 trials with {where}\n" in told

    def test_the_end_of_a_run_has_one(self, results: Results) -> None:
        sweep = Sweep(results.sweep.folder.path)
        memory = (
            "  3 trials failed: GPU out of memory; 3 of the 4 trials with training/batch_size "
            ">= 128, none of the other 23"
        )
        for told in (text_sweep.partial(sweep), text_sweep.outcome(sweep, sweep.best(), None, "")):
            lines = told.splitlines()
            assert memory in lines
            assert sum("failed: " in line for line in lines) == 2
            assert sum("4 configs refused: impossible network" in line for line in lines) == 1

    def test_a_sweep_that_fails_all_over_stays_short(self, tmp_path: Path) -> None:
        trials = [Simulated((), attributes.FAILED, reason="x" * 999, failure="code error")] * 40
        results = simulated_sweep(tmp_path / "sweep", trials)
        told = text_sweep.status(Sweep(results.sweep.folder.path)).splitlines()
        (first,) = [line for line in told if "40 trials failed" in line]
        assert first.endswith("(trials 0, 1, 2, 3, 4, 5, 6, 7, 8, 9 and 30 more)")
        assert max(map(len, told)) < 250


class TestTheReport:
    def test_its_two_tables(self, results: Results, groups: list[FailureGroup]) -> None:
        kinds, trials = how_it_ran.failures(results), how_it_ran.failed_trials(results)
        assert kinds is not None
        assert trials is not None
        assert [row[:3] for row in kinds.rows] == [
            (group.kind, len(group.numbers), str(group.region)) for group in groups
        ]
        assert [row[0] for row in trials.rows] == sorted(n for g in groups for n in g.numbers)
        assert {row[3] for row in trials.rows} == {None, f'File "{SCRIPT}", line 7, in f'}

    def test_the_page_shows_the_first_traceback_as_text(
        self, tmp_path: Path, results: Results, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        two = tuple(section for section in SECTIONS if section.anchor in ("answer", "how"))
        monkeypatch.setattr("toprung.analysis.report.page.SECTIONS", two)
        written = Sweep(results.sweep.folder.path).report(tmp_path)
        page = written.path.read_text("utf-8")
        assert written.problems == ()
        assert page.count("<summary>First traceback: ") == 1
        assert "<summary>First traceback: GPU out of memory</summary>" in page
        assert "ValueError: &lt;script&gt;alert(1)&lt;/script&gt;</pre>" in page
        assert SCRIPT not in page
