"""The inventory of all that Toprung uses of Ray Tune beyond its public interface.

`toprung.tune.patches` compares it with the installed Ray before a sweep begins.
"""

from toprung.cluster.internals import Internal

_CONTROLLER = "ray.tune.execution.tune_controller:TuneController"
_ACTORS = "ray.air.execution._internal.actor_manager:RayActorManager"
_CACHE = "ray.tune.utils.object_cache:_ObjectCache"
_TRIAL = "ray.tune.experiment.trial:Trial"
_REGISTRY = "ray.tune.registry:_Registry"

SNAPSHOT = Internal(
    "ray.tune.execution.experiment_state:_ExperimentCheckpointManager.sync_up_experiment_state",
    "Tune's snapshots are for its own restore; the study is the record of a sweep. "
    "TUNE_GLOBAL_CHECKPOINT_S cannot turn off the first and the last of them.",
    "Tune writes snapshots of all trials, which take time and lie in the sweep's folder",
    ("self", "save_fn", "force", "wait"),
)
METRIC_STATISTICS = Internal(
    "ray.tune.trainable.metadata:_TrainingRunMetadata.update_metric",
    "Running statistics of each number in a report are not read.",
    "Tune keeps some 60 kB of statistics for each trial",
    ("self", "metric", "value", "step"),
)
ANALYSIS = Internal(
    "ray.tune:ExperimentAnalysis.__init__",
    "The results that `fit` returns are not read.",
    "Tune reads its snapshots and all results again when the sweep ends",
    (
        "self",
        "experiment_checkpoint_path",
        "storage_filesystem",
        "trials",
        "default_metric",
        "default_mode",
    ),
)
CLEANUP_TRIALS = Internal(
    f"{_CONTROLLER}._cleanup_trials",
    "At the end nothing is left for trial processes to do, so they are killed. "
    "TUNE_FORCE_TRIAL_CLEANUP_S is for trials that end earlier, and not for the end.",
    "the sweep ends up to 5 s later, and a minute later where Ray has lost a process",
    ("self",),
)
ACTOR_FAILED = Internal(
    f"{_CONTROLLER}._actor_failed",
    "The death of an idle process is not a failure of the trial that was to have it.",
    "a trial may fail because an idle process died",
    ("self", "tracked_actor", "exception"),
)
ACTOR_TO_TRIAL = Internal(
    f"{_CONTROLLER}._actor_to_trial",
    "Which trial a process is for.",
    ACTOR_FAILED.cost,
    on_instances=True,
)
RESETTING_TRIALS = Internal(
    f"{_CONTROLLER}._resetting_trials",
    "Trials for which an idle process is made ready.",
    ACTOR_FAILED.cost,
    on_instances=True,
)
TASK_FAILED = Internal(
    f"{_ACTORS}._actor_task_failed",
    "An error of Ray that Tune does not know, such as its memory monitor's, is the actor's death.",
    "an error of Ray that Tune does not know ends the whole sweep",
    ("self", "tracked_actor_task", "exception"),
)
START_FAILED = Internal(
    f"{_ACTORS}._actor_start_failed",
    TASK_FAILED.why,
    TASK_FAILED.cost,
    ("self", "tracked_actor", "exception"),
)
TRIAL_TASK_FAILURE = Internal(
    f"{_CONTROLLER}._trial_task_failure",
    "Tune reports a process's death twice; the second time the trial has begun again already.",
    "one death of a process may count twice against its trial",
    ("self", "trial", "exception"),
)
REUSE_ACTOR = Internal(
    f"{_CONTROLLER}._maybe_reuse_cached_actor",
    "A trial whose process is starting keeps it; an idle process is for the next trial.",
    "a node that has just joined may never run a trial, where trials are short",
    ("self", "trial"),
)
TRIAL_TO_ACTOR = Internal(
    f"{_CONTROLLER}._trial_to_actor",
    "Which process a trial has.",
    REUSE_ACTOR.cost,
    on_instances=True,
)
SHOWN_CONTROLLER = Internal(
    "ray.tune.execution.tune_controller:TrialRunnerWrapper._tune_controller",
    "Schedulers are given a wrapper of Tune's controller, or the controller itself.",
    REUSE_ACTOR.cost,
    on_instances=True,
)
ACTOR_MANAGER = Internal(
    f"{_CONTROLLER}._actor_manager",
    "Knows whether a process is starting, and kills all of them.",
    REUSE_ACTOR.cost,
    on_instances=True,
)
IS_ACTOR_STARTED = Internal(
    f"{_ACTORS}.is_actor_started",
    "Whether a process is starting.",
    REUSE_ACTOR.cost,
    ("self", "tracked_actor"),
)
KILL_ACTORS = Internal(
    f"{_ACTORS}.cleanup", "Kills all processes of trials.", CLEANUP_TRIALS.cost, ("self",)
)
COUNT_DEATH = Internal(
    f"{_TRIAL}._handle_ray_actor_error",
    "The loss of a node is not a failure of the trial; `Deaths` counts those.",
    "a trial fails after its node was lost four times",
    ("self", "exc"),
)
FOLDER_NAME = Internal(
    "ray.tune.experiment.trial:_create_unique_logdir_name",
    "A trial's folder has our name, also if another sweep of the same Ray has one of that name.",
    "folders of trials may have other names, if two sweeps begin in the same second",
    ("root", "relative_logdir"),
)
IS_REGISTERED = Internal(
    f"{_REGISTRY}.contains",
    "All trials run the one function, which needs to be looked up once.",
    "Tune asks Ray's server five times for each trial",
    ("self", "category", "key"),
)
REGISTERED = Internal(
    f"{_REGISTRY}.get", IS_REGISTERED.why, IS_REGISTERED.cost, ("self", "category", "key")
)
KEEP_IDLE = Internal(
    f"{_CACHE}.cache_object",
    "Idle trial processes are kept for a minute; to start one takes some five seconds.",
    "Tune keeps one idle trial process, so that each pause costs seconds",
    ("self", "key", "obj"),
)
FLUSH_IDLE = Internal(
    f"{_CACHE}.flush_cached_objects", KEEP_IDLE.why, KEEP_IDLE.cost, ("self", "force_all")
)
IDLE = Internal(
    f"{_CACHE}._cached_objects", "The idle processes.", KEEP_IDLE.cost, on_instances=True
)
NUM_IDLE = Internal(
    f"{_CACHE}._num_cached_objects", "How many there are.", KEEP_IDLE.cost, on_instances=True
)
MAX_IDLE = Internal(
    f"{_CACHE}._max_num_objects", "For what trials wait.", KEEP_IDLE.cost, on_instances=True
)
ACTOR_VARIABLES = Internal(
    "ray.tune.execution.class_cache:DEFAULT_ENV_VARS",
    "A variable of their own, for PyTorch Lightning, would keep trials out of the worker processes "
    "that Ray starts early.",
    "each trial process starts 4 to 9 s later",
)
PASSED_VARIABLES = Internal(
    "ray.tune.execution.class_cache:ENV_VARS_TO_PROPAGATE",
    "Credentials of the driver would be in Ray's logs and listings "
    "(see `toprung.trainables.system.secrecy`).",
    "Tune hands AWS credentials of the driver on to trials, and Ray's logs may show them",
)
RUN_METADATA = Internal(
    f"{_TRIAL}.run_metadata",
    "How often a trial has failed; `Deaths` sets it.",
    "how often a trial is tried again cannot be decided",
    on_instances=True,
)
MAX_FAILURES = Internal(
    f"{_TRIAL}.max_failures",
    "How often a trial is tried again; `Deaths` sets it.",
    RUN_METADATA.cost,
    on_instances=True,
)
TEMPORARY_STATE = Internal(
    f"{_TRIAL}.temporary_state",
    "Has the actor of a trial, which `Deaths` ends where it hangs.",
    "a trial that hangs cannot be ended",
    on_instances=True,
)
NUM_FAILURES = Internal(
    "ray.tune.trainable.metadata:_TrainingRunMetadata.num_failures",
    "How often a trial has failed; `Deaths` reads and sets it.",
    RUN_METADATA.cost,
    on_instances=True,
)
RAY_ACTOR = Internal(
    "ray.tune.experiment.trial:_TemporaryTrialState.ray_actor",
    "The actor of a trial, which `Deaths` ends where it hangs.",
    TEMPORARY_STATE.cost,
    on_instances=True,
)
INVENTORY = tuple(value for value in list(globals().values()) if isinstance(value, Internal))
ESSENTIAL = (
    RUN_METADATA,
    NUM_FAILURES,
    MAX_FAILURES,
    TEMPORARY_STATE,
    RAY_ACTOR,
    PASSED_VARIABLES,
)
"""Without these a sweep does not begin: `Deaths` works with them, or they keep secrets."""
