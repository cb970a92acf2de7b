"""Warm start: a new sweep that starts with the results of another one.

The other sweep's best configs are tried first. In addition, its trials are added to the sampler's
history if they match: if the data are the same, and the new space can make exactly the same config.
The two spaces need not be written alike.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.trial import FrozenTrial, TrialState

from toprung.analysis.seal.evidence import read_seal
from toprung.analysis.seal.words import count
from toprung.analysis.study.sweep_record import SweepRecord
from toprung.analysis.study.trials import TrialResult, best_configs, has_score
from toprung.analysis.sweep_folder import attributes
from toprung.errors import USER_ERRORS, ToprungError
from toprung.search.distributions import can_be, in_words
from toprung.search.proposals import Proposals
from toprung.settings import SweepSettings
from toprung.trainables.config import as_plain, flatten
from toprung.trainables.networks.base import ImpossibleNetworkError
from toprung.trainables.networks.freezing import FreezeError

NUM_ENQUEUED = 5
"""How many of the other sweep's best configs are tried first."""
_NOT_COMPARED = {"seed", "data/source", "data/root", "data/download", "data/digest"}
"""Settings in which two configs may differ and still train the same, if the data have the same
content. (Labels may differ too.)"""
_ABSENT = "absent"
_MAX_DIFFERENCES_SHOWN = 4
"""How many differing settings that are not parameters are listed."""


@dataclass(frozen=True)
class WarmStart:
    """The configs and trials that a new sweep starts with.

    Attributes:
        enqueued: the parameters of each config that is tried first.
        taken: trials for the sampler to learn from; they are not results of the new sweep.
        messages: lines for the user about what was taken, and what did not fit.
        sweep: the other sweep's name.
        test_openings: how often the other sweep's test set had been opened.
    """

    enqueued: tuple[dict[str, Any], ...]
    taken: tuple[FrozenTrial, ...]
    messages: tuple[str, ...]
    sweep: str
    test_openings: int

    def as_plain(self) -> dict[str, Any]:
        """The entry for `sweep.yaml`."""
        return {"sweep": self.sweep, "test_openings": self.test_openings}

    def begin(self, study: optuna.Study) -> None:
        """Add the trials and configs to the study of a sweep that has no trial yet."""
        study.add_trials(self.taken)
        for parameters in self.enqueued:
            study.enqueue_trial(parameters)


def warm_start(
    other: SweepRecord, proposals: Proposals, settings: SweepSettings, data_sha256: str | None
) -> WarmStart:
    """Find the configs and trials of another sweep that a new sweep can start with.

    In a staged search, the configs are tried in the first search stage with all their parameters,
    as if they had been found there. Trials that the other sweep has itself taken from a third one
    are not passed on.

    Args:
        other: the other sweep, finished or still running.
        proposals: the proposals of the new sweep.
        settings: the settings of the new sweep.
        data_sha256: the digest of the new sweep's training and validation images.

    Raises:
        ToprungError: if the new sweep is a grid, or has no parameter to search.
        SweepFolderError: if the other sweep cannot be read, or none of its trials has a result.
    """
    if settings.sampler == "grid":
        raise ToprungError(
            "sampler = 'grid': a grid tries every combination, so a warm start has no effect"
        )
    if not proposals.rehearsal.parameters:
        raise ToprungError("a warm start needs a search space with a parameter to search")
    best = [_translate(trial, proposals) for trial in _best(other, proposals, settings)]
    distinct: dict[frozenset[Any], _Translated] = {}
    for one in best:
        if one.fits and not one.refused:
            distinct.setdefault(frozenset(one.fits.items()), one)
    taken, message_on_taken = _taken(other, proposals, settings, data_sha256)
    enqueued = _message_on_enqueued(list(distinct.values()), staged=bool(settings.stages))
    refused = [f"trial {one.trial.number}: {one.refused}" for one in best if one.refused]
    seal = read_seal(other)
    openings = len(seal.results) + len(seal.unknown)
    messages = (
        *(enqueued, *_messages_on_misfits(best), *refused, message_on_taken),
        *([_message_on_openings(openings)] if openings else []),
    )
    return WarmStart(
        tuple(one.fits for one in distinct.values()),
        tuple(taken),
        tuple(f"warm start from {other.name}: {line}" for line in messages),
        other.name,
        openings,
    )


