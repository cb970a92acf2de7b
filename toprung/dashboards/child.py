"""One of the dashboard's two servers, in a separate process, reachable from this machine only.

It ends when its standard input is closed, so that it never outlives the process that started it.
"""

import os
import sys
import threading
from pathlib import Path
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIServer, make_server

from toprung.analysis.sweep_folder.study_place import sqlite_url
from toprung.dashboards.own_host import own_host_only

HOST = "127.0.0.1"


class _ThreadingServer(ThreadingMixIn, WSGIServer):
    """A server with a thread per request, so that a slow plot does not delay the others."""

    daemon_threads = True


def serve_optuna(study: str, port: int) -> None:
    """Serve optuna-dashboard for a study's SQLite file, which is opened read-only.

    It has no open connection between requests, so that a sweep that ends meanwhile can merge
    SQLite's log into the one plain file.
    """
    from optuna.storages import RDBStorage
    from optuna_dashboard import wsgi
    from sqlalchemy.pool import NullPool

    storage = RDBStorage(
        sqlite_url(study, mode="ro"),
        engine_kwargs={"poolclass": NullPool},
        skip_compatibility_check=True,
        skip_table_creation=True,
    )
    application = own_host_only(wsgi(storage))
    make_server(HOST, port, application, server_class=_ThreadingServer).serve_forever()


def serve_tensorboard(folder: str, port: int) -> None:
    """Serve TensorBoard for a folder."""
    from tensorboard import program

    server = program.TensorBoard(server_class=_tensorboard_server)
    name = f"{Path(folder).parent.name} - TensorBoard"
    server.configure(logdir=folder, host=HOST, port=port, window_title=name, reload_multifile=True)
    server.main()


def _tensorboard_server(application: Any, flags: Any) -> Any:
    from tensorboard import program

    return program.create_port_scanning_werkzeug_server(own_host_only(application), flags)


SERVERS = {"optuna": serve_optuna, "tensorboard": serve_tensorboard}


def main() -> None:
    """Run `python -m toprung.dashboards.child SERVER PATH PORT`."""
    _, name, path, port = sys.argv
    threading.Thread(target=_end_with_parent, daemon=True).start()
    SERVERS[name](path, int(port))


def _end_with_parent() -> None:
    # Not through sys.stdin: its lock, still held by this thread, would abort the interpreter's end.
    while os.read(0, 1):
        pass
    os._exit(0)


if __name__ == "__main__":
    main()
