"""Whether the test set was kept shut until the winner was known, and what was seen of it."""

from toprung.analysis.drawing.picture import Cell, Rows, table
from toprung.analysis.findings.results import Results
from toprung.analysis.models.intervals import share_interval
from toprung.analysis.seal.evidence import UnknownResult
from toprung.analysis.seal.openings import TestResult
from toprung.analysis.seal.optimism import optimism
from toprung.analysis.seal.words import earlier_in_words, reuse_in_words

_DIGEST = 8  # characters that are shown of one; the file has them all


@table(
    title="The seal of the test set",
    caption=(
        "No trial is given the test images. They are for one model, the winner, after it was "
        "selected; every opening is recorded before the first image is read, and held against the "
        "predictions and the ledgers of openings beside the sweep and in the user's state folder."
    ),
    sources=("sealed_test.json", "test_openings/*.json", "sweep.yaml", "study.db"),
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
        "images. Of an opening whose result is not known there are no figures. `models` have been "
        "opened on any of these images by then, this one among them, and the best of them is "
        "expected to be optimistic by up to `best of them`: the expected maximum of as many "
        "independent errors (David and Nagaraja, Order Statistics, 2003) with the accuracy's "
        "standard error. Errors of models that resemble each other are correlated, so it is an "
        "upper bound, unless models were made with test figures in mind (Dwork et al., 2015)."
    ),
    sources=("sealed_test.json", "test_openings/*.json", "study.db"),
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
        "models",
        "best of them",
    )
    rows = [_row(opening, results) for opening in results.openings]
    rows += [_row_of_unknown(one) for one in results.seal.unknown]
    return Rows(columns, tuple(rows)) if rows else None


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
        opening.num_models if opening.earlier else None,
        optimism(opening.accuracy, opening.num_images, opening.num_models)
        if opening.earlier
        else None,
    )


def _row_of_unknown(opening: UnknownResult) -> tuple[Cell, ...]:
    forced = None if opening.intent is None else "yes" if opening.intent.forced else "no"
    weights = opening.weights_sha256[:_DIGEST] or None
    nothing = (None,) * 5
    at = opening.opened_at or None
    return (at, opening.trial, None, forced, *nothing, weights, None, None, None)


def _told(results: Results) -> list[str]:
    if results.sweep.description.get("data", {}).get("num_test") == 0:
        return ["The data have no test set."]
    return [*_told_of_openings(results), *_told_of_reuse(results), *results.seal.remarks]


def _told_of_openings(results: Results) -> list[str]:
    unknown = [f"It was {one}." for one in results.seal.unknown]
    if not results.openings:
        return unknown or ["It was never opened: nothing is known of the test set."]
    first, *others = results.openings
    told = [f"It was opened on {first.opened_at} for trial {first.trial}."]
    if others:
        trials = ", ".join(str(opening.trial) for opening in others)
        told.append(
            f"It was opened {len(others)} more times, by force, for trials {trials}: the more "
            "models have seen it, the less its figures are worth for choosing one of them."
        )
    told += unknown
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


def _told_of_reuse(results: Results) -> list[str]:
    """What else was opened of these images, before and since; what the search began with."""
    told = []
    if (opening := results.opening) is not None:
        if reuse := reuse_in_words(opening):
            told.append(f"{reuse}.")
        told += opening.earlier.remarks if opening.earlier else []
        told += _told_of_since(results, opening)
    return told + _told_of_warm_start(results)


def _told_of_since(results: Results, opening: TestResult) -> list[str]:
    history = results.seal.history
    images = history.set_of(opening.images)
    if images is None:
        return []
    now = history.earlier(images, opening.weights_sha256, but=opening.opening or "")
    if opening.earlier is not None and now.openings <= opening.earlier.openings:
        return []
    return [f"By now {earlier_in_words(now)} besides."]


def _told_of_warm_start(results: Results) -> list[str]:
    said = results.sweep.description.get("warm_start")
    if not isinstance(said, dict) or not said.get("test_openings"):
        return []
    return [
        f"The search began with the best configs of the sweep {said.get('sweep')}, whose test set "
        f"had been opened by then (openings: {said.get('test_openings')})."
    ]
