"""Learning curves: the reports of each trial, from Ray's logs in the sweep's folder."""

from collections.abc import Sequence
from dataclasses import dataclass

from toprung.analysis.sweep_folder.folder import SweepFolder, SweepFolderError
from toprung.analysis.sweep_folder.typed import typed
from toprung.trainables.results import columns
from toprung.trainables.results.records import Record


@dataclass(frozen=True)
class Step:
    """A logged step of training; see `toprung.trainables.results.records.LoggedStep`."""

    step: int
    loss: float
    gradient_norm: float
    update_norm: float


@dataclass(frozen=True)
class Curve:
    """A trial's validations in order, and the steps it logged (empty without `log_steps`)."""

    number: int
    records: tuple[Record, ...]
    steps: tuple[Step, ...]


def read_curves(folder: SweepFolder, numbers: Sequence[int]) -> dict[int, Curve]:
    """The curves of these trials; those without a validation are left out."""
    curves = [_curve(folder, number) for number in numbers]
    return {curve.number: curve for curve in curves if curve.records}


def _curve(folder: SweepFolder, number: int) -> Curve:
    records: dict[int, Record] = {}
    steps: dict[int, Step] = {}
    for report in folder.reports(number):
        if columns.VALIDATION not in report:  # the report of a failure
            continue
        try:
            record, new_steps = typed(Record, report), typed(list[Step], report[columns.STEPS])
        except (ValueError, KeyError) as error:
            raise SweepFolderError(f"{folder.result_log(number)}: is damaged: {error}") from None
        records[record.validation] = record  # a resumed trial may repeat it; the later one counts
        steps |= {step.step: step for step in new_steps}
    in_order = sorted(records.items())
    return Curve(
        number, tuple(r for _, r in in_order), tuple(steps[step] for step in sorted(steps))
    )
