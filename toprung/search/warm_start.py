"""A new sweep that begins with what another one has found.

The other's best configs are tried first. And a trial of which the new space can make exactly the
same config, on the same data, tells the new sweep's sampler what a trial of its own would have told
it; whether the two spaces are written alike does not matter.
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
"""Settings that may differ in two configs that train the same, if the data's content is the same;
labels may as well."""
_ABSENT = "absent"
_MOST_TOLD = 4
"""Of the settings that differ besides the parameters."""


@dataclass(frozen=True)
class WarmStart:
    """What a new sweep begins with.

    Attributes:
        enqueued: the parameters of each config that is tried first.
        taken: trials for the sampler to learn from; they are no results of the new sweep.
        told: what was done, and what did not fit, in lines for the user.
        sweep: the other sweep's name.
        test_openings: how often its test set had been opened.
    """

    enqueued: tuple[dict[str, Any], ...]
    taken: tuple[FrozenTrial, ...]
    told: tuple[str, ...]
    sweep: str
    test_openings: int

    def as_plain(self) -> dict[str, Any]:
        """As `sweep.yaml` keeps it."""
        return {"sweep": self.sweep, "test_openings": self.test_openings}

    def begin(self, study: optuna.Study) -> None:
        """Put all of it into the study of a sweep that has no trial yet."""
        study.add_trials(self.taken)
        for parameters in self.enqueued:
            study.enqueue_trial(parameters)


def warm_start(
    other: SweepRecord, proposals: Proposals, settings: SweepSettings, data_sha256: str | None
) -> WarmStart:
    """Find out what of another sweep a new one can begin with.

    In a staged sweep the configs are tried whole, in its first stage, as if they were found there.
    What the other sweep has itself taken from a third one is not passed on.

    Args:
        other: the other sweep, finished or still running.
        proposals: of the new sweep.
        settings: the new sweep's.
        data_sha256: of the new sweep's training and validation images.

    Raises:
        ToprungError: if the new sweep tries everything, or has nothing to search.
        SweepFolderError: if the other sweep cannot be read, or no trial of it has a result.
    """
    if settings.sampler == "grid":
        raise ToprungError("sampler = 'grid': tries everything, so it takes no warm start")
    if not proposals.rehearsal.parameters:
        raise ToprungError("a warm start needs a search space with a parameter to search")
    best = [_translate(trial, proposals) for trial in _best(other, proposals, settings)]
    distinct: dict[frozenset[Any], _Translated] = {}
    for one in best:
        if one.fits and not one.refused:
            distinct.setdefault(frozenset(one.fits.items()), one)
    taken, told_of_taken = _taken(other, proposals, settings, data_sha256)
    enqueued = _told_of_enqueued(list(distinct.values()), staged=bool(settings.stages))
    refused = [f"trial {one.trial.number}: {one.refused}" for one in best if one.refused]
    seal = read_seal(other)
    openings = len(seal.results) + len(seal.unknown)
    told = (
        *(enqueued, *_told_of_misfits(best), *refused, told_of_taken),
        *([_told_of_openings(openings)] if openings else []),
    )
    return WarmStart(
        tuple(one.fits for one in distinct.values()),
        tuple(taken),
        tuple(f"warm start from {other.name}: {line}" for line in told),
        other.name,
        openings,
    )


def _told_of_openings(number: int) -> str:
    return (
        f"its test set was opened ({count(number, 'time')}): on the same test images, the figures "
        "of this sweep are not independent of what is known from there (--fresh-test)"
    )


def _best(other: SweepRecord, proposals: Proposals, settings: SweepSettings) -> list[TrialResult]:
    """The other's best trials, the confirmed one first; no more than the first stage can try."""
    winner = other.best()
    first = winner.number if winner.confirms is None else winner.confirms
    ranked = best_configs(other.trials(), other.metric)
    ranked.sort(key=lambda trial: trial.number != first)
    stage_of = proposals.stages.stage_of
    numbers = range(min(NUM_ENQUEUED, settings.trials))
    return ranked[: len(list(takewhile(lambda n: stage_of(n) == stage_of(0), numbers)))]


