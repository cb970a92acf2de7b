"""The report of a sweep: its answer, its tables, its files; how it looks is seen in a browser."""

import base64
import json
import shutil
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from click.testing import CliRunner
from matplotlib.figure import Figure

from tests.support.hostile_sweep import CLASSES, REASON, SCRIPT, hostile_sweep
from tests.support.simulated_sweep import Simulated, simulated_sweep
from toprung.analysis.drawing.picture import Rows, parts_in, picture
from toprung.analysis.drawing.style import ACCENT, INK, new_figure, short, styled
from toprung.analysis.findings.results import Results
from toprung.analysis.models.intervals import share_interval
from toprung.analysis.report import answer, how_it_ran
from toprung.analysis.report.cells import numeric_columns, texts
from toprung.analysis.report.page import FIGURES_FILE, PAGE_FILE
from toprung.analysis.report.sections import SECTIONS
from toprung.analysis.report.svg import as_svg
from toprung.analysis.sweep import Sweep
from toprung.analysis.sweep_folder import attributes
from toprung.analysis.sweep_folder.folder import SweepFolderError
from toprung.analysis.sweep_folder.user_state import STATE_VARIABLE
from toprung.cli.report import report


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TOPRUNG_CACHE_DIR", str(tmp_path_factory.mktemp("cache")))
        return hostile_sweep(tmp_path_factory.mktemp("sweeps")).folder.path


@pytest.fixture
def results(made: Path) -> Results:
    """A sweep that is not to be written to."""
    return Results(Sweep(made))


@pytest.fixture
def sweep(made: Path, tmp_path: Path) -> Sweep:
    """A copy, for one test to change."""
    return Sweep(shutil.copytree(made, tmp_path / "copy"))


def a_few(path: Path, **settings: Any) -> Results:
    trials = [Simulated([0.5, 0.75]), Simulated([0.25], attributes.STOPPED_EARLY)]
    return simulated_sweep(path, trials, **settings)


class TestTheAnswer:
    def test_the_figures_are_those_of_the_files(self, results: Results) -> None:
        test, winner = results.opening, results.winner
        assert test is not None
        assert winner is not None
        assert winner.best is not None
        facts = {fact.label: fact for fact in answer.headline(results)}
        assert facts["test accuracy"].value == test.accuracy
        assert facts["validation accuracy"].value == winner.best.val_accuracy
        low, high = share_interval(round(test.accuracy * 16), 16)
        note = f"95 % interval {low:.4f} to {high:.4f}, 16 images"
        assert facts["test accuracy"].note == note
        assert facts["trials"].value == 3
        assert facts["trials"].note == "1 failed, 1 finished, 1 stopped early"

    def test_gaps_are_what_is_lost_from_row_to_row(self, results: Results) -> None:
        rows = answer.figures(results)
        assert rows is not None
        training, validation, gap, test, test_gap = rows.rows
        accuracy, loss = rows.columns.index("accuracy"), rows.columns.index("loss")
        assert [row[0] for row in rows.rows][::3] == ["training", "test"]
        for above, below, lost in ((training, validation, gap), (validation, test, test_gap)):
            assert lost[accuracy] == above[accuracy] - below[accuracy]  # type: ignore[operator]
            assert lost[loss] == below[loss] - above[loss]  # type: ignore[operator]

    def test_mean_class_accuracy_is_scikit_learn_s(self, results: Results) -> None:
        from sklearn.metrics import balanced_accuracy_score

        rows, test = answer.figures(results), results.test
        assert rows is not None
        assert test is not None
        expected = balanced_accuracy_score(test.labels_N, test.predicted_N)
        assert rows.rows[3][-1] == pytest.approx(expected)

    def test_cost_is_time_by_devices(self, tmp_path: Path) -> None:
        on_cpus = a_few(tmp_path / "cpu", cpus_per_trial=4, gpus_per_trial=0.0)
        on_gpus = a_few(tmp_path / "gpu", cpus_per_trial=4, gpus_per_trial=0.5)
        costs = [{f.label: f for f in answer.headline(results)} for results in (on_cpus, on_gpus)]
        assert costs[0]["CPU-hours"].value == pytest.approx(4 * (20 + 10) / 3600)
        assert costs[1]["GPU-hours"].value == pytest.approx(0.5 * (20 + 10) / 3600)
        assert costs[0]["CPU-hours"].note == "3 epochs trained"
        assert costs[0]["wall time"].value == pytest.approx(20.1)

    def test_how_to_use_it_says_what_is_to_be_done_first(self, sweep: Sweep) -> None:
        assert "Export it first" not in [use.what for use in answer.uses(Results(sweep))]
        shutil.rmtree(sweep.folder.best)
        first = answer.uses(Results(sweep))[0]
        assert first.text == f"toprung export {sweep.folder.path}"


