"""The command `toprung dashboard`."""

import os
import sys
from pathlib import Path

import click

from toprung.cli.sweep_argument import SWEEP_PLACE, TRUST
from toprung.console import echo_line

PORT = click.IntRange(1, 65535)


@click.command()
@click.argument("sweep", type=SWEEP_PLACE)
@click.option("--port", type=PORT, help="optuna-dashboard's port (default: a free one).")
@click.option("--tensorboard-port", type=PORT, help="TensorBoard's (default: a free one).")
@click.option("--no-browser", is_flag=True, help="Do not open a browser.")
@TRUST
def dashboard(
    sweep: Path, port: int | None, tensorboard_port: int | None, no_browser: bool, trust: bool
) -> None:
    """Show a sweep in optuna-dashboard and TensorBoard, live, until Ctrl-C.

    Both can be reached from this machine only (127.0.0.1, or localhost through an ssh tunnel), and
    not by other sites' pages; neither can change the sweep.
    """
    from toprung.api import open_sweep
    from toprung.dashboards.servers import serving, watch

    opened = open_sweep(sweep, trust=trust)
    try:
        with serving(opened.folder, port, tensorboard_port) as servers:
            for server in servers:
                echo_line(f"{server.name:<18}{server.url}")
            click.echo("Ctrl-C ends both")
            if not no_browser and _has_desktop():
                _open_browser([server.url for server in servers])
            watch(servers)
    except KeyboardInterrupt:
        click.echo("ended")


def _has_desktop() -> bool:
    """Whether the command was started in a terminal on this machine's desktop."""
    is_unix = sys.platform not in ("darwin", "win32")
    has_screen = not is_unix or "DISPLAY" in os.environ or "WAYLAND_DISPLAY" in os.environ
    return has_screen and sys.stdout.isatty() and "SSH_CONNECTION" not in os.environ


def _open_browser(urls: list[str]) -> None:
    import webbrowser

    for url in urls:
        webbrowser.open(url)
