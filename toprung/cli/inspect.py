"""The command `toprung inspect`."""

import json
from pathlib import Path

import click

from toprung.cli.sweep_argument import SWEEP_PLACE, TRUST, trust_sweep
from toprung.console import echo_line, joined


def _numbers(
    context: click.Context, parameter: click.Parameter, text: str | None
) -> tuple[int, ...] | None:
    del context, parameter
    if text is None:
        return None
    numbers = text.split(",")
    if not all(number.strip().isdecimal() for number in numbers):
        raise click.BadParameter(f"{text!r} must be numbers from 0, such as 0,3,7")
    return tuple(int(number) for number in numbers)


@click.command()
@click.argument("model", type=SWEEP_PLACE)
@click.argument("image", type=click.Path(path_type=Path))
@click.option(
    "--layer",
    "layers",
    multiple=True,
    metavar="PATH",
    help="A layer, as listed by `toprung describe`; may be repeated (default: the first and the "
    "last convolution).",
)
@click.option(
    "--neurons",
    callback=_numbers,
    metavar="0,3,7",
    help="Channels of the last of these layers, for guided backpropagation (default: the 10 with "
    "the strongest response).",
)
@click.option("--top", default=5, show_default=True, type=click.IntRange(min=1))
@click.option(
    "--to",
    type=click.Path(path_type=Path),
    help="New or empty folder for the pictures (default: inspect-IMAGE in the current folder; with "
    "--json, no pictures).",
)
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@TRUST
def inspect(
    model: Path,
    image: Path,
    layers: tuple[str, ...],
    neurons: tuple[int, ...] | None,
    top: int,
    to: Path | None,
    as_json: bool,
    trust: bool,
) -> None:
    """Show how MODEL classifies IMAGE: classes, filters, activation maps, guided gradients.

    MODEL is the folder of an exported model, or of a sweep (for its winner).
    """
    from toprung.analysis.drawing.style import short
    from toprung.analysis.inside_model import inspection
    from toprung.analysis.models.export_files import WEIGHTS_FILE
    from toprung.analysis.provenance.named_images import of_sealed_test
    from toprung.cli.text_scores import MAX_NAME
    from toprung.cli.text_sweep import table

    if trust:
        trust_sweep(model)
    if as_json and to is None:
        if layers or neurons is not None:
            raise click.UsageError(
                "--layer and --neurons apply to the pictures, which --json draws only into a "
                "folder: give --to FOLDER"
            )
        alone = inspection.classes_alone(model, image, top, trust=trust)
        _warn(of_sealed_test(model, WEIGHTS_FILE, [image]))
        click.echo(json.dumps(alone.as_plain() | {"pictures": {}}, indent=2))
        return
    folder = to or Path(f"inspect-{image.stem}")
    inspection.check_place(folder)
    found = inspection.inspect(model, image, layers, neurons, top, trust=trust)
    pictures = inspection.write_figures(found, folder)
    _warn(of_sealed_test(model, WEIGHTS_FILE, [image]))
    if as_json:
        paths = {name: str(path) for name, path in pictures.items()}
        click.echo(json.dumps(found.as_plain() | {"pictures": paths}, indent=2))
        return
    rows = [(short(name, MAX_NAME), f"{share:.1%}") for name, share in found.classes]
    click.echo(joined(table([("class", "probability"), *rows], num_left=1)))
    for remark in found.remarks:
        echo_line(f"note: {remark}")
    click.echo("pictures:")
    for path in pictures.values():
        echo_line(f"  {path}")


def _warn(sealed: str) -> None:
    """Warn if the image is in the sealed test set."""
    if sealed:
        echo_line(f"warning: {sealed}", err=True)
