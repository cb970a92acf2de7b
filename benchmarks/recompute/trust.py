"""Whether one can trust the figures: confirmation, openings, copies, simpler searches."""

from collections import Counter, defaultdict
from math import sqrt
from statistics import fmean, median, stdev
from typing import Any

from benchmarks.recompute.answer import interval_of_runs
from benchmarks.recompute.cells import LeftOut, Row, Told, keyed, table
from benchmarks.recompute.formulas import best_of, expected_maximum, wilson
from benchmarks.recompute.raw import Candidate, RawSweep, RawTrial

_DIGEST = 8
_UNKNOWN_RESULT = LeftOut("of an opening whose result is not known; it has a file of its own")
_SPLITS = ("train", "validation", "test")


@table
def what_was_done(raw: RawSweep, told: Told, columns: tuple[str, ...]) -> list[Row]:
    """What the study says of the confirmation; whether it counts is added to that."""
    del columns
    said = str(raw.study_attrs["confirmation"]["told"])
    said = f"{said[:1].upper()}{said[1:]}"
    begins = len(told) == 1 and str(told[0][0]).startswith(said)
    return [told[0]] if begins else [(said,)]


@table
def candidates(raw: RawSweep, told: Told, columns: tuple[str, ...]) -> list[Row]:
    """The runs of each trial that was trained again."""
    del columns
    return keyed(told, 1, {(c.trial.number,): _candidate(raw, c) for c in raw.candidates})


def _candidate(raw: RawSweep, candidate: Candidate) -> Row:
    first = raw.value(candidate.trial)
    values = [raw.value(run) for run in candidate.runs if run.has_score]
    counts = (first, len(candidate.runs), len(candidate.runs) - len(values))
    is_chosen = raw.chosen is not None and raw.chosen.trial == candidate.trial
    if not raw.held(candidate):
        return (*counts, None, None, None, None, None, is_chosen)
    mean = fmean(values)
    interval = interval_of_runs(raw, values)
    return (*counts, mean, stdev(values), *interval, raw.sign * (first - mean), is_chosen)


@table
def openings(raw: RawSweep, told: Told, columns: tuple[str, ...]) -> list[Row]:
    """The record of openings, with intervals, and how optimistic the best of several is."""
    rows: list[Row] = [_opening(raw, opening)[: len(columns)] for opening in raw.openings]
    unknown = told[len(rows) :]  # these are told last
    return [*rows, *((_UNKNOWN_RESULT,) * len(columns) for _ in unknown)]


def _opening(raw: RawSweep, opening: dict[str, Any]) -> Row:
    share, num = opening["accuracy"], opening["num_images"]
    earlier = opening.get("earlier")
    models = 1 + earlier["models"] if earlier else None
    adjusted = (share * num + 2) / (num + 4)  # Agresti and Coull, 1998
    error = sqrt(adjusted * (1 - adjusted) / (num + 4))
    return (
        opening["opened_at"],
        opening["trial"],
        "yes" if opening == raw.opening else "no",
        "yes" if opening["forced"] else "no",
        share,
        *wilson(round(share * num), num),
        opening["loss"],
        num,
        opening["weights_sha256"][:_DIGEST],
        opening["test_data_sha256"][:_DIGEST],
        models,
        error * expected_maximum(models) if models else None,
    )


@table
def duplicates(raw: RawSweep, told: Told, columns: tuple[str, ...]) -> list[Row]:
    """Copies among the images, counted again in splits.csv."""
    del told, columns
    key = "pixel_sha256" if raw.splits and "pixel_sha256" in raw.splits[0] else "sha256"
    of = {
        split: Counter(row[key] for row in raw.splits if row["split"] == split) for split in _SPLITS
    }
    groups = defaultdict(list)
    for row in raw.splits:
        groups[row[key]].append(row)

    def shared(split: str, other: str) -> int:
        return sum(count for picture, count in of[split].items() if picture in of[other])

    def within(split: str) -> int:
        return sum(count for count in of[split].values() if count > 1)

    counts: list[tuple[str, int, str | None]] = [
        ("test images that are also training images", shared("test", "train"), "test"),
        ("test images that are also validation images", shared("test", "validation"), "test"),
        (
            "validation images that are also training images",
            shared("validation", "train"),
            "validation",
        ),
        ("training images that are also another training image", within("train"), "train"),
        (
            "validation images that are also another validation image",
            within("validation"),
            "validation",
        ),
        ("test images that are also another test image", within("test"), "test"),
        (
            "images that are also there with another label",
            sum(len(g) for g in groups.values() if len({row["label"] for row in g}) > 1),
            None,
        ),
    ]
    if "in_other_files" in raw.data["duplicates"]:
        files = [Counter(row["sha256"] for row in g) for g in groups.values() if len(g) > 1]
        alone = sum(count == 1 for counter in files for count in counter.values())
        counts.append(("images whose copies are all in files of other bytes", alone, None))
    return [(what, n, _share(n, sum(of[split].values())) if split else None)
            for what, n, split in counts]  # fmt: skip


