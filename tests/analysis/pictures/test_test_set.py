"""The pictures of labelled images: what they say, for few and many classes and for odd names."""

import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure

from tests.support.simulated_sweep import Simulated, simulated_sweep
from toprung.analysis.drawing.picture import Rows, parts_in
from toprung.analysis.drawing.shown_images import draw_mistakes, draw_random, tile
from toprung.analysis.drawing.style import as_png, styled
from toprung.analysis.findings.results import Results
from toprung.analysis.models.predictions import Predictions, collect, save_predictions
from toprung.analysis.models.scores import Scores
from toprung.analysis.pictures import duplicates, seal, test_set
from toprung.analysis.pictures.classification import draw_calibration, draw_confusion, draw_rocs
from toprung.analysis.seal.openings import TestResult
from toprung.analysis.sweep import Sweep

HOSTILE = (
    "<script>alert(1)</script>",
    "_hidden",
    "$x^$",
    'a "b" & c',
    "حصان",
    "line\nbreak",
    "x" * 300,
)


def drawn(
    num_classes: int, *, channels: int = 3, signal: float = 2.5, side: int = 8
) -> Predictions:
    rng = np.random.default_rng(1)
    num_images = 20 * num_classes
    names = tuple(f"class {k}" for k in range(num_classes))
    labels_N = np.arange(num_images) % num_classes
    logits_NK = rng.normal(size=(num_images, num_classes))
    logits_NK[np.arange(num_images), labels_N] += signal
    return collect(
        logits_NK.astype(np.float32),
        labels_N,
        rng.integers(0, 256, (num_images, side, side, channels)).astype(np.uint8),
        tuple(f"{n}.png" for n in range(num_images)),
        HOSTILE if num_classes == len(HOSTILE) else names,
        ((0.5,) * channels, (0.25,) * channels),
        seed=2,
    )


def texts(figure: Figure) -> list[str]:
    """All that is written in the axes, their titles and the legends."""
    written = [text.get_text() for axes in figure.axes for text in axes.texts]
    written += [axes.get_title(loc="left") for axes in figure.axes]
    return written + [text.get_text() for legend in figure.legends for text in legend.texts]


def finished(figure: Figure | None) -> Figure:
    """The figure, after it was really drawn."""
    assert figure is not None
    assert as_png(figure).startswith(b"\x89PNG")
    return figure


@pytest.fixture(autouse=True)
def _in_style() -> Iterator[None]:
    with styled():
        yield


class TestConfusion:
    @pytest.mark.parametrize("num_classes", [2, 7, 20])
    def test_of_few_classes_has_every_number(self, num_classes: int) -> None:
        scores = Scores(drawn(num_classes))
        written = texts(finished(draw_confusion(scores)))
        assert sum(int(text) for text in written if text) == len(scores.predictions.labels_N)
        assert len([text for text in written if text]) == (scores.confusion_KK > 0).sum()

    def test_of_200_classes_names_some(self) -> None:
        figure = finished(draw_confusion(Scores(drawn(200, signal=5))))
        labels = [label.get_text() for label in figure.axes[0].get_yticklabels()]
        assert 20 <= len(labels) <= 25
        assert labels[0] == "class 0"
        assert not any(texts(figure))
        assert max(figure.get_size_inches()) < 9

    def test_hostile_names_are_cut_to_one_line(self) -> None:
        figure = finished(draw_confusion(Scores(drawn(7))))
        labels = [label.get_text() for label in figure.axes[0].get_xticklabels()]
        assert len(labels) == 7
        assert labels[1] == "_hidden"
        assert all(len(label) <= 16 and "\n" not in label for label in labels)


