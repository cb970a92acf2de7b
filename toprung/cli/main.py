"""The command line: a thin layer over the Python interface.

Heavy packages are imported inside the commands, so that `toprung --help` responds at once.
"""

import io
import json
import re
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from toprung.cli.cluster import (
    ADDRESS,
    PYTHON,
    check_no_python,
    fetch,
    is_on_cluster,
    jobs,
    logs,
    status_on_cluster,
    stop,
    submit_command,
)
from toprung.cli.dashboard import dashboard
from toprung.cli.evaluate import evaluate
from toprung.cli.inspect import inspect
from toprung.cli.report import report, warn_if_partial
from toprung.cli.resume import GPUS_PER_TRIAL, finish, resume
from toprung.cli.sweep_argument import SWEEP_PLACE, TRUST
from toprung.console import echo_line
from toprung.secrecy.tracebacks import show_without_secrets
from toprung.trainables.system.secrecy import redacted
from toprung.trainables.system.terminal import print_only_printable

SWEEP = click.argument("sweep", type=SWEEP_PLACE)
TRIAL = click.option("--trial", type=int, help="Number of the trial to use (default: the winner).")


# Click would strip escape codes from output to a file or a pipe; they must be visible there too.
@click.group(context_settings={"help_option_names": ["-h", "--help"], "color": True})
@click.version_option(package_name="toprung")
def toprung() -> None:
    """Search for the best hyperparameters of image classifiers, with Ray Tune and Optuna."""


def _overrides(
    context: click.Context, parameter: click.Parameter, values: tuple[str, ...]
) -> dict[str, Any]:
    """Read `path=value` pairs; a value that is not JSON is a string."""
    del context, parameter
    overrides = {}
    for text in values:
        path, equals, value = text.partition("=")
        if not equals or not path:
            raise click.BadParameter(f"{text!r} must be path=value, such as optimizer/lr=0.01")
        if path in overrides:
            raise click.BadParameter(f"{path} is set twice")
        try:
            overrides[path] = json.loads(value, object_pairs_hook=_each_once)
        except (ValueError, RecursionError) as error:  # too many digits, too deep
            is_word = isinstance(error, json.JSONDecodeError) and not value.startswith(("[", "{"))
            if not is_word:
                raise click.BadParameter(f"{path}: is not valid JSON: {error}") from None
            overrides[path] = value
    return overrides


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) < len(pairs):
        raise ValueError("a key is given twice")
    return values


SET = click.option(
    "--set",
    "overrides",
    multiple=True,
    callback=_overrides,
    metavar="PATH=VALUE",
    help="Fix a parameter or setting, such as optimizer/lr=0.01; may be repeated.",
)
DATA = click.option("--data", help="A named data set, a folder of class folders, or a CSV file.")


@toprung.command()
@click.argument("space", required=False)
@click.option("--config", type=click.Path(path_type=Path), help="Train exactly this trial.yaml.")
@DATA
@click.option("--trials", type=int, help="How many configs to try.")
@click.option("--max-epochs", type=int, help="Most epochs of a trial.")
@click.option("--grace-epochs", type=int, help="Epochs before a trial can be stopped early.")
@click.option("--reduction-factor", type=int, help="ASHA: the best 1/R of a rung continue.")
@click.option("--time-budget", help="End the search after 90s, 15m, 2h …")
@click.option("--concurrency", type=int, help="Trials at a time (default: as many as fit).")
@click.option("--cpus-per-trial", type=int, help="CPUs, and threads, of a trial.")
@GPUS_PER_TRIAL
@SET
@click.option("--seed", type=int, help="Seed of every random choice in the sweep.")
@click.option("--sampler", help="tpe, random, grid or gp.")
@click.option("--trial-scheduler", help="asha or none.")
@click.option("--metric", help="Select by val_accuracy, val_mean_class_accuracy or val_loss.")
@click.option("--confirm", type=int, help="Train the best K again in full; 0: none.", metavar="K")
@click.option("--seeds", type=int, help="Fresh seeds for each of these (default: 3).", metavar="S")
@click.option("--trial-timeout", help="End a trial that has reported nothing for 10m, 2h …")
@click.option("--keep-checkpoints", type=int, help="Keep those of the best N (default: 5).")
@click.option(
    "--warm-start",
    metavar="SWEEP",
    help="Try another sweep's best configs first, and learn from its trials.",
)
@click.option(
    "--fresh-test", is_flag=True, help="Draw a test set of images that were not opened before."
)
@click.option("--storage", metavar="URL", help="Keep the study in this PostgreSQL database.")
@click.option("--skip-bad-images", is_flag=True, help="Leave out files that are not valid images.")
@click.option("--name", help="Name of the sweep (default: the space and the time).")
@click.option(
    "--out",
    default="sweeps",
    show_default=True,
    help="Folder, or URL (s3://…), in which the sweep's folder is created.",
)
@click.option(
    "--address",
    metavar="auto|HOST:6379|ray://…",
    help="Run the trials on this Ray cluster (default: on this machine).",
)
def run(
    space: str | None,
    overrides: dict[str, Any],
    skip_bad_images: bool,
    address: str | None,
    **given: Any,
) -> None:
    """Search SPACE, evaluate the best model once on the test set, and export it.

    SPACE is the name of a shipped space (see `toprung spaces`), a path/to/file.py or a
    package.module.
    """
    from toprung import api

    if skip_bad_images:
        overrides = {**overrides, "data/skip_bad_images": True}
    if address is not None and address.startswith("ray://"):
        from toprung.cluster.jobs.client_driver import run_there

        sys.exit(run_there(address, space, overrides, given))
    finish(api.run(space, overrides=overrides, address=address, **given))


