"""Ray's token: what keeps others out of a cluster, which would run anybody's code.

Ray checks it; here it is seen to that it is asked for, is there, and is nobody else's to read.
Ray itself writes the file so that all can read it.
"""

import os
import sys
from pathlib import Path
from typing import Any

from toprung.cluster import ray_internals
from toprung.errors import ToprungError

MODE = "RAY_AUTH_MODE"
TOKEN = "RAY_AUTH_TOKEN"
TOKEN_PATH = "RAY_AUTH_TOKEN_PATH"
_OF_KUBERNETES = "RAY_ENABLE_K8S_TOKEN_AUTH"
"""Ray takes the service account's token then, from a place of its own."""
_OTHERS = 0o077
_HEAD_HAS_IT = (
    "copy it from the cluster's head (there: ray get-auth-token; the first time with --generate) "
    "to ~/.ray/auth_token and chmod 600 it, or set RAY_AUTH_TOKEN; for a cluster that really runs "
    "open: RAY_AUTH_MODE=disabled"
)


def use_token() -> None:
    """Show the token to every cluster that this process speaks to, unless RAY_AUTH_MODE is set.

    Raises:
        ToprungError: if the token is missing, empty, or in a file that others can read.
    """
    if _mode() == "token" and not os.environ.get(_OF_KUBERNETES) and not os.environ.get(TOKEN):
        _check_file(token_file())
    _tell_ray()


def have_own_token() -> None:
    """See that the Ray which is started here has a token that only this user can read.

    Ray would make one by itself, in a file that all can read. Where no file can be kept, such as
    in a home that cannot be written, the token is this process's alone.

    Raises:
        ToprungError: if the file that the user has named is missing, empty, or others can read it.
    """
    if _mode() == "token" and not os.environ.get(_OF_KUBERNETES) and not os.environ.get(TOKEN):
        if os.environ.get(TOKEN_PATH) or _made_private():
            _check_file(token_file())
        else:
            os.environ[TOKEN] = _new_token()
    _tell_ray()


def token_file() -> Path:
    """Where Ray looks for the token, if RAY_AUTH_TOKEN is not set."""
    return Path(os.environ.get(TOKEN_PATH) or Path.home() / ".ray" / "auth_token")


def _mode() -> str:
    """RAY_AUTH_MODE, which is `token` from now on if it was not set."""
    mode = os.environ.setdefault(MODE, "token").lower()
    if mode not in ("token", "disabled"):  # Ray would take it for `disabled`, in silence
        raise ToprungError(f"{MODE} = {mode}: must be token or disabled")
    return mode


def _check_file(file: Path) -> None:
    try:
        token, others = file.read_text("utf-8").strip(), file.stat().st_mode & _OTHERS
    except FileNotFoundError:
        raise ToprungError(f"no token for the cluster ({file}): {_HEAD_HAS_IT}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ToprungError(f"{file}: the cluster's token cannot be read: {error}") from None
    if not token:
        raise ToprungError(f"{file}: the cluster's token is empty: {_HEAD_HAS_IT}")
    if others:
        raise ToprungError(f"{file}: others can read the cluster's token; chmod 600 {file}")


def _made_private() -> bool:
    """Whether Ray's usual token file is ours alone now: made, or taken from others' eyes."""
    try:
        file = token_file()
        if not file.exists():
            file.parent.mkdir(parents=True, exist_ok=True)
            _write_new(file)
        elif file.stat().st_mode & _OTHERS:
            file.chmod(0o600)
        return os.access(file, os.R_OK)
    except (OSError, RuntimeError):  # the latter if this user has no home
        return False


def _write_new(file: Path) -> None:
    """All of it or nothing, and never over another's: a sweep beside this one may do the same."""
    unfinished = file.with_name(f"{file.name}.{os.getpid()}")
    descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as stream:
        stream.write(_new_token())
    try:
        os.link(unfinished, file)
    except FileExistsError:
        pass
    finally:
        unfinished.unlink()


def _new_token() -> str:
    return str(ray_internals.NEW_TOKEN.needed()())


def _tell_ray() -> None:
    """Ray's core reads the environment once; it may have been imported long before."""
    if "ray._raylet" not in sys.modules:
        return
    import ray

    core: Any = ray_internals.CORE.needed()
    if not ray.is_initialized():
        core.Config.initialize("")
        core.AuthenticationTokenLoader.instance().reset_cache()