def _message_on_openings(number: int) -> str:
    return (
        f"its test set was opened ({count(number, 'time')}): on the same test images, the figures "
        "of this sweep are not independent of that result (--fresh-test)"
    )


def _best(other: SweepRecord, proposals: Proposals, settings: SweepSettings) -> list[TrialResult]:
    """The other sweep's best trials, the winner first; no more than the first stage can try."""
    winner = other.best()
    first = winner.number if winner.confirms is None else winner.confirms
    ranked = best_configs(other.trials(), other.metric)
    ranked.sort(key=lambda trial: trial.number != first)
    stage_of = proposals.stages.stage_of
    numbers = range(min(NUM_ENQUEUED, settings.trials))
    return ranked[: len(list(takewhile(lambda n: stage_of(n) == stage_of(0), numbers)))]


@dataclass(frozen=True)
class _Misfit:
    """A setting's value in the other sweep that the new one cannot have, and what it can have."""

    name: str
    there: str
    here: str

    def __str__(self) -> str:
        return f"{self.name} = {self.there} (here {self.here})"


@dataclass(frozen=True)
class _Translated:
    """A trial of the other sweep, as far as the new space can reproduce it.

    Attributes:
        trial: the other sweep's trial.
        asked: the new space's trial, which was given the other trial's values.
        fits: the parameters and values that the new trial can have.
        misfits: the parameters, of either sweep, that differ.
        differing: other differences in words, if every parameter fits.
        refused: why the new space's config is invalid; empty if it is valid.
    """

    trial: TrialResult
    asked: optuna.Trial
    fits: dict[str, Any]
    misfits: tuple[_Misfit, ...]
    differing: tuple[str, ...]
    refused: str = ""

    @property
    def obstacle(self) -> str:
        """Why the new space cannot make exactly this config; empty if it can."""
        return next(iter((*map(str, self.misfits), *self.differing)), "")


def _translate(trial: TrialResult, proposals: Proposals) -> _Translated:
    assert trial.config is not None
    theirs = flatten(as_plain(trial.config)) | trial.parameters
    asked = optuna.create_study(sampler=_Following(theirs)).ask()
    ours, problem, refused = {}, "", ""
    try:
        ours = flatten(as_plain(proposals.config(asked)))
    except USER_ERRORS as error:
        problem = f"its config is refused here ({' '.join(str(error).split())})"
        # The search itself lets the sampler learn that a network is infeasible.
        refused = "" if isinstance(error, ImpossibleNetworkError | FreezeError) else problem
    # A space that got another value than the one that does not fit may ask for fewer parameters.
    known = proposals.rehearsal.parameters.items()
    could = {name: d for name, d in known if name in trial.parameters} | asked.distributions
    fits = {n: theirs[n] for n, d in could.items() if n in theirs and can_be(theirs[n], d)}
    here = ours | {name: in_words(distribution) for name, distribution in could.items()}
    differing = [
        _Misfit(name, _in_words(theirs.get(name, _ABSENT)), _in_words(here.get(name, _ABSENT)))
        for name in dict.fromkeys((*could, *theirs, *ours) if ours else could)
        if name not in fits and (name in could or _differ(name, theirs, ours))
    ]
    misfits = [one for one in differing if one.name in could or one.name in trial.parameters]
    others = [] if misfits else [problem] if problem else list(map(str, differing))
    return _Translated(trial, asked, fits, tuple(misfits), tuple(others), refused)