@toprung.command()
def spaces() -> None:
    """List the shipped search spaces."""
    from toprung.search_spaces import load, shipped

    names = shipped()
    width = max(len(name) for name in names)
    for name in names:
        echo_line(f"{name:<{width}}  {load(name).description.splitlines()[0]}")


@toprung.command()
@click.argument("what", metavar="SPACE|CONFIG.yaml|EXPORT")
@DATA
@SET
@TRUST
def describe(what: str, data: str | None, overrides: dict[str, Any], trust: bool) -> None:
    """Show a network's layers, parameters and multiply-accumulates, and a space's parameters."""
    from toprung.cli import text_sweep
    from toprung.cli.description import describe as describe_it

    described = describe_it(what, data=data, overrides=overrides, trust=trust)
    click.echo(text_sweep.description(described))


@toprung.command()
@click.argument("sweep")
@ADDRESS
@PYTHON
@TRUST
def status(sweep: str, address: str | None, python: str | None, trust: bool) -> None:
    """Show a sweep's progress; on a cluster, SWEEP is its folder, its name or its job."""
    from toprung.api import open_sweep
    from toprung.cli import text_sweep

    if address is not None or is_on_cluster(sweep, address):
        click.echo(status_on_cluster(sweep, address, python, trust=trust))
        return
    check_no_python(python)
    click.echo(text_sweep.status(open_sweep(sweep, trust=trust)))


@toprung.command()
@SWEEP
@TRUST
def best(sweep: Path, trust: bool) -> None:
    """Show the best trial so far: its figures, and its config as YAML."""
    from toprung.api import open_sweep
    from toprung.cli import text_sweep

    opened = open_sweep(sweep, trust=trust)
    click.echo(text_sweep.best(opened, opened.best()))


@toprung.command()
@click.argument("sweeps", nargs=-1, required=True, type=SWEEP_PLACE)
@click.option(
    "--by",
    multiple=True,
    metavar="PATH",
    help="A setting, such as model/freeze_policy; may be repeated; optional for several SWEEPS.",
)
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@TRUST
def compare(sweeps: tuple[Path, ...], by: tuple[str, ...], as_json: bool, trust: bool) -> None:
    """Compare a setting's values, or SWEEPS: best, spread, gaps, and test figures, if there are."""
    from toprung.analysis.findings.comparison import compare_sweeps
    from toprung.analysis.sweep_folder.files import json_text
    from toprung.api import open_sweep
    from toprung.cli import text_sweep

    if len(sweeps) == 1 and not by:
        raise click.UsageError("give --by, such as --by model/freeze_policy, or a second sweep")
    compared = compare_sweeps([open_sweep(sweep, trust=trust) for sweep in sweeps], by)
    if not as_json:
        click.echo(text_sweep.comparison(compared))
        return
    names = compared.columns
    rows = [
        dict(zip(names, group.values, strict=True)) | group.figures for group in compared.groups
    ]
    click.echo(json_text(rows), nl=False)
    for warning in compared.warnings:
        echo_line(f"warning: {warning}", err=True)