@dataclass(frozen=True)
class _Misfit:
    """A setting of the other sweep that the new one cannot have, and what it has instead."""

    name: str
    there: str
    here: str

    def __str__(self) -> str:
        return f"{self.name} = {self.there} (here {self.here})"


@dataclass(frozen=True)
class _Translated:
    """A trial of the other sweep, as far as the new space can make it.

    Attributes:
        trial: the trial.
        asked: the new space's trial, which was led along the other's values.
        fits: the values that it could have.
        misfits: the parameters, of either sweep, that differ.
        differing: what else differs where every parameter fits, in words.
        refused: why the new space's config would be a mistake; empty if it would be none.
    """

    trial: TrialResult
    asked: optuna.Trial
    fits: dict[str, Any]
    misfits: tuple[_Misfit, ...]
    differing: tuple[str, ...]
    refused: str = ""

    @property
    def obstacle(self) -> str:
        """Why the new space cannot make just this config; empty if it can."""
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
        # Of a network that cannot be, the search tells the sampler.
        refused = "" if isinstance(error, ImpossibleNetworkError | FreezeError) else problem
    # A space that was led astray by a value that does not fit may not ask for all that it could.
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
    """Leads a trial along given values, and anywhere where it cannot have them."""

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
        """The given value of this parameter, if it can be."""
        value = self._values.get(param_name, _ABSENT)
        if can_be(value, param_distribution):
            return value
        return super().sample_independent(study, trial, param_name, param_distribution)


def _taken(
    other: SweepRecord, proposals: Proposals, settings: SweepSettings, data_sha256: str | None
) -> tuple[list[FrozenTrial], str]:
    """Copies of the other's trials for the sampler to learn from; what to tell of them."""
    if settings.sampler == "random":
        return [], "the sampler 'random' learns from no trial, so it is given none"
    not_given = "the sampler is not given its trials:"
    if other.description.get("data", {}).get("sha256", "") != data_sha256:
        return [], f"{not_given} it has other data"
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
        return taken, f"the sampler is given its {len(taken)} trials"
    because = f"cannot be made here; for instance: {obstacles.most_common(1)[0][0]}"
    if not taken:
        return [], f"{not_given} they {because}"
    total = len(all_translated)
    return taken, f"the sampler is given {len(taken)} of its {total} trials; the others {because}"


def _copy(translated: _Translated, trial: FrozenTrial, sweep: str) -> FrozenTrial:
    """As a trial of the new space, without what makes it a result."""
    return optuna.trial.create_trial(
        state=trial.state,
        value=trial.value,
        params=translated.asked.params,
        distributions=translated.asked.distributions,
        intermediate_values=trial.intermediate_values,
        user_attrs={attributes.TAKEN_FROM: {"sweep": sweep, "trial": trial.number}},
    )


def _told_of_enqueued(enqueued: Sequence[_Translated], *, staged: bool) -> str:
    if not enqueued:
        return "nothing of its best configs fits, so none is enqueued"
    numbers = ", ".join(str(one.trial.number) for one in enqueued)
    how = ", whole, in the first stage" if staged else ""
    return f"its best configs are tried first{how}: trials {numbers}"


def _told_of_misfits(best: Sequence[_Translated]) -> list[str]:
    """A line for each parameter of the best configs that does not fit, one for all else."""
    values: dict[tuple[str, str], dict[str, None]] = {}
    for misfit in (misfit for one in best for misfit in one.misfits):
        values.setdefault((misfit.name, misfit.here), {})[misfit.there] = None
    lines = [f"does not fit: {_Misfit(n, ', '.join(v), here)}" for (n, here), v in values.items()]
    others = list(dict.fromkeys(what for one in best for what in one.differing))
    more = [f"{len(others) - _MOST_TOLD} more"] if len(others) > _MOST_TOLD else []
    told = ", ".join([*others[:_MOST_TOLD], *more])
    return [*lines, *([f"does not fit: {told}"] if others else [])]
