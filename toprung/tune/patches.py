"""Ray Tune without what no sweep of ours makes use of, and each trial would pay for.

All that is replaced here, or reached into, is listed in `toprung.tune.tune_internals`,
which fits Ray 2.53 to 2.60 (`make test-versions` tries both ends).
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import lru_cache
from time import monotonic
from typing import Any

from toprung.cluster.internals import Internal, warn_of_costs
from toprung.cluster.lost_node import is_node_lost
from toprung.cluster.replaced import nothing
from toprung.tune import tune_internals as internals

MAX_SECONDS_IDLE = 60.0
"""For how long a trial's process waits for the next; to start another costs some five."""
IDLE_DIED = "The idle process that the trial was to have had died. "
"""So begins what is told of a death that is not the trial's."""


@dataclass(frozen=True)
class Patch:
    """A replacement for something of Tune.

    Attributes:
        replaces: what is replaced.
        made_from: makes the replacement from what Tune has.
        needs: what else of Tune the replacement uses.
    """

    replaces: Internal
    made_from: Callable[[Any], Any]
    needs: tuple[Internal, ...] = ()

    def misfit(self) -> str:
        """Why it cannot be applied to the installed Ray; empty if it can."""
        return next(filter(None, (name.misfit() for name in (self.replaces, *self.needs))), "")


@contextmanager
def lean_tune(
    ray_is_lost: Callable[[], bool] = lambda: False, warn: Callable[[str], None] = print
) -> Iterator[None]:
    """Let Tune keep trials going, and nothing else; as before afterwards.

    What does not fit the installed Ray is left out, with a warning that says what that costs.

    Args:
        ray_is_lost: whether a process has ended without which Ray answers nothing.
        warn: shows the user a line.

    Raises:
        ToprungError: if the installed Ray lacks something without which a sweep cannot run.
    """
    for name in internals.ESSENTIAL:
        name.check()
    patches = [(patch, patch.misfit()) for patch in _patches(ray_is_lost)]
    left_out = {patch.replaces.cost: misfit for patch, misfit in patches if misfit}
    warn_of_costs(left_out, warn)
    with ExitStack() as stack:
        for patch, misfit in patches:
            if not misfit:
                replacement = patch.made_from(patch.replaces.get())
                stack.enter_context(patch.replaces.replaced(replacement))
        yield


def _patches(ray_is_lost: Callable[[], bool]) -> list[Patch]:
    of_controller = (internals.SHOWN_CONTROLLER, internals.TRIAL_TO_ACTOR, internals.ACTOR_MANAGER)
    starting = (*of_controller, internals.RESETTING_TRIALS, internals.IS_ACTOR_STARTED)
    resetting = (internals.ACTOR_TO_TRIAL, internals.RESETTING_TRIALS)
    idle = (internals.IDLE, internals.NUM_IDLE, internals.MAX_IDLE)
    manager = (internals.ACTOR_MANAGER, internals.KILL_ACTORS)
    return [
        Patch(internals.SNAPSHOT, lambda _: nothing),
        Patch(internals.METRIC_STATISTICS, lambda _: nothing),
        Patch(internals.ANALYSIS, lambda _: _without_results),
        Patch(internals.CLEANUP_TRIALS, lambda _: _kill_actors_unless(ray_is_lost), manager),
        Patch(internals.ACTOR_FAILED, _failed, resetting),
        Patch(internals.TASK_FAILED, _known),
        Patch(internals.START_FAILED, _known),
        Patch(internals.TRIAL_TASK_FAILURE, _once),
        Patch(internals.REUSE_ACTOR, _unless_starting, starting),
        Patch(internals.COUNT_DEATH, _unless_node_lost),
        Patch(internals.FOLDER_NAME, lambda _: _as_named),
        Patch(internals.IS_REGISTERED, lru_cache),
        Patch(internals.REGISTERED, lru_cache),
        Patch(internals.KEEP_IDLE, lambda _: _keep, (internals.FLUSH_IDLE, *idle)),
        Patch(internals.FLUSH_IDLE, lambda _: _flushed_when_idle, (internals.KEEP_IDLE, *idle)),
        Patch(internals.ACTOR_VARIABLES, lambda _: {}),
        Patch(internals.PASSED_VARIABLES, lambda _: frozenset()),
    ]


def _failed(original: Callable[..., None]) -> Callable[..., None]:
    """As Tune's, and the trial no longer counts as one that the process is being made ready for.

    Such a process was idle, and its death is no failure of the trial. Tune has a word for deaths
    that it does not count: preempted.
    """
    from ray.exceptions import RayActorError

    def actor_failed(controller: Any, tracked_actor: Any, exception: Exception) -> None:
        trial = internals.ACTOR_TO_TRIAL.of(controller).get(tracked_actor)
        resetting = internals.RESETTING_TRIALS.of(controller)
        if trial in resetting:
            exception = RayActorError(error_msg=f"{IDLE_DIED}{exception}", preempted=True)
        original(controller, tracked_actor, exception)
        resetting.discard(trial)

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
    controller = internals.SHOWN_CONTROLLER.of(controller, controller)
    actor = internals.TRIAL_TO_ACTOR.of(controller, {}).get(trial)
    if not actor or trial in internals.RESETTING_TRIALS.of(controller, ()):
        return False
    manager = internals.ACTOR_MANAGER.of(controller, None)
    return bool(manager and internals.IS_ACTOR_STARTED.of(manager, lambda _: False)(actor))


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
    internals.IDLE.of(cache)[key].append(actor)
    internals.NUM_IDLE.add(cache, 1)
    vars(cache).setdefault("idle_since", {})[actor] = monotonic()
    return True


def _flushed_when_idle(cache: Any, force_all: bool = False) -> Iterator[Any]:
    """All, or those that have been idle for long, or hold what a trial waits for in other parts."""
    since, long_ago = vars(cache).get("idle_since", {}), monotonic() - MAX_SECONDS_IDLE
    wanted = {resources for resources, number in internals.MAX_IDLE.of(cache).items() if number > 0}
    for resources, actors in internals.IDLE.of(cache).items():
        end = force_all or (wanted and resources not in wanted)
        for actor in [actor for actor in actors if end or since[actor] < long_ago]:
            actors.remove(actor)
            internals.NUM_IDLE.add(cache, -1)
            del since[actor]
            yield actor


def _kill_actors_unless(ray_is_lost: Callable[[], bool]) -> Callable[[Any], None]:
    def kill_actors(controller: Any) -> None:
        if not ray_is_lost():
            internals.ACTOR_MANAGER.of(controller).cleanup()

    return kill_actors
