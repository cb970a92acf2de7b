"""How many trials share a GPU, and what becomes of one that runs out of its memory."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import isclose
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from optuna.trial import TrialState
from ray.tune.utils.object_cache import _ObjectCache

from tests.support.helpers import tiny_config, tiny_data
from tests.toprung.tune.test_searcher import Sweep
from toprung import events
from toprung.cluster.placement.packing import (
    MARGIN,
    Packing,
    cpus_of_trial,
    fitting,
    part_of_gpu,
    resources_of,
    useful,
)
from toprung.cluster.placement.resources import num_fitting, settle, without_gpus
from toprung.settings import SweepSettings, resolve
from toprung.trainables.config import TrialConfig
from toprung.trainables.results.columns import failure_report, to_report
from toprung.trainables.results.failures import GPU_MISSING, GPU_OUT_OF_MEMORY, failure_of
from toprung.trainables.system.device import GpuMissingError, device_for
from toprung.trainables.training.fit import fit
from toprung.trainables.training.memory_estimate import (
    DataSize,
    MemoryNeeded,
    dry_steps,
    estimated_bytes,
)
from toprung.tune.gpu_memory import find_packing, gpu_kinds, largest
from toprung.tune.patches import lean_tune

GIB = 2**30
SERVER = {"CPU": 16.0, "GPU": 4.0}
OUT_OF_MEMORY = failure_report(GPU_OUT_OF_MEMORY, "CUDA out of memory", "Traceback")
SIZE = DataSize(num_train=40, num_validation=12, num_classes=3)


@given(st.integers(1, 500))
def test_so_many_parts_fit_on_a_gpu_and_no_more(number: int) -> None:
    part = part_of_gpu(number)
    assert number * part <= 1 + 1e-9
    assert isclose(part * 10_000, round(part * 10_000))  # what Ray can count
    settings = SweepSettings(gpus_per_trial=part)
    assert num_fitting(settings, [{"CPU": 1000.0, "GPU": 1.0}]) >= number


@given(st.integers(1, 2**36), st.integers(0, 2**31), st.integers(2**32, 2**38))
def test_what_is_packed_fits_with_its_margin(trial: int, cuda: int, gpu: int) -> None:
    number = fitting(MemoryNeeded(trial, cuda, gpu))
    assert number == 1 or number * (trial * MARGIN + cuda) <= gpu * (1 + 1e-9)
    assert (number + 1) * (trial * MARGIN + cuda) > gpu * (1 - 1e-9)


def test_what_does_not_fit_alone_is_alone() -> None:
    assert fitting(MemoryNeeded(GIB, GIB, 16 * GIB, fits=False)) == 1


def test_no_more_than_cpus_drive_or_trials_there_are() -> None:
    assert useful(SweepSettings(trials=100), [SERVER]) == 4
    assert useful(SweepSettings(trials=100, cpus_per_trial=4), [SERVER]) == 1
    assert useful(SweepSettings(trials=6), [SERVER]) == 2
    assert useful(SweepSettings(trials=100, concurrency=8), [SERVER]) == 2
    assert useful(SweepSettings(trials=3), [SERVER, {"CPU": 64.0, "GPU": 0.0}]) == 1


@pytest.mark.parametrize(("per_gpu", "cpus"), [(1, 2), (2, 2), (4, 1), (9, 1)])
def test_the_cpus_are_shared_out(per_gpu: int, cpus: int) -> None:
    machines = [SERVER, {"CPU": 2.0, "GPU": 0.0}]
    assert cpus_of_trial(SweepSettings(), machines, per_gpu) == cpus
    assert cpus_of_trial(SweepSettings(cpus_per_trial=3), machines, per_gpu) == 3


def test_where_the_gpus_were_lost_meanwhile_nothing_is_packed() -> None:
    without = [{"CPU": 16.0, "GPU": 0.0}]
    assert (useful(SweepSettings(), without), cpus_of_trial(SweepSettings(), without, 1)) == (1, 2)


def test_kinds_of_gpus_are_those_of_the_nodes_that_are_alive() -> None:
    def node(alive: bool, **resources: float) -> dict[str, Any]:
        return {"Alive": alive, "Resources": {"CPU": 4.0, "node:10.0.0.1": 1.0, **resources}}

    small, large = {"accelerator_type:A10G": 1.0}, {"accelerator_type:H200": 1.0}
    of_cpu = {"accelerator_type:TPU-V4": 1.0}
    nodes = [node(True, GPU=2.0, **small), node(True, GPU=1.0, **small), node(True, **of_cpu)]
    assert gpu_kinds([*nodes, node(False, GPU=1.0, **large)]) == {"A10G"}
    assert gpu_kinds([*nodes, node(True, GPU=1.0)]) == {"A10G", None}
    assert gpu_kinds([]) == set()


def test_auto_stays_open_where_there_is_a_gpu_and_means_cpus_where_there_is_none() -> None:
    asked = resolve({}, {"gpus_per_trial": "auto", "trials": 8})
    on_server, on_laptop = settle(asked, [SERVER]), settle(asked, [{"CPU": 2.0, "GPU": 0.0}])
    assert (on_server.gpus_per_trial, on_server.concurrency) == ("auto", None)
    assert without_gpus(asked, on_server) == ""
    assert (on_laptop.gpus_per_trial, on_laptop.concurrency) == (0, 2)
    assert "there is no GPU, so trials run on CPUs" in without_gpus(asked, on_laptop)


def test_tune_asks_for_what_the_trial_was_suggested_with() -> None:
    packing = Packing.auto(SweepSettings(), 3, 2)
    factory = resources_of({"resources": packing.each_trial})
    assert factory.required_resources == {"CPU": 2, "GPU": 0.3333}


STAGED: dict[str, Any] = {
    "trials": 2,
    "stages": [
        {"name": "optimizer", "searches": ["optimizer/lr"]},
        {"name": "network", "searches": ["model/num_blocks"]},
    ],
    "start": {"model/num_blocks": 1},
}


class PackedSweep(Sweep):
    """A sweep with four trials on a GPU, of which nothing is trained."""

    def __init__(self, packing: Packing | None = None, **defaults: Any) -> None:
        defaults = {"confirm": 0, "trials": 4, "gpus_per_trial": "auto"} | defaults
        self.packed = packing or Packing.auto(resolve(defaults, {}), 4, 1)
        super().__init__(packing=self.packed, **defaults)
        for _ in range(4):
            self.study.enqueue_trial({"model/num_blocks": 1})  # a network that can exist

    def begin(self, name: str) -> dict[str, Any]:
        suggestion = self.searcher.suggest(name)
        assert isinstance(suggestion, dict)
        return suggestion

    def fail(self, name: str) -> None:
        """As Tune does it: the report of the failure, and then the end."""
        self.searcher.on_trial_result(name, OUT_OF_MEMORY)
        self.searcher.on_trial_complete(name, OUT_OF_MEMORY | {"done": True})


@pytest.fixture(scope="module")
def reports() -> list[dict[str, Any]]:
    return [to_report(v, "val_accuracy") for v in fit(tiny_config(), tiny_data())]


class TestRunningOutOfMemory:
    def test_the_trial_goes_on_with_more_and_so_do_those_that_follow(
        self, reports: list[dict[str, Any]]
    ) -> None:
        sweep = PackedSweep()
        first, second = sweep.begin("a"), sweep.begin("b")
        assert first["resources"] == second["resources"] == {"CPU": 1, "GPU": 0.25}
        sweep.searcher.on_trial_result("a", reports[0])
        sweep.fail("a")
        again = sweep.begin("c")
        assert again == first | {"resources": {"CPU": 1, "GPU": 0.5}}
        sweep.searcher.on_trial_result("c", reports[0])  # repeats what its checkpoint holds
        for report in reports[1:]:
            sweep.searcher.on_trial_result("c", report)
        sweep.searcher.on_trial_complete("c", reports[-1])
        assert sweep.study.trials[0].state == TrialState.COMPLETE
        assert list(sweep.study.trials[0].intermediate_values) == [1, 2, 3]
        assert "failure_kind" not in sweep.study.trials[0].user_attrs
        assert sweep.begin("d")["resources"]["GPU"] == 0.5
        assert {"event": "packing", "trials_per_gpu": 2, "trial": 0} in sweep.events
        assert (
            "2 instead of 4 trials per GPU for those that are suggested from now" in sweep.told[0]
        )

    def test_neighbours_that_fail_with_it_lower_nothing_further(self) -> None:
        sweep = PackedSweep()
        for name in "abc":
            sweep.begin(name)
        for name in "abc":
            sweep.fail(name)
        assert [sweep.begin(name)["number"] for name in "def"] == [0, 1, 2]
        assert sweep.packed.trials_per_gpu == 2
        packings = [event for event in sweep.events if event["event"] == "packing"]
        assert [(event["trial"], event["trials_per_gpu"]) for event in packings] == [
            (0, 2),
            (1, 2),
            (2, 2),
        ]

    def test_with_a_gpu_of_its_own_it_has_failed_and_the_sampler_knows(self) -> None:
        sweep = PackedSweep()
        for name in "abc":
            sweep.begin(name)
            sweep.fail(name)
        trial = sweep.study.trials[0]
        assert sweep.packed.each_trial["GPU"] == 1
        assert trial.state == TrialState.PRUNED
        assert trial.constraints == {"fits in memory": 1.0}
        assert trial.user_attrs["failure_kind"] == GPU_OUT_OF_MEMORY

    def test_the_last_trials_of_a_search_may_begin_again_too(self) -> None:
        sweep = PackedSweep(trials=1)
        sweep.begin("a")
        assert sweep.searcher.suggest("b") is None  # Tune would not ask again after the end
        sweep.fail("a")
        assert sweep.begin("c")["number"] == 0

    def test_a_part_that_the_user_gave_stays(self) -> None:
        settings = resolve({"gpus_per_trial": 0.3}, {})
        sweep = PackedSweep(Packing(settings))
        sweep.begin("a")
        sweep.fail("a")
        assert sweep.study.trials[0].user_attrs["failure_kind"] == GPU_OUT_OF_MEMORY
        assert sweep.begin("b")["resources"]["GPU"] == 0.3

    def test_a_run_that_confirms_goes_on_too(self, reports: list[dict[str, Any]]) -> None:
        sweep = PackedSweep(trials=1, confirm=1, seeds=2)
        sweep.begin("a")
        sweep.searcher.on_trial_complete("a", reports[-1])
        run = sweep.begin("b")
        assert run["confirms"] == 0
        sweep.fail("b")
        again = sweep.begin("c")
        assert again == run | {"resources": {"CPU": 1, "GPU": 0.5}}
        sweep.searcher.on_trial_complete("c", reports[-1])
        assert sweep.begin("d")["number"] != run["number"]
        sweep.searcher.on_trial_complete("d", reports[-1])
        assert sweep.searcher.suggest("e") == "FINISHED"
        sweep.searcher.close("finished")
        assert sweep.kept["confirmation"]["done"]

    def test_the_next_stage_waits_for_it(self, reports: list[dict[str, Any]]) -> None:
        sweep = PackedSweep(**STAGED)
        sweep.begin("a")
        sweep.fail("a")
        assert sweep.begin("b")["number"] == 0
        assert sweep.searcher.suggest("c") is None
        sweep.searcher.on_trial_complete("b", reports[-1])
        assert sweep.begin("c")["number"] == 1
        sweep.fail("c")
        assert sweep.begin("d")["resources"]["GPU"] == 1

    def test_it_goes_on_in_a_resumed_sweep(self, reports: list[dict[str, Any]]) -> None:
        sweep = PackedSweep()
        first = sweep.begin("a")
        sweep.searcher.on_trial_result("a", reports[0])
        sweep.fail("a")
        sweep.searcher.close("interrupted")
        sweep.searcher = sweep.driver()
        assert sweep.begin("b") == first | {"resources": {"CPU": 1, "GPU": 0.5}}
        sweep.searcher.on_trial_complete("b", reports[-1])
        assert sweep.study.trials[0].state == TrialState.COMPLETE
        assert sweep.begin("c")["number"] == 1

    def test_when_the_search_is_cut_off_it_has_ended(self, reports: list[dict[str, Any]]) -> None:
        sweep = PackedSweep(trials=9, confirm=1, seeds=2)
        for name in "abc":
            sweep.begin(name)
        sweep.searcher.on_trial_result("a", reports[0])
        sweep.fail("a")
        assert sweep.searcher.cut_off()
        sweep.fail("b")
        sweep.searcher.on_trial_complete("c", reports[0])
        assert sweep.begin("d")["confirms"] in (0, 2)
        assert {trial.user_attrs["ended"] for trial in sweep.study.trials[:3]} == {"time budget"}
        assert "failure_kind" not in sweep.study.trials[1].user_attrs

    def test_none_is_left_running_when_the_time_is_used_up(self) -> None:
        sweep = PackedSweep()
        sweep.begin("a")
        sweep.fail("a")
        sweep.searcher.close("time budget")
        assert sweep.study.trials[0].user_attrs["ended"] == "time budget"
        assert sweep.study.trials[0].state == TrialState.FAIL


def test_idle_processes_that_hold_other_parts_of_a_gpu_make_room() -> None:
    cache: _ObjectCache = _ObjectCache()
    with lean_tune():
        cache.cache_object("a quarter", "idle")
        assert list(cache.flush_cached_objects()) == []
        cache.increase_max("a half")
        assert list(cache.flush_cached_objects()) == ["idle"]


class TestMemoryNeeded:
    def test_larger_shapes_are_reckoned_larger(self) -> None:
        sizes = [
            estimated_bytes(tiny_config(**settings), 3)
            for settings in (
                {},
                {"training__batch_size": 64},
                {"training__batch_size": 64, "model__filters": 32},
                {"training__batch_size": 64, "model__filters": 32, "data__image_size": 24},
            )
        ]
        assert sizes == sorted(set(sizes))

    def test_what_is_kept_for_the_backward_pass_is_counted(self) -> None:
        config = tiny_config(training__batch_size=512, model__filters=32, data__image_size=32)
        batch_bytes = 4 * 512 * 32 * 32 * 32
        assert batch_bytes < estimated_bytes(config, 3) < 10 * batch_bytes

    @pytest.mark.parametrize("batch_size", [8, 512])
    def test_a_dry_step_trains_and_leaves_nothing_behind(self, batch_size: int) -> None:
        before = torch.get_rng_state()
        config = tiny_config(training__batch_size=batch_size, training__log_steps=True)
        dry_steps(config, SIZE, torch.device("cpu"))
        assert torch.equal(before, torch.get_rng_state())

    def test_an_svm_has_only_its_features_computed(self) -> None:
        config = tiny_config(
            data={"source": "tiny", "image_size": 32, "channels": 3},
            model={"architecture": "svm", "backbone": "squeezenet1_1", "weights": "none"},
            optimizer={},
            training={},
        )
        assert estimated_bytes(config, 3) > 4 * 700_000
        dry_steps(config, replace(SIZE, num_train=2, num_validation=2), torch.device("cpu"))


def test_a_gpu_that_torch_does_not_see_is_an_error_and_never_a_cpu() -> None:
    assert device_for({"CPU": 1.0}) == torch.device("cpu")
    assert device_for({"CPU": 1.0, "GPU": 0.5}, lambda: True) == torch.device("cuda")
    with pytest.raises(GpuMissingError, match="Ray gave this trial a GPU, but torch on") as error:
        device_for({"CPU": 1.0, "GPU": 0.5}, lambda: False)
    assert failure_of(error.value)[0] == GPU_MISSING


MISFITS = (
    tiny_config(training__batch_size=512, model__freeze_policy="train_pattern:nowhere"),
    tiny_config(training__batch_size=512, model__num_blocks=4),
)
"""Configs that the search refuses: they are drawn, and never trained."""


class TestFindingOut:
    """What a sweep says of its packing; the measurement itself needs a GPU."""

    CONFIGS = (
        tiny_config(),
        tiny_config(training__batch_size=64),
        tiny_config(training__batch_size=64, optimizer__lr=0.01),
        tiny_config(training__batch_size=16),
        tiny_config(training__batch_size=32),
        *MISFITS,
    )

    def found(
        self, *needed: MemoryNeeded, past: Sequence[Mapping[str, Any]] = (), **settings: Any
    ) -> tuple[Packing, list[str]]:
        given = {"gpus_per_trial": "auto", "trials": 100} | settings
        plan: Any = SimpleNamespace(
            settings=settle(resolve({}, given), [SERVER]),
            data=SimpleNamespace(
                first=SimpleNamespace(num_train=40, num_validation=12, class_names="abc")
            ),
            proposals=SimpleNamespace(rehearsal=SimpleNamespace(configs=self.CONFIGS)),
        )

        def measure(
            configs: Sequence[TrialConfig], size: DataSize
        ) -> Sequence[tuple[int, MemoryNeeded]]:
            assert [config.training.batch_size for config in configs] == [64, 32, 16]
            assert size == SIZE
            if not needed:
                raise RuntimeError("Traceback\nRuntimeError: no driver")
            return [(0, one) for one in needed]

        told: list[str] = []
        return find_packing(plan, [SERVER], past, told.append, measure), told

    def test_the_gpu_with_the_least_room_decides(self) -> None:
        small = MemoryNeeded(3 * GIB, GIB // 2, 8 * GIB)
        packing, told = self.found(replace(small, gpu=16 * GIB), small)
        assert (packing.each_trial, packing.trials_per_gpu) == ({"CPU": 2, "GPU": 0.5}, 2)
        packing, told = self.found(replace(small, gpu=17 * GIB))
        assert (packing.each_trial, packing.trials_per_gpu) == ({"CPU": 1, "GPU": 0.25}, 4)
        assert told == [
            "GPU memory: the largest of 7 drawn configs (cnn, 6x6, batch 64) needs 3.0 GiB + "
            "0.5 GiB for CUDA itself; 4 trials per GPU of 17.0 GiB (gpus_per_trial = 0.25), "
            "1 CPU each"
        ]

    def test_it_says_so_if_something_else_allows_fewer(self) -> None:
        needed = MemoryNeeded(GIB, GIB // 2, 80 * GIB)
        packing, told = self.found(needed)
        assert packing.trials_per_gpu == 4
        assert told[1] == "  (its memory would hold 48; the CPUs or the trials are fewer)"
        before = [events.packing(4), events.packing(2, trial=7)]
        packing, told = self.found(needed, past=before)
        assert packing.trials_per_gpu == 2
        assert told[1] == "  (not 4: trials ran out of its memory before)"

    def test_a_config_that_does_not_fit(self) -> None:
        packing, told = self.found(MemoryNeeded(16 * GIB, GIB, 16 * GIB, fits=False))
        assert packing.each_trial["GPU"] == 1
        assert "does not fit on a GPU of 16.0 GiB by itself; 1 trial per GPU" in told[0]

    def test_where_it_cannot_be_measured_each_trial_has_a_gpu(self) -> None:
        packing, told = self.found()
        assert packing.each_trial == {"CPU": 2, "GPU": 1}
        assert told == [
            "GPU memory could not be measured, so each trial has a GPU of its own: "
            "RuntimeError: no driver"
        ]

    def test_what_never_trains_needs_nothing(self) -> None:
        assert largest([*MISFITS, self.CONFIGS[0]], 3) == [self.CONFIGS[0]]
        with pytest.raises(ValueError, match="of no drawn config could the need be reckoned"):
            largest(MISFITS, 3)

    def test_what_the_user_gave_is_not_measured(self) -> None:
        packing, told = self.found(gpus_per_trial=0.5, cpus_per_trial=3)
        assert (packing.each_trial, packing.trials_per_gpu) == ({"CPU": 3, "GPU": 0.5}, None)
        assert told == []
