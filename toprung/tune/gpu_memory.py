"""How many trials fit on a GPU: measured in a process of its own on each kind of GPU there is."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from toprung import events
from toprung.cluster.placement import packing
from toprung.cluster.placement.packing import Packing
from toprung.planning.plan import SweepPlan
from toprung.trainables.config import TrialConfig
from toprung.trainables.networks.base import ImpossibleNetworkError
from toprung.trainables.networks.freezing import FreezeError

if TYPE_CHECKING:
    from toprung.trainables.training.memory_estimate import DataSize, MemoryNeeded

NUM_MEASURED = 3
"""How many of the drawn configs are measured, of those that are reckoned to need most."""
SECONDS_UNTIL_TOLD = 20.0
MAX_SECONDS = 600.0
_KIND = "accelerator_type:"
_GIB = 2**30

Measure = Callable[[Sequence[TrialConfig], "DataSize"], "Sequence[tuple[int, MemoryNeeded]]"]


def find_packing(
    plan: SweepPlan,
    machines: Sequence[Mapping[str, float]],
    past: Sequence[Mapping[str, Any]],
    tell: Callable[[str], None],
    measure: "Measure | None" = None,
) -> Packing:
    """What each trial of the sweep is given; measured if the sweep is to find out.

    Args:
        plan: the sweep's.
        machines: what each has.
        past: what happened before the sweep was resumed: trials that ran out of memory.
        tell: shows the user a line.
        measure: measures configs on each kind of GPU; gives the place of the one that needs most.
    """
    settings = plan.settings
    if settings.gpus_per_trial != "auto":
        return Packing(settings)
    data = plan.data.first
    size = _data_size(data.num_train, data.num_validation, len(data.class_names))
    try:
        configs = largest(plan.proposals.rehearsal.configs, size.num_classes)
        found = (measure or _Measurement(tell))(configs, size)
    except Exception as error:  # whatever it is, the sweep can do without
        reason = str(error).strip().splitlines()[-1:] or [type(error).__name__]
        tell(f"GPU memory could not be measured, so each trial has a GPU of its own: {reason[0]}")
        return Packing.auto(settings, 1, packing.cpus_of_trial(settings, machines, 1))
    place, needed = min(found, key=lambda one: packing.fitting(one[1]))
    num_fitting, most = packing.fitting(needed), packing.useful(settings, machines)
    loosened = [e["trials_per_gpu"] for e in past if e["event"] == events.PACKING and "trial" in e]
    number = min(num_fitting, most, *loosened)
    found_here = Packing.auto(settings, number, packing.cpus_of_trial(settings, machines, number))
    drawn = len(plan.proposals.rehearsal.configs)
    tell(_told(configs[place], drawn, needed, found_here))
    if number < min(num_fitting, most):
        tell(f"  (not {min(num_fitting, most)}: trials ran out of its memory before)")
    elif most < num_fitting:
        tell(f"  (its memory would hold {num_fitting}; the CPUs or the trials are fewer)")
    return found_here


def largest(configs: Sequence[TrialConfig], num_classes: int) -> list[TrialConfig]:
    """Those that are reckoned to need most memory, each shape once, the largest first.

    Networks that cannot exist, or do not fit their freeze policy, are left out, as in the search.

    Raises:
        ValueError: if none is left.
    """
    from toprung.trainables.training.memory_estimate import estimated_bytes

    shapes = {_shape(config): config for config in configs}
    reckoned = []
    for config in shapes.values():
        with suppress(FreezeError, ImpossibleNetworkError):
            reckoned.append((estimated_bytes(config, num_classes), config))
    if not reckoned:
        raise ValueError("of no drawn config could the need be reckoned")
    reckoned.sort(key=lambda one: one[0], reverse=True)
    return [config for _, config in reckoned[:NUM_MEASURED]]


def _shape(config: TrialConfig) -> tuple[object, ...]:
    training = config.training
    sizes = training.batch_size, training.precision, training.log_steps, config.image_shape
    model = config.model.model_copy(update={"weights": ""})
    return repr(model), config.optimizer.name, config.loss.name, *sizes


def _data_size(num_train: int, num_validation: int, num_classes: int) -> "DataSize":
    from toprung.trainables.training.memory_estimate import DataSize

    return DataSize(num_train, num_validation, num_classes)


class _Measurement:
    """Measures in Ray tasks, one for each kind of GPU, wherever one is free.

    Args:
        tell: shows the user a line.
    """

    def __init__(self, tell: Callable[[str], None]) -> None:
        self._tell = tell

    def __call__(
        self, configs: Sequence[TrialConfig], size: "DataSize"
    ) -> "Sequence[tuple[int, MemoryNeeded]]":
        """For each kind of GPU, the place of the config that needs most, and what it needs.

        Raises:
            What the measuring raises, or Ray; TimeoutError if no GPU was free; RuntimeError if none
                is there.
        """
        import ray

        kinds = gpu_kinds(ray.nodes())
        if not kinds:
            raise RuntimeError("no node with a GPU is there now")
        texts = [config.model_dump_json() for config in configs]
        # Its process ends with it: CUDA's memory is not given back before.
        task = ray.remote(max_calls=1, max_retries=0)(_measure_here)
        waiting = {
            task.options(num_cpus=1, num_gpus=1, accelerator_type=kind).remote(texts, size): kind
            for kind in kinds
        }
        self._wait(waiting)
        return [ray.get(reference) for reference in waiting]

    def _wait(self, waiting: Mapping[Any, str | None]) -> None:
        import ray

        references, seconds = list(waiting), SECONDS_UNTIL_TOLD
        _, left = ray.wait(references, num_returns=len(references), timeout=seconds)
        if left:
            kinds = ", ".join(waiting[reference] or "a GPU" for reference in left)
            free = ray.available_resources()
            self._tell(
                f"measuring GPU memory on {kinds}: waiting for 1 GPU and 1 CPU, or for the result; "
                f"free in the cluster: {free.get('GPU', 0):g} GPUs, {free.get('CPU', 0):g} CPUs"
            )
            _, left = ray.wait(left, num_returns=len(left), timeout=MAX_SECONDS)
        for reference in left:
            ray.cancel(reference, force=True)
        if left:
            raise TimeoutError(f"no result within {MAX_SECONDS / 60:g} minutes")


def _measure_here(configs: Sequence[str], size: "DataSize") -> "tuple[int, MemoryNeeded]":
    """In a process with a GPU: the place of the config that needs most, and what it needs."""
    from toprung.trainables.system.device import device_for
    from toprung.trainables.training.memory_estimate import measure

    device_for({"GPU": 1.0})
    parsed = [TrialConfig.model_validate_json(config) for config in configs]
    needed = [measure(config, size) for config in parsed]
    return max(enumerate(needed), key=lambda one: (not one[1].fits, one[1].trial))


def gpu_kinds(nodes: Sequence[Mapping[str, Any]]) -> set[str | None]:
    """Of those that are alive, as Ray names them by a resource; None where it does not."""
    found = set()
    for node in nodes:
        if node["Alive"] and node["Resources"].get("GPU", 0) >= 1:
            named = (kind.partition(_KIND) for kind in sorted(node["Resources"]))
            found.add(next((kind for _, of_gpu, kind in named if of_gpu), None))
    return found


def _told(config: TrialConfig, num_drawn: int, needed: "MemoryNeeded", found: Packing) -> str:
    _, height, width = config.image_shape
    shape = f"{config.model.architecture}, {height}x{width}, batch {config.training.batch_size}"
    gib = f"GPU of {needed.gpu / _GIB:.1f} GiB"
    each = found.each_trial
    largest = f"GPU memory: the largest of {num_drawn} drawn configs ({shape})"
    given = f"(gpus_per_trial = {each['GPU']:g}), {each['CPU']:g} CPU{'s' * (each['CPU'] > 1)} each"
    if not needed.fits:
        return f"{largest} does not fit on a {gib} by itself; 1 trial per GPU {given}"
    trials = f"{found.trials_per_gpu} trial{'s' * (found.trials_per_gpu != 1)}"
    return (
        f"{largest} needs {needed.trial / _GIB:.1f} GiB + {needed.cuda / _GIB:.1f} GiB for CUDA "
        f"itself; {trials} per {gib} {given}"
    )