def _share(count: int, num: int) -> float | None:
    return count / num if num else None


@table
def worth_table(raw: RawSweep, told: Told, columns: tuple[str, ...]) -> list[Row]:
    """What simpler searches would have picked with as many epochs."""
    del told, columns
    trials = [trial for trial in raw.scored if trial.log]
    failed = [trial for trial in raw.search if trial.log and not trial.has_score]
    best = max(trials, key=raw.rank)
    budget = sum(trial.log[-1]["epoch"] for trial in (*trials, *failed))
    value = raw.value(best)
    rows: list[Row] = [
        ("this search", len(trials), budget, f"trial {best.number}", value, *[None] * 4)
    ]
    drawn, lost = (_drawn(raw, those) for those in (trials, failed))
    if drawn and (row := _random(raw, drawn, lost, budget, value)):
        rows.append(row)
    if row := _top_k(raw, trials, failed, budget, value):
        rows.append(row)
    return rows


def _drawn(raw: RawSweep, trials: list[RawTrial]) -> list[RawTrial]:
    if raw.settings.get("stages"):
        return []
    at_random = raw.settings["sampler"] in ("random", "grid")
    return [trial for trial in trials if at_random or trial.number < 10]


def _full(trial: RawTrial) -> float:
    """Epochs that the trial in full would cost."""
    reached = float(trial.log[-1]["epoch"])
    ended = trial.ended in ("finished", "failed")
    return reached if ended else max(reached, float(trial.config["training"]["epochs"]))


def _reached(raw: RawSweep, trial: RawTrial, until: float = float("inf")) -> float:
    """The best value of its log up to an epoch; at least its first."""
    values: list[float] = [
        record[raw.metric]
        for place, record in enumerate(trial.log)
        if place == 0 or record["epoch"] <= until
    ]
    return raw.sign * max(raw.sign * value for value in values)


def _ends(raw: RawSweep, trials: list[RawTrial]) -> tuple[list[float], list[float], list[float]]:
    """Of these trials, at least, estimated and at most; the last two empty where unknown."""
    least = [_reached(raw, trial) for trial in trials]
    stopped = [trial.ended != "finished" for trial in trials]
    finished = [trial for trial in raw.scored if trial.log and trial.ended == "finished"]
    if not any(stopped):
        return least, least, least
    if not finished:
        return least, [], []

    def error(value: float) -> float:
        return 1 - value if raw.sign > 0 else value

    top = raw.sign * max(raw.sign * _reached(raw, trial) for trial in finished)
    guess, most = [], []
    for trial, value, is_stopped in zip(trials, least, stopped, strict=True):
        epoch = trial.log[-1]["epoch"]
        before = [(error(_reached(raw, t, epoch)), error(_reached(raw, t))) for t in finished]
        left = [end / then for then, end in before if 0 < then < float("inf")]
        share = median(left) if left else 1.0
        guess.append(error(share * error(value)) if is_stopped else value)
        most.append(raw.sign * max(raw.sign * value, raw.sign * top) if is_stopped else value)
    return least, guess, most


def _random(
    raw: RawSweep, drawn: list[RawTrial], lost: list[RawTrial], budget: float, value: float
) -> Row | None:
    each = sum(map(_full, (*drawn, *lost))) / len(drawn)
    num = int(budget / each)
    if num < 1:
        return None
    draws = min(num, len(drawn))
    least, guess, most = (
        best_of(values, draws, raw.sign) if values else None for values in _ends(raw, drawn)
    )
    stopped = sum(trial.ended != "finished" for trial in drawn)
    picks = f"the best of {num}" if draws == num else f"at least the best of {len(drawn)}"
    behind = None if guess is None else raw.sign * (value - guess)
    return ("random search", num, num * each, picks, guess, least, most if draws == num else None,
            f"{stopped} of {len(drawn)}", behind)  # fmt: skip


def _top_k(
    raw: RawSweep, trials: list[RawTrial], failed: list[RawTrial], budget: float, value: float
) -> Row | None:
    firsts = {t.number: min(1.0, t.log[-1]["epoch"]) for t in (*trials, *failed)}
    spent, chosen = float(sum(firsts.values())), []
    for trial in sorted(trials, key=lambda t: -raw.sign * _reached(raw, t, 1.0)):
        more = _full(trial) - firsts[trial.number]
        if spent + more > budget:
            break
        chosen.append(trial)
        spent += more
    if not chosen:
        return None
    picked = max(chosen, key=lambda trial: raw.sign * _reached(raw, trial))
    least, guess, most = (
        raw.sign * max(raw.sign * one for one in values) if values else None
        for values in _ends(raw, chosen)
    )
    stopped = sum(trial.ended != "finished" for trial in chosen)
    behind = None if guess is None else raw.sign * (value - guess)
    name = f"one epoch of all, then {len(chosen)} in full"
    return (name, len(trials), spent, f"trial {picked.number}", guess, least, most,
            f"{stopped} of {len(chosen)}", behind)  # fmt: skip
