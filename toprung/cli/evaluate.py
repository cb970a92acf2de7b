"""The command `toprung evaluate`."""

from pathlib import Path

import click

from toprung.cli.sweep_argument import SWEEP_PLACE, TRUST, trust_sweep
from toprung.console import echo_line


@click.command()
@click.argument("model", type=SWEEP_PLACE)
@click.argument("data")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@click.option(
    "--to", type=click.Path(path_type=Path), help="Folder for predictions, figures and pictures."
)
@click.option("--skip-bad-images", is_flag=True, help="Leave out files that are not valid images.")
@TRUST
def evaluate(
    model: Path, data: str, as_json: bool, to: Path | None, skip_bad_images: bool, trust: bool
) -> None:
    """Evaluate MODEL on labelled images, DATA, that are not in its sealed test set.

    MODEL is the folder of an exported model, or of a sweep (for its winner). DATA is a folder of
    class folders, a CSV file or a named data set; all its images are used, whatever their split.
    """
    from toprung.analysis.evaluating.evaluation import evaluate as evaluate_it
    from toprung.analysis.evaluating.evaluation_folder import prepare_folder, write_evaluation
    from toprung.analysis.sweep_folder.files import json_text
    from toprung.cli import text_scores

    if trust:
        trust_sweep(model)
    if to is not None:
        prepare_folder(to)
    evaluation = evaluate_it(
        model, data, skip_bad_images=skip_bad_images, show_progress=True, trust=trust
    )
    if to is not None:
        write_evaluation(evaluation, to)
    if as_json:
        click.echo(json_text(evaluation.as_plain()), nl=False)
        return
    click.echo(text_scores.evaluation(evaluation))
    if to is not None:
        echo_line(f"written to {to}")
