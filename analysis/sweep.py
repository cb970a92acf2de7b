"""A sweep: reading, comparing, testing, exporting and reporting it.

Torch and matplotlib are imported only where they are needed, so that reading a sweep is quick.
"""

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from toprung.analysis.findings.comparison import Group, compare, openings_of
from toprung.analysis.seal.evidence import read_seal
from toprung.analysis.seal.openings import TestResult
from toprung.analysis.study.sweep_record import SweepRecord
from toprung.analysis.sweep_folder.files import real_path
from toprung.analysis.sweep_folder.folder import SweepFolderError

if TYPE_CHECKING:
    from toprung.analysis.report.page import Report


class Sweep(SweepRecord):
    """One sweep, finished or still running: its results, and the operations on them.

    Args:
        path: the folder of the sweep.
        trust: whether everything that its files name outside the folder may be used, because the
            user said so or this process created the sweep (see
            `toprung.analysis.sweep_folder.outside`).

    Raises:
        SweepFolderError: if the folder does not hold a sweep, or its study is in a database that
            the user has not agreed to.
    """

    def compare(self, *by: str) -> list[Group]:
        """The trials grouped by the values of settings, such as `model/freeze_policy`.

        The best group comes first; see `toprung.analysis.findings.comparison.Group`.

        Raises:
            SweepFolderError: if no trial has a result, or no trial has one of the settings.
        """
        return compare(self.trials(), by, self.metric, openings_of(self, read_seal(self)))

    def test(self, trial: int | None = None, *, force: bool = False) -> TestResult:
        """Open the sealed test set for the winner, and record the opening.

        If the winner has a result, it is returned without opening the test set again; an
        interrupted opening is completed. An opening for another trial needs `force`, and is marked.

        Raises:
            SweepFolderError: if the model is not the winner's and `force` is not given, if the test
                set was or may have been opened for another model before and `force` is not given,
                if the records of an opening contradict each other, if there is no test set, if the
                user has not agreed to the location of its images, if they have changed, or if the
                sweep has not ended.
        """
        from toprung.analysis.exporting.export import trial_of_export
        from toprung.analysis.seal.sealed_test import open_test_set

        if self.is_partial and not force:
            raise SweepFolderError(
                f"{self.name}: has not ended ({self.ended}), so its winner may change; the test "
                "set stays sealed. Resume the sweep (toprung resume), or open it anyway (--force)"
            )
        winner = self.best().number
        number = winner if trial is None else trial
        result = open_test_set(
            self,
            number,
            self.model(number),
            is_winner=number == winner and not self.is_partial,
            force=force,
        )
        if number == winner and trial_of_export(self.folder.best) == winner:
            self.export()  # so that its figures and its card include the test
        return result

    def export(
        self,
        to: str | Path | None = None,
        trial: int | None = None,
        *,
        formats: Collection[str] = (),
        force: bool = False,
    ) -> Path:
        """Export the best model of a trial (by default the winner), with a model card.

        The default folder is `best/` in the sweep's folder for the winner, and `exports/<trial>`
        for any other trial. `formats=["onnx"]` adds `model.onnx`, whose predictions are verified.

        The export of another model is overwritten in the sweep's own folders; in any other folder
        only with `force`.

        Raises:
            SweepFolderError: if the trial was never validated; if the folder cannot be written,
                holds something else or, without `force`, another model; for a format that is
                unknown, whose packages are not installed, or whose predictions differ.
        """
        from toprung.analysis.exporting.card_facts import Exported
        from toprung.analysis.exporting.export import export_model
        from toprung.analysis.provenance.starting_weights import provenance_of

        winner = self.best()
        result = winner if trial is None else self.trial(trial)
        if result.best is None:
            raise SweepFolderError(f"trial {result.number} of {self.name}: was never validated")
        home = self.folder.best if result == winner else self.folder.export_of(result.number)
        place = home if to is None else Path(to)
        model = self.model(result.number)
        seal = read_seal(self)
        replace = force or real_path(place) == real_path(home)
        provenance = provenance_of(self.folder, model.config)
        exported = Exported(
            self,
            result,
            model,
            seal.result_of(model.digest),
            provenance,
            tuple(seal.unknown_of(model.digest)),
        )
        folder = export_model(place, exported, formats, replace=replace)
        self.folder.publish(folder)
        return folder

    def report(
        self, to: str | Path | None = None, *, by: Sequence[str] = (), before: bool = False
    ) -> "Report":
        """Write the report: one page for a browser, its pictures, and its figures as JSON.

        Args:
            to: the folder; by default `report/` in the sweep's folder.
            by: paths of settings, such as `model/freeze_policy`, whose values are to be compared;
                if empty, the report chooses them.
            before: also show the predictions of the winner's network before its training.

        Returns:
            The path of the page, and the parts that could not be drawn.

        Raises:
            SweepFolderError: if the folder cannot be written, or holds something else; if a setting
                does not exist.
        """
        from toprung.analysis.findings.results import Results
        from toprung.analysis.report.page import write_report

        written = write_report(Results(self, by, before=before), Path(to or self.folder.report))
        self.folder.publish(written.path.parent)
        return written
