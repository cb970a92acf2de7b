"""Whether the test set was kept shut until the winner was known, and what was seen of it."""

from analysis.intervals import share_interval
from analysis.openings import TestResult
from analysis.pictures.picture import Cell, Rows, table
from analysis.results import Results

_DIGEST = 12  # characters that are shown of one; the file has them all


@table(
    title="The seal of the test set",
    caption=(
        "No trial is given the test images. They are for one model, the winner, after it was "
        "selected; every opening is written down."
    ),
    sources=("sealed_test.json", "sweep.yaml", "study.db"),
)
def seal(results: Results) -> Rows:
    """In words: never opened, opened once for the winner, or what else happened."""
    return Rows(("what was done",), tuple((line,) for line in _told(results)))


@table(
    title="Openings of the test set",
    caption=(
        "The accuracy with its 95 % interval (Wilson, 1927). An opening is marked as forced if it "
        "was not the first, or the trial was not the winner then. The digests are the first "
        f"{_DIGEST} characters of those in the file: of the model's weights, and of the test "
        "images."
    ),
    sources=("sealed_test.json", "study.db"),
)
def openings(results: Results) -> Rows | None:
    """Every opening, in order; None if there was none."""
    columns = (
        "opened at",
        "trial",
        "the winner",
        "forced",
        "accuracy",
        "95 % from",
        "to",
        "loss",
        "images",
        "weights",
        "test images",
    )
    rows = tuple(_row(opening, results) for opening in results.openings)
    return Rows(columns, rows) if rows else None


def _row(opening: TestResult, results: Results) -> tuple[Cell, ...]:
    low, high = share_interval(round(opening.accuracy * opening.num_images), opening.num_images)
    return (
        opening.opened_at,
        opening.trial,
        "yes" if opening == results.opening else "no",
        "yes" if opening.forced else "no",
        opening.accuracy,
        low,
        high,
        opening.loss,
        opening.num_images,
        opening.weights_sha256[:_DIGEST],
        opening.test_data_sha256[:_DIGEST],
    )


def _told(results: Results) -> list[str]:
    if results.sweep.description.get("data", {}).get("num_test") == 0:
        return ["The data have no test set."]
    if not results.openings:
        return ["It was never opened: nothing is known of the test set."]
    first, *others = results.openings
    told = [f"It was opened on {first.opened_at} for trial {first.trial}."]
    if others:
        trials = ", ".join(str(opening.trial) for opening in others)
        told.append(
            f"It was opened {len(others)} more times, by force, for trials {trials}: the more "
            "models have seen it, the less its figures are worth for choosing one of them."
        )
    winner = results.winner
    if winner is None:
        return told
    if results.opening is None:
        told.append(f"The winner, trial {winner.number}, was not tested: it has no test figures.")
    else:
        told.append(f"The winner, trial {winner.number}, is a model that was tested.")
        if results.opening.forced:
            told.append("The winner's own opening was forced.")
    return told
