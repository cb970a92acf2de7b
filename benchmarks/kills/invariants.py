"""What must hold of every sweep, however often it was killed and resumed; checked on its raw files.

Nothing here uses Toprung's own reading of a sweep: SQLite by `sqlite3`, the decision log as JSON.
"""

import json
import sqlite3
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import Any

SMALLER_IS_BETTER = {"val_loss"}


@dataclass(frozen=True)
class Trial:
    """A trial as Optuna's tables have it.

    Attributes:
        state: Optuna's.
        values: the value of each validation, by its number.
        attributes: the user attributes.
    """

    state: str
    values: Mapping[int, float]
    attributes: Mapping[str, Any]


def broken(sweep: Path) -> list[str]:
    """Every invariant that does not hold of a sweep that has come to its end; each a sentence."""
    trials, study = read_study(sweep / "study.db")
    events = [json.loads(line) for line in (sweep / "decisions.jsonl").read_text().splitlines()]
    return [
        *_gaps(events),
        *_ends(events, trials),
        *_disagreements(events, trials),
        *_other_winner(sweep, trials, study),
        *_openings(sweep),
    ]


def read_study(file: Path) -> tuple[dict[int, Trial], dict[str, Any]]:
    """The trials by their numbers, and the study's user attributes."""
    with closing(sqlite3.connect(f"{file.as_uri()}?mode=ro", uri=True)) as database:
        values: dict[int, dict[int, float]] = defaultdict(dict)
        for trial, step, value in database.execute(
            "SELECT trial_id, step, intermediate_value FROM trial_intermediate_values"
        ):
            values[trial][step] = value
        attributes: dict[int, dict[str, Any]] = defaultdict(dict)
        for trial, key, text in database.execute(
            "SELECT trial_id, key, value_json FROM trial_user_attributes"
        ):
            attributes[trial][key] = json.loads(text)
        rows = database.execute("SELECT trial_id, number, state FROM trials").fetchall()
        of_study = database.execute("SELECT key, value_json FROM study_user_attributes").fetchall()
    trials = {number: Trial(state, values[key], attributes[key]) for key, number, state in rows}
    return trials, {key: json.loads(text) for key, text in of_study}


def _gaps(events: list[dict[str, Any]]) -> Iterator[str]:
    """Each trial's validations are 1, 2, 3 ...: none is missing, and none is there twice."""
    told: dict[int, list[int]] = defaultdict(list)
    for event in events:
        if event["event"] == "reported":
            told[event["trial"]].append(event["validation"])
    for trial, validations in sorted(told.items()):
        if validations != list(range(1, len(validations) + 1)):
            yield f"trial {trial}: its validations are {validations}"


def _ends(events: list[dict[str, Any]], trials: Mapping[int, Trial]) -> Iterator[str]:
    """Each trial ends once."""
    ends = Counter(event["trial"] for event in events if event["event"] == "ended")
    for number, trial in sorted(trials.items()):
        if ends[number] != 1 or trial.state in ("RUNNING", "WAITING"):
            yield f"trial {number}: ended {ends[number]} times in the log; state {trial.state}"


def _disagreements(events: list[dict[str, Any]], trials: Mapping[int, Trial]) -> Iterator[str]:
    """The study has the values that the decision log has."""
    logged: dict[int, dict[int, float]] = defaultdict(dict)
    for event in events:
        if event["event"] == "reported":
            logged[event["trial"]][event["validation"]] = event["value"]
    for number in sorted({*logged, *trials}):
        known = dict(trials[number].values) if number in trials else None
        if known != logged[number]:
            yield f"trial {number}: the study has {known}, the log {logged[number]}"


def _other_winner(
    sweep: Path, trials: Mapping[int, Trial], study: Mapping[str, Any]
) -> Iterator[str]:
    """The export is of the best trial: a tie goes to the lower loss, then to the earlier trial."""
    metric = study["settings"]["metric"]
    sign = -1 if metric in SMALLER_IS_BETTER else 1

    def rank(number: int) -> tuple[float, float, int]:
        best = trials[number].attributes["best"]
        return sign * best[metric], -best["val_loss"], -number

    scored = [
        number
        for number, trial in trials.items()
        if trial.attributes.get("best") and trial.attributes.get("ended") != "failed"
    ]
    searched = [n for n in scored if "confirms" not in trials[n].attributes]
    winner = max(searched, key=rank)
    if candidates := study.get("confirmation", {}).get("candidates"):
        runs = {
            c: [n for n in scored if trials[n].attributes.get("confirms") == c] for c in candidates
        }
        first = {c: sign * trials[c].attributes["best"][metric] for c in candidates}
        of_runs = {
            c: mean(sign * trials[n].attributes["best"][metric] for n in of)
            for c, of in runs.items()
            if len(of) > 1
        }
        if of_runs:
            chosen = max(of_runs, key=lambda c: (of_runs[c], first[c]))
            winner = max([chosen, *runs[chosen]], key=rank)
    exported = json.loads((sweep / "best" / "metrics.json").read_text())["trial"]
    if exported != winner:
        yield f"the export is of trial {exported}, the best is trial {winner}"


def _openings(sweep: Path) -> Iterator[str]:
    """The test set was opened once, without force."""
    told = json.loads((sweep / "sealed_test.json").read_text())
    if len(told) != 1 or told[0]["forced"]:
        yield f"the test set was opened {len(told)} times: {told}"
