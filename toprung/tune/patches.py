"""Ray Tune without what no sweep of ours makes use of, and each trial would pay for.

These are Tune's internals, as of Ray 2.53 to 2.60 (`make test-versions` tries both ends).
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import lru_cache
from time import monotonic
from typing import Any

from toprung.cluster.lost_node import is_node_lost
from toprung.cluster.replaced import nothing, replaced

MAX_SECONDS_IDLE = 60.0
"""For how long a trial's process waits for the next; to start another costs some five."""
IDLE_DIED = "The idle process that the trial was to have had died. "
"""So begins what is told of a death that is not the trial's."""


@contextmanager
def lean_tune(ray_is_lost: Callable[[], bool] = lambda: False) -> Iterator[None]:
    """Let Tune keep trials going, and nothing else; as before afterwards.

    - No snapshots of all trials: they are for Tune's own restore, and the study is our record.
    - No running statistics of each number in a report, which are some 60 kB per trial.
    - No reading of snapshots and of all results at the end.
    - No waiting, up to 5 s, for actors to stop; nor, a minute, for a Ray that is lost.
    - No asking Ray's server, five times for each trial, for the one function that all trials run.
    - No other name for a trial's folder than ours, if a sweep that began in the same second, in
      the same Ray, has one of that name: each sweep has a folder of its own.
    - No end of an idle trial process while more trials may come soon: Tune would keep only one, so
      that after a pause (between stages, before the confirmation) trials would run one after
      another. After a minute it ends: others may need its place, or its node may be gone.
    - No trial that is taken from a process that is still starting, to be given to an idle one:
      where trials are short, a node that has just come would never run any.
    - No trial that fails for good because the idle process that it was given had died: Tune tells
      of that twice, and takes the second time for a failure of the trial that it has begun again.
      Nor is the first time counted: a node that is lost may have had many.
    - No failure counted against a trial whose node was lost; `Deaths` counts those.
    - No end of the sweep by an error of Ray that Tune does not know, such as its memory monitor's.
    - No guess that the cluster is too small, told between our lines.

    Args:
        ray_is_lost: whether a process has ended without which Ray answers nothing.
    """
    from ray.air.execution._internal.actor_manager import RayActorManager
    from ray.tune import ExperimentAnalysis
    from ray.tune.execution.experiment_state import _ExperimentCheckpointManager as Snapshots
    from ray.tune.execution.insufficient_resources_manager import _InsufficientResourcesManager
    from ray.tune.execution.tune_controller import TuneController
    from ray.tune.experiment import trial
    from ray.tune.registry import _Registry
    from ray.tune.trainable.metadata import _TrainingRunMetadata
    from ray.tune.utils.object_cache import _ObjectCache

    _reuse = _unless_starting(TuneController._maybe_reuse_cached_actor)
    _counted = _unless_node_lost(trial.Trial._handle_ray_actor_error)
    with ExitStack() as stack:
        for owner, name, method in (
            (Snapshots, "sync_up_experiment_state", nothing),
            (_TrainingRunMetadata, "update_metric", nothing),
            (ExperimentAnalysis, "__init__", _without_results),
            (TuneController, "_cleanup_trials", _kill_actors_unless(ray_is_lost)),
            (TuneController, "_actor_failed", _failed(TuneController._actor_failed)),
            (RayActorManager, "_actor_task_failed", _known(RayActorManager._actor_task_failed)),
            (RayActorManager, "_actor_start_failed", _known(RayActorManager._actor_start_failed)),
            (TuneController, "_trial_task_failure", _once(TuneController._trial_task_failure)),
            (TuneController, "_maybe_reuse_cached_actor", _reuse),
            (trial.Trial, "_handle_ray_actor_error", _counted),
            (_InsufficientResourcesManager, "on_no_available_trials", nothing),
            (trial, "_create_unique_logdir_name", _as_named),
            (_Registry, "contains", lru_cache(_Registry.contains)),
            (_Registry, "get", lru_cache(_Registry.get)),
            (_ObjectCache, "cache_object", _keep),
            (_ObjectCache, "flush_cached_objects", _flushed_when_idle),
        ):
            stack.enter_context(replaced(owner, name, method))
        stack.enter_context(_early_workers_for_trials())
        yield


def _failed(original: Callable[..., None]) -> Callable[..., None]:
    """As Tune's, and the trial no longer counts as one that the process is being made ready for.

    Such a process was idle, and its death is no failure of the trial. Tune has a word for deaths
    that it does not count: preempted.
    """
    from ray.exceptions import RayActorError

    def actor_failed(controller: Any, tracked_actor: Any, exception: Exception) -> None:
        trial = controller._actor_to_trial.get(tracked_actor)
        if trial in controller._resetting_trials:
            exception = RayActorError(error_msg=f"{IDLE_DIED}{exception}", preempted=True)
        original(controller, tracked_actor, exception)
        controller._resetting_trials.discard(trial)

    return actor_failed