class TestRocs:
    def test_of_few_classes_all_are_named(self) -> None:
        scores = Scores(drawn(7))
        legend = texts(finished(draw_rocs(scores)))
        named = [text for text in legend if "(AUC" in text]
        assert len(named) == 8
        assert any(text.startswith(" _hidden (AUC ") for text in named)
        assert named[-1] == f"macro average of 7 (AUC {scores.macro_auc.value:.4f})"

    def test_of_many_the_worst_five_are_named(self) -> None:
        scores = Scores(drawn(40))
        named = [text for text in texts(finished(draw_rocs(scores))) if "(AUC" in text]
        areas = sorted((roc.auc, roc.name) for roc in scores.rocs if roc)
        assert named[:-1] == [f"{name} (AUC {area:.4f})" for area, name in areas[:5]]

    def test_none_without_a_curve(self) -> None:
        of = drawn(2)
        one_class = collect(
            of.logits_NK,
            np.zeros_like(of.labels_N),
            np.zeros((40, 2, 2, 1), np.uint8),
            of.names,
            of.class_names,
            (of.mean, of.std),
            0,
        )
        assert draw_rocs(Scores(one_class)) is None
        finished(draw_confusion(Scores(one_class)))


def test_calibration_tells_its_error_and_counts() -> None:
    scores = Scores(drawn(7))
    figure = finished(draw_calibration(scores))
    written = texts(figure)
    assert any(f"error {scores.reliability.error:.4f}" in text for text in written)
    counts = [int(text.replace(",", "")) for text in written if text.replace(",", "").isdigit()]
    assert sum(counts) == len(scores.predictions.labels_N)


class TestImages:
    @pytest.mark.parametrize("channels", [1, 3])
    def test_random_ones_with_sign_and_colour(self, channels: int) -> None:
        of = drawn(10, channels=channels)
        (axes,) = finished(draw_random(of)).axes
        assert len(axes.images) == 30
        signs = {
            text.get_text()[0]: text.get_color()
            for text in axes.texts
            if text.get_text()[0] in "✓✗"
        }
        assert len(set(signs.values())) == 2
        right = sum(text.get_text().startswith("✓ ") for text in axes.texts)
        assert right == (of.predicted_N == of.labels_N)[of.random].sum()

    def test_mistakes_with_truth_and_three_guesses(self) -> None:
        of = drawn(10)
        (axes,) = finished(draw_mistakes(of)).axes
        written = [text.get_text().replace("\u200e", "") for text in axes.texts]
        index = of.wrong[0]
        assert len(axes.images) == len(of.wrong)
        assert written[0] == f"is {of.class_names[of.labels_N[index]]}"
        guesses = [f"{share:.1%}".replace("%", " %") + f" {name}" for name, share in of.top(index)]
        assert written[2:5] == [f"✗ {guesses[0]}", *guesses[1:]]

    def test_no_mistakes_no_picture(self) -> None:
        assert draw_mistakes(drawn(3, signal=99)) is None

    def test_hostile_names(self) -> None:
        finished(draw_random(drawn(7)))
        finished(draw_mistakes(drawn(7)))

    def test_small_images_keep_their_pixels(self) -> None:
        pixels_HWC = np.arange(64, dtype=np.uint8).reshape(8, 8, 1)
        shown = tile(pixels_HWC, side=1.0)
        times = len(shown) // 8
        assert shown.shape == (144, 144, 3)
        assert (shown == pixels_HWC.repeat(times, 0).repeat(times, 1)).all()

    def test_large_and_oblong_images_are_made_to_fit(self) -> None:
        assert tile(np.zeros((400, 200, 3), np.uint8), side=0.5).shape == (72, 36, 3)


def opening(trial: int, *, forced: bool = False) -> TestResult:
    """An opening of the test set with the figures of `drawn(7)`."""
    scores = Scores(drawn(7))
    assert scores.accuracy.value is not None
    assert scores.loss.value is not None
    return TestResult(
        trial=trial,
        weights_sha256="ab" * 32,
        accuracy=scores.accuracy.value,
        loss=scores.loss.value,
        num_images=140,
        test_data_sha256="cd" * 16,
        opened_at="2026-01-01T12:00:00+00:00",
        forced=forced,
    )


def opened(results: Results, *openings: TestResult) -> Results:
    """The same sweep with these openings of its test set."""
    folder = results.sweep.folder
    folder.sealed_test.write_text(json.dumps([asdict(opening) for opening in openings]))
    for opening in openings:
        save_predictions(folder.test_predictions(opening.trial), drawn(7))
    return Results(Sweep(folder.path))