@toprung.command()
@SWEEP
@click.option("--to", type=click.Path(path_type=Path), help="Folder (default: SWEEP/best).")
@TRIAL
@click.option(
    "--format", "formats", multiple=True, metavar="onnx", help="Write and check model.onnx as well."
)
@click.option("--force", is_flag=True, help="Overwrite another model's export in --to.")
@TRUST
def export(
    sweep: Path,
    to: Path | None,
    trial: int | None,
    formats: tuple[str, ...],
    force: bool,
    trust: bool,
) -> None:
    """Export the winner: weights, config, class names, preprocessing, figures, model card."""
    from toprung.analysis.exporting.export import trial_of_export
    from toprung.api import open_sweep

    opened = open_sweep(sweep, trust=trust)
    before = trial_of_export(opened.folder.best)
    folder = opened.export(to, trial, formats=formats, force=force)
    after = trial_of_export(folder)
    if folder == opened.folder.best and before not in (None, after):
        echo_line(f"the winner has changed: {folder} held trial {before}, now trial {after}")
    echo_line(f"exported to {folder}")
    warn_if_partial(opened)


@toprung.command()
@SWEEP
@TRIAL
@click.option("--force", is_flag=True, help="Open the test set for a second model as well.")
@TRUST
def test(sweep: Path, trial: int | None, force: bool, trust: bool) -> None:
    """Open the sealed test set for the winner, once."""
    from toprung.api import open_sweep
    from toprung.cli import text_sweep

    opened = open_sweep(sweep, trust=trust)
    for line in text_sweep.test(opened.test(trial, force=force), opened):
        echo_line(line)


@toprung.command()
@click.argument("model", type=click.Path(path_type=Path))
@click.argument("images", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--top", default=5, show_default=True, type=click.IntRange(min=1))
def predict(model: Path, images: tuple[Path, ...], top: int) -> None:
    """Classify IMAGES with an exported MODEL: the most probable classes."""
    from toprung.analysis.models.export_files import WEIGHTS_FILE
    from toprung.analysis.models.model import load_model
    from toprung.analysis.provenance.named_images import of_sealed_test

    loaded = load_model(model)
    predictions = [loaded.predict(image, top) for image in images]
    if sealed := of_sealed_test(model, WEIGHTS_FILE, images):
        echo_line(f"warning: {sealed}", err=True)
    for image, classes in zip(images, predictions, strict=True):
        echo_line(image)
        for name, probability in classes:
            echo_line(f"  {probability:6.1%}  {name}")


@toprung.command()
def checks() -> None:
    """Check this machine, and report what it has and what is a problem."""
    from toprung.cluster.machine_checks import run_checks

    results = run_checks()
    for check in results:
        mark = "PROBLEM" if check.problem else "ok"
        echo_line(f"{mark:<8} {check.name:<12} {check.found}")
        if check.problem:
            echo_line(f"         {'':<12} {check.problem}")
    if any(check.problem for check in results):
        sys.exit(1)


toprung.add_command(resume)
for command in (submit_command(run), jobs, logs, stop, fetch):
    toprung.add_command(command)
toprung.add_command(evaluate)
toprung.add_command(inspect)
toprung.add_command(dashboard)
toprung.add_command(report)


def main() -> None:
    """The command `toprung`: user errors become one clear message and exit code 2."""
    if isinstance(sys.stdout, io.TextIOWrapper):  # a terminal's encoding may lack characters
        sys.stdout.reconfigure(errors="backslashreplace")
    print_only_printable()
    show_without_secrets()
    sys.exit(_exit_code(lambda: toprung.main(standalone_mode=False)))


def _exit_code(command: Callable[[], Any]) -> int:
    # As with Ctrl-C, so that half-written files are removed on the way out.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        command()
    except click.exceptions.Exit as error:
        return error.exit_code
    except click.Abort:  # click raises it for a KeyboardInterrupt
        return _interrupted()
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except KeyboardInterrupt:
        return _interrupted()
    except SystemExit as error:
        if error.code == signal.SIGTERM:  # from Ray's signal handler during its start
            return _interrupted()
        raise
    except OSError as error:
        _show_error(error)
        return 2
    except ValueError as error:
        from toprung.errors import USER_ERRORS

        if not isinstance(error, USER_ERRORS):
            raise
        _show_error(error)
        return getattr(error, "exit_code", 2)
    return 0


def _show_error(error: Exception) -> None:
    """Show an error; its further lines are indented, so that none looks like another message."""
    text = redacted(str(error)) or type(error).__name__  # a TimeoutError may have no text
    message = re.sub(r"\n(?! )", "\n  ", text)
    click.echo(f"error: {message}", err=True, color=True)


def _interrupted() -> int:
    from toprung.errors import NOT_FINISHED

    click.echo("interrupted at once; resume a sweep whose trials had started: toprung resume SWEEP")
    return NOT_FINISHED