class TestNotices:
    """A partial answer never looks complete."""

    def test_a_complete_sweep_has_none(self, results: Results) -> None:
        assert answer.notices(results) == []

    @pytest.mark.parametrize(
        ("ended", "told"),
        [
            (attributes.INTERRUPTED, "Partial: the sweep was interrupted, 3 of 5 trials so far;"),
            (attributes.GAVE_UP, "The sweep gave up, 3 of 5 trials so far"),
            (attributes.TIME_BUDGET, "The sweep was stopped by its time budget, 3 of 5 trials so"),
            (attributes.RUNNING, "Partial: the sweep is still running, 3 of 5 trials so far"),
        ],
    )
    def test_how_it_ended(self, ended: str, told: str, sweep: Sweep) -> None:
        sweep.study.set_user_attr(attributes.SWEEP_ENDED, ended)
        sweep.study.set_user_attr(attributes.OWNER, {"host": "elsewhere", "pid": 1})
        assert answer.notices(Results(Sweep(sweep.folder.path)))[0].startswith(told)

    def test_the_test_set_was_not_opened(
        self, sweep: Sweep, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv(STATE_VARIABLE, str(tmp_path / "state"))  # whose ledger knows of it
        sweep.folder.sealed_test.unlink()
        for folder in (sweep.folder.test_openings, sweep.folder.path / "test_predictions"):
            shutil.rmtree(folder)
        (told,) = answer.notices(Results(sweep))
        assert told.startswith("Partial: the test set has not been opened for the winner.")

    def test_the_result_of_an_opening_is_not_known(self, sweep: Sweep) -> None:
        sweep.folder.sealed_test.unlink()
        partial, told = answer.notices(Results(sweep))
        assert partial == "Partial: there are no test figures for the winner."
        assert told.startswith("The test set was opened on 20")
        assert told.endswith("is still running, or the record was changed since.")

    def test_the_test_set_was_opened_by_force(self, sweep: Sweep) -> None:
        (opening,) = json.loads(sweep.folder.sealed_test.read_text())
        sweep.folder.sealed_test.write_text(json.dumps([opening | {"forced": True}]))
        (intent,) = sweep.folder.test_openings.iterdir()
        intent.write_text(json.dumps(json.loads(intent.read_text()) | {"forced": True}))
        (told,) = answer.notices(Results(sweep))
        assert told.startswith("The opening of the test set for this model was forced")

    def test_there_is_no_test_set(self, tmp_path: Path) -> None:
        results = a_few(tmp_path / "sweep")
        results.sweep.description["data"]["num_test"] = 0
        told = ["The data have no test set, so there are no test figures."]
        assert answer.notices(results) == told

    def test_no_trial_was_validated(self, tmp_path: Path) -> None:
        trials = [Simulated((), attributes.FAILED, reason="no memory")]
        results = simulated_sweep(tmp_path / "sweep", trials)
        (told,) = answer.notices(results)
        assert told.startswith("Partial: no trial has a validation result")
        assert told.endswith("The first reason: no memory")


class TestCells:
    def test_a_column_of_shares_and_losses_has_four_digits(self) -> None:
        rows = Rows(("a", "b"), ((0.98607, 3), (0.0002, None), (-12.5, 1797)))
        assert texts(rows) == [["0.9861", "3"], ["0.0002", "–"], ["-12.5000", "1797"]]  # noqa: RUF001
        assert numeric_columns(rows) == [True, True]

    def test_small_and_large_numbers_keep_their_digits(self) -> None:
        rows = Rows(("a", "b", "c"), ((1e-7, 1234.5678, 123456), (0.25, 0.5, 1)))
        assert texts(rows) == [["1e-07", "1,234.6", "123,456"], ["0.25", "0.5", "1"]]

    def test_whole_numbers_have_no_decimals_but_shares_do(self) -> None:
        rows = Rows(("epoch", "recall"), ((8.0, 1.0), (1.0, 0.0)))
        assert texts(rows) == [["8", "1.0000"], ["1", "0.0000"]]

    def test_what_is_no_number_stays_as_it_is(self) -> None:
        rows = Rows(("a", "b"), (("x", float("nan")), (True, 0.5), (0.12345, float("inf"))))
        assert texts(rows) == [["x", "nan"], ["yes", "0.5000"], ["0.1235", "inf"]]
        assert numeric_columns(rows) == [False, True]

    def test_a_gap_of_nearly_nothing_does_not_change_its_column(self) -> None:
        rows = Rows(("accuracy",), ((0.84,), (0.0407,), (-8.5e-05,), (0.8401,)))
        assert texts(rows) == [["0.8400"], ["0.0407"], ["-0.0001"], ["0.8401"]]

    def test_no_rows(self) -> None:
        assert texts(Rows(("a",), ())) == []


class TestSvg:
    def test_two_pictures_on_a_page_share_no_id(self) -> None:
        trees = [ElementTree.fromstring(_drawn(name)) for name in ("one", "two")]
        ids = [[e.attrib["id"] for e in tree.iter() if "id" in e.attrib] for tree in trees]
        assert ids[0]
        assert len({*ids[0], *ids[1]}) == len(ids[0]) + len(ids[1])
        for tree, own in zip(trees, ids, strict=True):
            values = " ".join(v for e in tree.iter() for v in e.attrib.values())
            assert values.count("url(#") == sum(values.count(f"url(#{id_})") for id_ in own) > 0
            assert all(e.get("href", "#")[1:] in {"", *own} for e in tree.iter("use"))

    def test_inks_are_the_page_s_and_texts_stay_as_they_are(self) -> None:
        svg = _drawn("one")
        assert svg.count(INK) == 1  # in the title
        assert "var(--ink)" in svg
        assert ACCENT in svg
        words = "".join(ElementTree.fromstring(svg).itertext())
        assert f'<b> {INK} id="figure_1"' in words
        assert "font-family" not in svg

    def test_no_control_character_comes_in(self) -> None:
        assert short("a\x01b\n\ud800c") == r"a\x01b \ud800c"


def _drawn(name: str) -> str:
    with styled():
        figure = new_figure(4, 2)
        axes = figure.subplots()
        axes.plot([1, 2], marker="o")
        axes.set_title(f'<b> {INK} id="figure_1"')
    return as_svg(figure, name, "A title")


class TestTheFolder:
    """With two sections; all of them are drawn in `test_report_in_browser`."""

    @pytest.fixture(autouse=True)
    def _two_sections(self, monkeypatch: pytest.MonkeyPatch) -> None:
        two = tuple(section for section in SECTIONS if section.anchor in ("answer", "search"))
        monkeypatch.setattr("toprung.analysis.report.page.SECTIONS", two)

    def test_its_files(self, sweep: Sweep) -> None:
        written = sweep.report()
        assert written.problems == ()
        assert written.path == sweep.folder.report / PAGE_FILE
        parts = _parts(sweep)
        pictures = {part["picture"] for part in parts if "picture" in part}
        assert len(pictures) > 1
        names = {path.name for path in sweep.folder.report.iterdir()}
        assert names == pictures | {PAGE_FILE, FIGURES_FILE}
        assert all(part["sources"] for part in parts)

    def test_figures_are_those_of_the_page(self, sweep: Sweep) -> None:
        results = Results(sweep)
        sweep.report()
        told = json.loads((sweep.folder.report / FIGURES_FILE).read_text("utf-8"))
        values = [fact["value"] for fact in told["headline"]]
        assert values == [fact.value for fact in answer.headline(results)]
        (figures,) = [part for part in told["parts"] if part["name"] == "figures"]
        rows = answer.figures(results)
        assert rows is not None
        assert figures["rows"] == [list(row) for row in rows.rows]

    def test_a_second_report_replaces_the_first(
        self, sweep: Sweep, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        sweep.report()
        (sweep.folder.report / "mine.png").write_bytes(b"mine")
        before = {path.name for path in sweep.folder.report.glob("*.png")}
        monkeypatch.setattr("toprung.analysis.report.page.SECTIONS", SECTIONS[:1])
        sweep.report()
        assert len(before) > 2
        assert {p.name for p in sweep.folder.report.glob("*.png")} == {"mine.png"}

    def test_a_folder_with_something_else_is_refused(self, sweep: Sweep, tmp_path: Path) -> None:
        (tmp_path / "full").mkdir()
        (tmp_path / "full" / "thesis.txt").write_text("mine")
        with pytest.raises(SweepFolderError, match="full: holds something else"):
            sweep.report(tmp_path / "full")
        assert [path.name for path in (tmp_path / "full").iterdir()] == ["thesis.txt"]

    def test_a_folder_that_cannot_be_written(self, sweep: Sweep, tmp_path: Path) -> None:
        sweep.folder.report.write_text("a file is in its place")
        with pytest.raises(SweepFolderError, match="report: is not a folder"):
            sweep.report()
        assert sweep.report(tmp_path / "a" / "b").path.is_file()

    def test_a_setting_that_is_none(self, sweep: Sweep) -> None:
        with pytest.raises(SweepFolderError, match="no trial has this setting; nearest:"):
            sweep.report(by=["optimizer/lrr"])
        assert not sweep.folder.report.exists()

    def test_a_part_that_raises_does_not_cost_the_others(
        self, sweep: Sweep, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        @picture("Broken", "It cannot be drawn.", ["study.db"])
        def broken(_: Results) -> None:
            raise ZeroDivisionError(SCRIPT)

        monkeypatch.setattr(answer, "broken", broken, raising=False)
        written = CliRunner().invoke(report, [str(sweep.folder.path)])
        problem = f"ZeroDivisionError: {SCRIPT}"
        assert written.exit_code == 0
        assert f"warning: could not be drawn: Broken: {problem}" in written.stderr
        assert written.stdout.strip() == str(sweep.folder.report / PAGE_FILE)
        (told,) = [part["problem"] for part in _parts(sweep) if "problem" in part]
        assert told == problem
        assert "Could not be drawn: ZeroDivisionError: &lt;/script" in _page(sweep)

    def test_a_heavy_picture_is_a_png_on_the_page(
        self, sweep: Sweep, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        @picture("Heavy", "Very many points.", ["study.db"])
        def heavy(_: Results) -> Figure:
            figure = new_figure()
            figure.subplots().scatter(*np.random.default_rng(0).random((2, 4000)))
            return figure

        monkeypatch.setattr(answer, "heavy", heavy, raising=False)
        sweep.report()
        encoded = base64.b64encode((sweep.folder.report / "heavy.png").read_bytes()).decode()
        assert f'<img src="data:image/png;base64,{encoded}" alt="Heavy">' in _page(sweep)


class TestOddSweeps:
    def test_before_the_first_trial(self, tmp_path: Path) -> None:
        results = simulated_sweep(tmp_path / "sweep", [])
        sweep = Sweep(results.sweep.folder.path)
        assert sweep.report().problems == ()
        assert "no trial has a validation result" in _page(sweep)

    def test_nothing_but_failures(self, tmp_path: Path) -> None:
        trials = [Simulated((), attributes.FAILED, reason=REASON)] * 3
        simulated_sweep(tmp_path / "sweep", trials)
        assert Sweep(tmp_path / "sweep").report().problems == ()

    def test_where_failed_trials_raised(self, results: Results) -> None:
        rows = how_it_ran.failed_trials(results)
        assert rows is not None
        assert rows.rows == ((2, "failed", REASON, f'File "{SCRIPT}", line 7, in f'),)


def test_no_two_parts_share_a_name() -> None:
    names = [part.name for s in SECTIONS for module in s.modules for part in parts_in(module)]
    assert len(set(names)) == len(names) > 20


def test_class_names_are_shown_as_they_are(results: Results) -> None:
    assert results.test is not None
    assert set(results.test.class_names) == {name.strip() for name in CLASSES}


def _parts(sweep: Sweep) -> list[dict[str, object]]:
    content = json.loads((sweep.folder.report / FIGURES_FILE).read_text("utf-8"))
    parts: list[dict[str, object]] = content["parts"]
    return parts


def _page(sweep: Sweep) -> str:
    return (sweep.folder.report / PAGE_FILE).read_text("utf-8")