def _known(original: Callable[..., None]) -> Callable[..., None]:
    """As Ray's, to which an error of Ray itself is the actor's death, whatever its class.

    It raises those that it does not know, `OutOfMemoryError` for one, and so would end the sweep.
    """
    from ray.exceptions import RayActorError, RayError, RayTaskError

    def failed(manager: Any, *, exception: Exception, **tracked: Any) -> None:
        if isinstance(exception, RayError) and not isinstance(
            exception, RayActorError | RayTaskError
        ):
            exception = RayActorError(error_msg=f"{type(exception).__name__}: {exception}")
        original(manager, exception=exception, **tracked)

    return failed


def _once(original: Callable[..., None]) -> Callable[..., None]:
    """As Tune's, but for a process's death after which the trial is to begin again already."""
    from ray.exceptions import RayActorError

    def trial_task_failure(controller: Any, trial: Any, exception: Exception) -> None:
        if not (isinstance(exception, RayActorError) and trial.status == trial.PENDING):
            original(controller, trial, exception)

    return trial_task_failure


def _without_results(grid: Any, *arguments: Any, **options: Any) -> None:
    del arguments, options
    grid.trials = []


def _as_named(root: str, name: str) -> str:
    del root
    return name


def is_starting(controller: Any, trial: Any) -> bool:
    """Whether a process is being started for a trial (and no idle one made ready for it).

    Args:
        controller: Tune's, or what Tune shows of it to schedulers.
        trial: one that has no process yet.
    """
    controller = getattr(controller, "_tune_controller", controller)
    actor = controller._trial_to_actor.get(trial)
    resetting = trial in controller._resetting_trials
    return controller._actor_manager.is_actor_started(actor) if actor and not resetting else False


def _unless_starting(original: Callable[..., bool]) -> Callable[..., bool]:
    """As Tune's, but for a trial whose own process is starting."""

    def maybe_reuse_cached_actor(controller: Any, trial: Any) -> bool:
        return not is_starting(controller, trial) and original(controller, trial)

    return maybe_reuse_cached_actor


def _unless_node_lost(original: Callable[..., None]) -> Callable[..., None]:
    """As Tune's, which counts an actor's death against its trial, but for one with its node."""

    def handle_ray_actor_error(trial: Any, exception: Exception) -> None:
        if not is_node_lost(str(exception)):
            original(trial, exception)

    return handle_ray_actor_error


def _keep(cache: Any, key: Any, actor: Any) -> bool:
    cache._cached_objects[key].append(actor)
    cache._num_cached_objects += 1
    vars(cache).setdefault("idle_since", {})[actor] = monotonic()
    return True


def _flushed_when_idle(cache: Any, force_all: bool = False) -> Iterator[Any]:
    """All, or those that have been idle for long, or hold what a trial waits for in other parts."""
    since, long_ago = vars(cache).get("idle_since", {}), monotonic() - MAX_SECONDS_IDLE
    wanted = {resources for resources, number in cache._max_num_objects.items() if number > 0}
    for resources, actors in cache._cached_objects.items():
        end = force_all or (wanted and resources not in wanted)
        for actor in [actor for actor in actors if end or since[actor] < long_ago]:
            actors.remove(actor)
            cache._num_cached_objects -= 1
            del since[actor]
            yield actor


def _kill_actors_unless(ray_is_lost: Callable[[], bool]) -> Callable[[Any], None]:
    def kill_actors(controller: Any) -> None:
        if not ray_is_lost():
            controller._actor_manager.cleanup()

    return kill_actors


@contextmanager
def _early_workers_for_trials() -> Iterator[None]:
    """Let Tune's actors have the worker processes that Ray starts, preloaded, with itself.

    Ray gives an actor such a process only if both have the same environment, and Tune sets a
    variable for PyTorch Lightning, which we do not use. It costs each trial process 4 to 9 s.
    Nor does Tune hand on variables of the driver: the credentials among them would be in Ray's logs
    and listings (see `toprung.trainables.system.secrecy`).
    """
    from ray.tune.execution import class_cache

    with (
        replaced(class_cache, "DEFAULT_ENV_VARS", {}),
        replaced(class_cache, "ENV_VARS_TO_PROPAGATE", frozenset()),
    ):
        yield
