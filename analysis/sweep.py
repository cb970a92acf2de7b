"""A sweep, to be asked, compared, tested, exported and told of.

Torch and matplotlib are imported only where they are needed, so that looking at a sweep is quick.
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
    """One sweep, finished or still running: what is known of it, and what can be made of it.

    Args:
        path: its folder.
        trust: whether all that its files name outside the folder may be used, because the user
            says so, or this process has made it (see `toprung.analysis.sweep_folder.outside`).

    Raises:
        SweepFolderError: if the folder holds no sweep, or its study is in a database that the user
            has not agreed to.
    """

    def compare(self, *by: str) -> list[Group]:
        """The trials grouped by the values of settings, such as `model/freeze_policy`.

        The best group comes first; see `toprung.analysis.findings.comparison.Group`.

        Raises:
            SweepFolderError: if no trial has a result, or none has such a setting.
        """
        return compare(self.trials(), by, self.metric, openings_of(self, read_seal(self)))

    def test(self, trial: int | None = None, *, force: bool = False) -> TestResult:
        """Open the sealed test set for the winner, and record the opening.

        The winner's result, once there, is returned without opening the set again; an opening that
        was interrupted is completed. Another trial's needs `force`, and is marked.

        Raises:
            SweepFolderError: if the model is not the winner's and `force` is not given, if the
                set was or may have been opened for another model before and `force` is not given,
                if the records of an opening contradict each other, if there is no test set, if the
                user has not agreed to where its images are, if they have changed, or if the sweep
                has not come to its end.
        """
        from toprung.analysis.exporting.export import trial_of_export
        from toprung.analysis.seal.sealed_test import open_test_set

        if self.is_partial and not force:
            raise SweepFolderError(
                f"{self.name}: has not come to its end ({self.ended}), so its winner may change; "
                "the test set stays shut. Resume the sweep (toprung resume), or force it (--force)"
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
            self.export()  # its figures and its card now tell of the test
        return result

    def export(
        self,
        to: str | Path | None = None,
        trial: int | None = None,
        *,
        formats: Collection[str] = (),
        force: bool = False,
    ) -> Path:
        """Export the best model of a trial (the winner), with a model card.

        To `best/` in the sweep's folder, or `exports/<trial>` for another trial than the winner,
        if no folder is given. `formats=["onnx"]` adds `model.onnx`, checked to predict the same.

        Another model's export is written over in the sweep's own folders; in a folder that is
        given only with `force`.

        Raises:
            SweepFolderError: if the trial was never validated; if the folder cannot be written,
                holds something else or, without `force`, another model; for an unknown format, one
                whose packages are not installed, or one in which the model would not predict the
                same.
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
        """Write the report: one page for a browser, its pictures, its figures as JSON.

        To `report/` in the sweep's folder, if no folder is given.

        Args:
            to: the folder.
            by: paths of settings, such as `model/freeze_policy`, whose values are to be compared;
                the report's own choice if empty.
            before: show also what the winner's network said before it was trained.

        Returns:
            Where the page is, and what could not be drawn of it.

        Raises:
            SweepFolderError: if the folder cannot be written, or holds something else; if there is
                no such setting.
        """
        from toprung.analysis.findings.results import Results
        from toprung.analysis.report.page import write_report

        written = write_report(Results(self, by, before=before), Path(to or self.folder.report))
        self.folder.publish(written.path.parent)
        return written