@pytest.fixture
def unopened(tmp_path: Path) -> Results:
    """A sweep whose winner is trial 1."""
    return simulated_sweep(tmp_path / "s", [Simulated([0.4, 0.6]), Simulated([0.5, 0.7])])


@pytest.fixture
def results(unopened: Results) -> Results:
    return opened(unopened, opening(1))


class TestOfASweep:
    def test_every_part_is_there_and_traced_to_files(self, results: Results) -> None:
        for part in parts_in(test_set):
            content = part(results)
            assert (content is None) == (part.name == "test_confused"), part.name
            assert part.sources == test_set.SOURCES

    def test_nothing_before_the_test_set_is_opened(self, unopened: Results) -> None:
        assert [part(unopened) for part in parts_in(test_set)] == [None] * 8

    def test_the_figures_are_those_of_the_opening(self, results: Results) -> None:
        rows = _rows(test_set.test_figures(results))
        assert results.opening is not None
        assert [row[1] for row in rows[:2]] == [results.opening.accuracy, results.opening.loss]

    def test_a_row_for_each_class(self, results: Results) -> None:
        rows = _rows(test_set.test_classes(results))
        assert tuple(row[0] for row in rows) == HOSTILE
        assert [row[1] for row in rows] == [20] * 7


class TestSeal:
    def test_opened_once_for_the_winner(self, results: Results) -> None:
        told = [row[0] for row in _rows(seal.seal(results))]
        assert told == [
            "It was opened on 2026-01-01T12:00:00+00:00 for trial 1.",
            "The winner, trial 1, is a model that was tested.",
        ]
        (row,) = _rows(seal.openings(results))
        assert row[1:5] == (1, "yes", "no", opening(1).accuracy)

    def test_never_opened(self, unopened: Results) -> None:
        ((told,),) = _rows(seal.seal(unopened))
        assert told == "It was never opened: no model has been tested on the test set."
        assert seal.openings(unopened) is None

    def test_for_another_model_than_the_winner(self, unopened: Results) -> None:
        other = opened(unopened, opening(0, forced=True))
        told = [row[0] for row in _rows(seal.seal(other))]
        assert told[1] == "The winner, trial 1, was not tested: it has no test figures."
        assert [part(other) for part in parts_in(test_set)] == [None] * 8

    def test_forced_open_again(self, unopened: Results) -> None:
        both = opened(unopened, opening(0), opening(1, forced=True))
        told = [str(row[0]) for row in _rows(seal.seal(both))]
        assert told[1].startswith("Further openings, all forced: 1, for trials 1.")
        assert told[-1] == "The opening for the winner was forced."
        assert [row[2:4] for row in _rows(seal.openings(both))] == [("no", "no"), ("yes", "yes")]

    def test_no_test_set(self, unopened: Results, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(unopened.sweep, "description", {"data": {"num_test": 0}})
        assert _rows(seal.seal(unopened)) == (("The data have no test set.",),)


class TestDuplicatesTable:
    @pytest.mark.parametrize(("count", "share"), [(0, 0), (3, 0.03)])
    def test_counts(
        self, count: int, share: float, results: Results, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        names = ("contents", "images", "train", "validation", "test")
        counts = dict.fromkeys(names, 0) | {
            "validation_in_train": 0,
            "test_in_train": count,
            "test_in_validation": 0,
            "with_other_labels": 0,
        }
        data = {"num_train": 200, "num_validation": 50, "num_test": 100, "duplicates": counts}
        monkeypatch.setattr(results.sweep, "description", {"data": data})
        rows = _rows(duplicates.duplicates(results))
        assert rows[0] == ("test images that are also training images", count, share)
        assert [row[1] for row in rows[1:]] == [0] * 6

    def test_a_sweep_that_did_not_count(
        self, unopened: Results, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(unopened.sweep, "description", {"data": {"num_test": 9}})
        assert duplicates.duplicates(unopened) is None


def _rows(rows: Rows | None) -> tuple[tuple[str | int | float | bool | None, ...], ...]:
    assert rows is not None
    return rows.rows
