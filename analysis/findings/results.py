"""Everything that a report shows about a sweep, each part read on first access."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import TYPE_CHECKING

import optuna

from toprung.analysis.models.predictions import Predictions, load_predictions
from toprung.analysis.seal.evidence import Seal, predictions_of, read_seal
from toprung.analysis.seal.openings import TestResult
from toprung.analysis.study.confirmation import Confirmation
from toprung.analysis.study.curves import Curve, read_curves
from toprung.analysis.study.sweep_record import SweepRecord
from toprung.analysis.study.trials import TrialResult, has_score
from toprung.analysis.sweep_folder.folder import SweepFolderError
from toprung.analysis.sweep_folder.outside import images_to_look_at, weights_of
from toprung.trainables.config import METRICS

if TYPE_CHECKING:
    from toprung.analysis.models.model import TrainedModel
    from toprung.analysis.models.scores import Scores
    from toprung.trainables.data import TrainingData


class Results:
    """The current state of a sweep, finished or not: its trials, their results, the winner.

    Args:
        sweep: the sweep.
        by: paths of settings, such as `model/freeze_policy`, whose values are to be compared; if
            empty, the report chooses them.
        before: whether to include the predictions of the winner's network before its training.
    """

    def __init__(self, sweep: SweepRecord, by: Sequence[str] = (), *, before: bool = False) -> None:
        self.sweep = sweep
        self.by = tuple(by)
        self.before = before

    @property
    def metric(self) -> str:
        """The metric by which trials are selected."""
        return self.sweep.metric

    @property
    def larger_is_better(self) -> bool:
        """Whether larger values of the metric are better."""
        return METRICS[self.metric] == "max"

    @cached_property
    def trials(self) -> list[TrialResult]:
        """Every trial of the search so far, in the order of starting."""
        return self.sweep.trials()

    @cached_property
    def scored(self) -> list[TrialResult]:
        """The trials of the search that were validated and did not fail."""
        return [trial for trial in self.trials if has_score(trial)]

    @cached_property
    def winner(self) -> TrialResult | None:
        """The best trial so far; None if none was validated."""
        return self.sweep.best() if self.scored else None

    @cached_property
    def confirmation(self) -> Confirmation | None:
        """How the winner was confirmed; None if the search has not ended."""
        return self.sweep.confirmation()

    @cached_property
    def runs(self) -> list[TrialResult]:
        """The runs that confirm trials of the search."""
        candidates = self.confirmation.candidates if self.confirmation else ()
        return [run for candidate in candidates for run in candidate.runs]

    @cached_property
    def curves(self) -> dict[int, Curve]:
        """The learning curves of the trials of the search, by number; only trials with one."""
        return read_curves(self.sweep.folder, [trial.number for trial in self.trials])

    @cached_property
    def best_values(self) -> optuna.Study:
        """A study for Optuna's analyses: each scored trial of the search, with its best value.

        In the sweep's own study, a trial that was stopped early has no value.
        """
        with _quiet_optuna():
            study = optuna.create_study(direction=self.sweep.study.direction)
        scored = {trial.number: trial for trial in self.scored}
        for trial in self.sweep.study.get_trials(deepcopy=False):
            if trial.number in scored:
                study.add_trial(
                    optuna.trial.create_trial(
                        params=trial.params,
                        distributions=trial.distributions,
                        value=getattr(scored[trial.number].best, self.metric),
                    )
                )
        return study

    @cached_property
    def seal(self) -> Seal:
        """Every opening of the test set, from all records of openings."""
        return read_seal(self.sweep)

    @property
    def openings(self) -> list[TestResult]:
        """Every opening of the test set whose result is known."""
        return list(self.seal.results)

    @cached_property
    def opening(self) -> TestResult | None:
        """The opening of the test set for the winner's model; None if there was none."""
        mine = [o for o in self.openings if self.winner and o.trial == self.winner.number]
        try:
            digest = self.model.digest if mine else ""
        except SweepFolderError:  # without its checkpoint, only the record is left
            return mine[-1] if mine else None
        return next((o for o in mine if o.weights_sha256 == digest), None)

    @cached_property
    def test(self) -> Predictions | None:
        """The winner's predictions for the test images.

        None if the test set was not opened for the winner, or the predictions no longer exist.
        """
        if self.opening is None:
            return None
        path = predictions_of(self.sweep.folder, self.opening)
        return load_predictions(path) if path.exists() else None

    @cached_property
    def test_scores(self) -> "Scores | None":
        """The figures of the winner on the test images; None if there are no predictions."""
        from toprung.analysis.models.scores import Scores

        return Scores(self.test) if self.test else None

    @property
    def gives_probabilities(self) -> bool:
        """Whether the winner's outputs are logits; those of an SVM are votes."""
        config = self.winner.config if self.winner else None
        return config is not None and config.model.architecture != "svm"

    @cached_property
    def before_and_after(self) -> "tuple[Scores, Scores] | None":
        """Figures on the validation images before the winner's training and after it.

        None if `before` was not requested, or without a winner.

        Raises:
            ConfigError: if no network existed before training, or its weights are unavailable.
            NotConfirmedError: if the user has not agreed to the weights, or to the images.
            DataError: if the images are not on this machine.
        """
        from toprung.analysis.findings.before_training import before_and_after
        from toprung.analysis.models.scores import Scores

        if not self.before or self.winner is None:
            return None
        self.sweep.outside.confirm(*weights_of(self.model.config.model))
        before, after = before_and_after(self.model, self.training_data)
        return Scores(before), Scores(after)

    @cached_property
    def model(self) -> "TrainedModel":
        """The winner's model.

        Raises:
            SweepFolderError: if there is no winner, or its model cannot be read.
        """
        from toprung.analysis.models.model import model_from_checkpoint

        winner = self.winner or self.sweep.best()  # which raises the reason
        return model_from_checkpoint(
            self.sweep.folder.checkpoint(winner.number), self.sweep.outside
        )

    @cached_property
    def training_data(self) -> "TrainingData":
        """The images that trials train on and are validated on.

        Raises:
            DataError: if they are not on this machine.
            NotConfirmedError: if the user has not agreed to where they are.
        """
        return images_to_look_at(self.sweep.outside, self.model.config.data)


@contextmanager
def _quiet_optuna() -> Iterator[None]:
    """Suppress the line that Optuna logs for each new study."""
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        yield
    finally:
        optuna.logging.set_verbosity(before)
