"""Writing an evaluation to a folder: predictions, figures and pictures."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

from matplotlib.figure import Figure

from toprung.analysis.drawing.shown_images import draw_mistakes, draw_random
from toprung.analysis.drawing.style import as_png, styled
from toprung.analysis.evaluating.evaluation import Evaluation
from toprung.analysis.models.predictions import save_predictions
from toprung.analysis.models.scores import Scores
from toprung.analysis.pictures.classification import draw_calibration, draw_confusion, draw_rocs
from toprung.analysis.sweep_folder.files import is_empty, json_text, write_atomically
from toprung.analysis.sweep_folder.folder import SweepFolderError

PREDICTIONS_FILE = "predictions.npz"
FIGURES_FILE = "figures.json"


def prepare_folder(to: Path) -> None:
    """Create the folder for an evaluation, so that problems with it appear before the evaluation.

    Raises:
        SweepFolderError: if the folder holds something else, or cannot be created.
    """
    try:
        to.mkdir(parents=True, exist_ok=True)
        holds_something = not is_empty(to)
    except OSError as error:
        raise SweepFolderError(f"{to}: cannot be written: {error.strerror}") from None
    if holds_something and not (to / PREDICTIONS_FILE).exists():
        raise SweepFolderError(f"{to}: holds something else; choose an empty folder (--to)")


def write_evaluation(evaluation: Evaluation, to: Path) -> None:
    """Write an evaluation into a folder; an earlier one there is replaced.

    Raises:
        SweepFolderError: if it cannot be written.
    """
    drawings = _drawings(evaluation)
    try:
        # So that a killed process leaves no figure or picture of an earlier evaluation.
        for name in (FIGURES_FILE, *(f"{name}.png" for name in drawings)):
            (to / name).unlink(missing_ok=True)
        save_predictions(to / PREDICTIONS_FILE, evaluation.predictions)
        for name, draw in drawings.items():
            with styled():
                figure = draw()
            if figure is not None:
                write_atomically(to / f"{name}.png", as_png(figure))
        write_atomically(to / FIGURES_FILE, json_text(evaluation.as_plain()))
    except OSError as error:
        raise SweepFolderError(f"{to}: cannot be written: {error.strerror}") from None


def _drawings(evaluation: Evaluation) -> dict[str, Callable[[], Figure | None]]:
    scores, predictions = Scores(evaluation.predictions), evaluation.predictions
    return {
        "confusion": partial(draw_confusion, scores),
        "rocs": partial(draw_rocs, scores),
        "calibration": partial(draw_calibration, scores),
        "random_images": partial(draw_random, predictions),
        "mistakes": partial(draw_mistakes, predictions),
    }
