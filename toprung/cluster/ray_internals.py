"""The inventory of all that Toprung uses of Ray itself beyond its public interface.

`toprung.cluster.session` compares what a sweep needs with the installed Ray before it begins.
"""

from toprung.cluster.internals import Internal

_CANNOT_START = "Toprung cannot start a Ray of its own"
_CANNOT_JOIN = "Toprung cannot join a cluster"
_CANNOT_SEND = "Toprung cannot send code to a cluster"

OPEN_PROCESS = Internal(
    "ray._private.services:ConsolePopen",
    "Ray starts its processes with it: without credentials in their environment, and apart from "
    "the driver's process group, so that a signal from a terminal reaches the driver alone.",
    "Ray's processes have the driver's credentials in their environment",
)
COMMAND_LINE = Internal(
    "ray._private.utils:get_entrypoint_name",
    "The command line that Ray lists is without the secrets in it.",
    "Ray lists the driver's command line with the secrets in it",
    (),
)
DASHBOARD_ERROR = Internal(
    "ray._private.utils:get_dashboard_dependency_error",
    "Without the dashboard's packages, Ray starts fewer agents.",
    "Ray starts agents that nothing uses, for seconds",
    (),
)
_SERVERS = "ray._private.node:Node"
START_API_SERVER = Internal(
    f"{_SERVERS}.start_api_server",
    "The dashboard's server is not used.",
    "Ray starts servers that nothing uses, for seconds",
    ("self", "include_dashboard", "raise_on_failure"),
)
START_MONITOR = Internal(
    f"{_SERVERS}.start_monitor", "The autoscaler is not used.", START_API_SERVER.cost, ("self",)
)
START_LOG_MONITOR = Internal(
    f"{_SERVERS}.start_log_monitor", "Logs are not forwarded.", START_API_SERVER.cost, ("self",)
)
LISTEN_TO_ERRORS = Internal(
    "ray._private.worker:listen_error_messages",
    "What Ray's processes report is not printed between our lines.",
    "Ray prints messages of its own between the lines of the sweep",
    ("worker", "threads_stopped"),
)
GLOBAL_NODE = Internal(
    "ray._private.worker:_global_node",
    "Has the processes of a Ray that was started here.",
    "the end of a process that Ray needs is noticed only after a minute",
)
ALL_PROCESSES = Internal(
    "ray._private.node:Node.all_processes",
    "The processes of a Ray that was started here.",
    GLOBAL_NODE.cost,
    on_instances=True,
)
GCS_CLIENT = Internal(
    "ray._private.node:Node._gcs_client",
    "This process's connection to Ray's server is closed with it.",
    "a connection stays open for each Ray that has ended in this process",
    on_instances=True,
)
UV_RUN = Internal(
    "ray._private.ray_constants:RAY_ENABLE_UV_RUN_RUNTIME_ENV",
    "Under `uv run`, Ray would build an environment for each worker process.",
    "under `uv run`, Ray builds an environment for each worker process",
)
KEPT_VALUE = Internal(
    "ray.experimental.internal_kv:_internal_kv_get",
    "Reads the autoscaler's status.",
    "whether a cluster has an autoscaler is not known",
)
KEEP_VALUE = Internal(
    "ray.experimental.internal_kv:_internal_kv_put",
    "Lends the store's credentials to trials, in the memory of Ray's server.",
    "trials cannot write to a store that needs the driver's credentials",
)
AUTOSCALING_STATUS = Internal(
    "ray._private.ray_constants:DEBUG_AUTOSCALING_STATUS",
    "The key of the autoscaler's status.",
    KEPT_VALUE.cost,
)
FREE_RESOURCES = Internal(
    "ray._private.state:available_resources_per_node",
    "What is free on each node.",
    "what is free is known of the whole cluster, not of each node",
    (),
)
NODES_HERE = Internal(
    "ray._private.services:find_node_ids",
    "Which nodes of clusters run on this machine.",
    _CANNOT_JOIN,
    (),
)
CLUSTERS_HERE = Internal(
    "ray._private.services:find_gcs_addresses",
    "The clusters that this machine is a node of.",
    _CANNOT_JOIN,
    (),
)
LAST_CLUSTER_HERE = Internal(
    "ray._private.services:find_bootstrap_address",
    "The cluster whose node was started last on this machine.",
    _CANNOT_JOIN,
    ("temp_dir",),
)
OPEN_CHANNEL = Internal(
    "ray._private.grpc_utils:init_grpc_channel",
    "A channel to a cluster's head that shows the token.",
    _CANNOT_JOIN,
)
NEW_TOKEN = Internal(
    "ray._private.authentication.authentication_token_generator:generate_new_authentication_token",
    "A token for a Ray of our own.",
    _CANNOT_START,
    (),
)
CORE = Internal(
    "ray:_raylet",
    "Ray's core reads the environment once; it is to read the token's variables again.",
    _CANNOT_START,
)
TOKEN_HEADER = Internal(
    "ray._private.authentication.http_token_authentication:get_auth_headers_if_auth_enabled",
    "The header that shows the token to a job server.",
    "job servers that ask for a token cannot be asked",
    ("user_headers",),
)
ASK_JOB_SERVER = Internal(
    "ray.job_submission:JobSubmissionClient._do_request",
    "Ray's client passes on to it how long a job server may be silent.",
    "a command waits for ever for a job server that is lost",
)
MOST_BYTES_OF_UPLOAD = Internal(
    "ray._private.ray_constants:DASHBOARD_CLIENT_MAX_SIZE",
    "How large a package a job server takes.",
    _CANNOT_SEND,
)
MOST_BYTES_KEPT = Internal(
    "ray._private.runtime_env.packaging:GCS_STORAGE_MAX_SIZE",
    "How large a package Ray's server keeps.",
    _CANNOT_SEND,
)
IGNORE_GITIGNORE = Internal(
    "ray._private.ray_constants:RAY_RUNTIME_ENV_IGNORE_GITIGNORE",
    "The variable by which .gitignore files are not followed.",
    _CANNOT_SEND,
)
READ_IGNORE_FILES = Internal(
    "ray._private.runtime_env.packaging:get_excludes_from_ignore_files",
    "What .gitignore and .rayignore files say, as Ray reads them.",
    _CANNOT_SEND,
    ("path", "include_gitignore", "logger"),
)
INVENTORY = tuple(value for value in list(globals().values()) if isinstance(value, Internal))
OF_A_SWEEP = (
    DASHBOARD_ERROR,
    START_API_SERVER,
    START_MONITOR,
    START_LOG_MONITOR,
    LISTEN_TO_ERRORS,
    GLOBAL_NODE,
    ALL_PROCESSES,
    GCS_CLIENT,
    UV_RUN,
    FREE_RESOURCES,
)
"""What a sweep uses, and can do without. Their modules are imported with Ray anyway."""
