"""Whether the test set stayed sealed until the winner was selected, and every opening of it."""

from toprung.analysis.drawing.picture import Cell, Rows, table
from toprung.analysis.findings.results import Results
from toprung.analysis.models.intervals import share_interval
from toprung.analysis.seal.evidence import UnknownResult
from toprung.analysis.seal.openings import TestResult
from toprung.analysis.seal.optimism import optimism
from toprung.analysis.seal.words import earlier_in_words, reuse_in_words

_DIGEST = 8  # characters of a digest that are shown; the file has the whole digest


@table(
    title="The seal of the test set",
    caption=(
        "No trial has access to the test images. They are reserved for one model, the winner, "
        "after its selection. Every opening is recorded before the first image is read, and is "
        "checked against the predictions and against the ledgers of openings next to the sweep "
        "and in the user's state folder."
    ),
    sources=("sealed_test.json", "test_openings/*.json", "sweep.yaml", "study.db"),
)
def seal(results: Results) -> Rows:
    """Sentences: never opened, opened once for the winner, or whatever else happened."""
    return Rows(("what was done",), tuple((line,) for line in _sentences(results)))


@table(
    title="Openings of the test set",
    caption=(
        "The accuracy with its 95 % interval (Wilson, 1927). An opening is marked as forced if it "
        "was not the first, or if the trial was not the winner at the time. The digests of the "
        f"model's weights and of the test images are shortened to {_DIGEST} characters. An opening "
        "with an unknown result has no figures. `models` is the number of models that had been "
        "tested on any of these images by then, including this one; the best of so many models is "
        "expected to be optimistic by up to `optimism`: the expected maximum of that number of "
        "independent errors (David and Nagaraja, Order Statistics, 2003) with the standard error "
        "of the accuracy (Agresti and Coull, 1998). Errors of similar models are correlated, so "
        "this is an upper bound, "
        "unless models were made with test figures in mind (Dwork et al., 2015)."
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
    return Rows(columns, tuple(rows), {"best of them": "optimism"}) if rows else None


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
    no_figures = (None,) * 5
    at = opening.opened_at or None
    return (at, opening.trial, None, forced, *no_figures, weights, None, None, None)


def _sentences(results: Results) -> list[str]:
    if results.sweep.description.get("data", {}).get("num_test") == 0:
        return ["The data have no test set."]
    return [*_on_openings(results), *_on_reuse(results), *results.seal.remarks]


def _on_openings(results: Results) -> list[str]:
    unknown = [f"It was {one}." for one in results.seal.unknown]
    if not results.openings:
        return unknown or ["It was never opened: no model has been tested on the test set."]
    first, *others = results.openings
    sentences = [f"It was opened on {first.opened_at} for trial {first.trial}."]
    if others:
        trials = ", ".join(str(opening.trial) for opening in others)
        sentences.append(
            f"Further openings, all forced: {len(others)}, for trials {trials}. The more models "
            "have been tested on it, the less suitable its figures are for choosing among them."
        )
    sentences += unknown
    winner = results.winner
    if winner is None:
        return sentences
    if results.opening is None:
        sentences.append(
            f"The winner, trial {winner.number}, was not tested: it has no test figures."
        )
    else:
        sentences.append(f"The winner, trial {winner.number}, is a model that was tested.")
        if results.opening.forced:
            sentences.append("The opening for the winner was forced.")
    return sentences


def _on_reuse(results: Results) -> list[str]:
    """Other openings of these images, before and after; openings known to a warm start."""
    sentences = []
    if (opening := results.opening) is not None:
        if reuse := reuse_in_words(opening):
            sentences.append(f"{reuse}.")
        sentences += opening.earlier.remarks if opening.earlier else []
        sentences += _on_later_openings(results, opening)
    return sentences + _on_warm_start(results)


def _on_later_openings(results: Results, opening: TestResult) -> list[str]:
    history = results.seal.history
    images = history.set_of(opening.images)
    if images is None:
        return []
    now = history.earlier(images, opening.weights_sha256, but=opening.opening or "")
    if opening.earlier is not None and now.openings <= opening.earlier.openings:
        return []
    return [f"Apart from this opening, {earlier_in_words(now)} so far."]


def _on_warm_start(results: Results) -> list[str]:
    source = results.sweep.description.get("warm_start")
    if not isinstance(source, dict) or not source.get("test_openings"):
        return []
    return [
        f"The search began with the best configs of the sweep {source.get('sweep')}, whose test "
        f"set had been opened by then (openings: {source.get('test_openings')})."
    ]