def _in_words(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _differ(name: str, theirs: Mapping[str, Any], ours: Mapping[str, Any]) -> bool:
    """Whether two configs differ in a setting, and may train differently."""
    if name in _NOT_COMPARED or name.startswith("labels/"):
        return False
    return bool(theirs.get(name, _ABSENT) != ours.get(name, _ABSENT))


class _Following(optuna.samplers.RandomSampler):
    """Gives a trial's parameters the given values, or random ones where those do not fit."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        super().__init__(seed=0)
        self._values = values

    def sample_independent(
        self,
        study: optuna.Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        """The given value of this parameter, if the distribution contains it."""
        value = self._values.get(param_name, _ABSENT)
        if can_be(value, param_distribution):
            return value
        return super().sample_independent(study, trial, param_name, param_distribution)


def _taken(
    other: SweepRecord, proposals: Proposals, settings: SweepSettings, data_sha256: str | None
) -> tuple[list[FrozenTrial], str]:
    """Copies of the other sweep's trials for the sampler to learn from; and a message on them."""
    if settings.sampler == "random":
        return [], "the sampler 'random' does not learn, so no trials are added to its history"
    not_given = "its trials are not added to the sampler's history:"
    if other.description.get("data", {}).get("sha256", "") != data_sha256:
        return [], f"{not_given} the data differ"
    states = (TrialState.COMPLETE, TrialState.PRUNED)
    ended = {t.number: t for t in other.study.get_trials(deepcopy=False, states=states)}
    all_translated = [
        _translate(trial, proposals)
        for trial in other.trials()
        if has_score(trial) and trial.number in ended
    ]
    taken = [
        _copy(one, ended[one.trial.number], other.name)
        for one in all_translated
        if not one.obstacle
    ]
    obstacles = Counter(one.obstacle for one in all_translated if one.obstacle)
    if not obstacles:
        return taken, f"its {len(taken)} trials are added to the sampler's history"
    because = f"cannot be made here; for example: {obstacles.most_common(1)[0][0]}"
    if not taken:
        return [], f"{not_given} they {because}"
    total = len(all_translated)
    return taken, (
        f"{len(taken)} of its {total} trials are added to the sampler's history; the others "
        f"{because}"
    )


def _copy(translated: _Translated, trial: FrozenTrial, sweep: str) -> FrozenTrial:
    """A copy as a trial of the new space, without the attributes of a result."""
    return optuna.trial.create_trial(
        state=trial.state,
        value=trial.value,
        params=translated.asked.params,
        distributions=translated.asked.distributions,
        intermediate_values=trial.intermediate_values,
        user_attrs={attributes.TAKEN_FROM: {"sweep": sweep, "trial": trial.number}},
    )


def _message_on_enqueued(enqueued: Sequence[_Translated], *, staged: bool) -> str:
    if not enqueued:
        return "none of its best configs fits, so none is tried first"
    numbers = ", ".join(str(one.trial.number) for one in enqueued)
    how = ", with all parameters, in the first search stage" if staged else ""
    return f"its best configs are tried first{how}: trials {numbers}"


def _messages_on_misfits(best: Sequence[_Translated]) -> list[str]:
    """A line for each parameter of the best configs that does not fit, one for the rest."""
    values: dict[tuple[str, str], dict[str, None]] = {}
    for misfit in (misfit for one in best for misfit in one.misfits):
        values.setdefault((misfit.name, misfit.here), {})[misfit.there] = None
    lines = [f"does not fit: {_Misfit(n, ', '.join(v), here)}" for (n, here), v in values.items()]
    others = list(dict.fromkeys(what for one in best for what in one.differing))
    shown = others[:_MAX_DIFFERENCES_SHOWN]
    more = [f"{len(others) - len(shown)} more"] if len(others) > len(shown) else []
    return [*lines, *([f"does not fit: {', '.join([*shown, *more])}"] if others else [])]
