"""A sweep as its raw files have it."""

import csv
import json
import re
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray

_TIME = "%Y-%m-%d %H:%M:%S.%f"


@dataclass(frozen=True)
class RawTrial:
    """A trial as the study's tables have it, and its log.

    Attributes:
        attrs: the user attributes.
        log: its validations, in order.
    """

    number: int
    attrs: dict[str, Any]
    params: dict[str, Any]
    started: datetime | None
    completed: datetime | None
    log: tuple[dict[str, Any], ...]

    @property
    def ended(self) -> str:
        """In what way."""
        return str(self.attrs.get("ended", "running"))

    @property
    def best(self) -> dict[str, Any] | None:
        """The record of its best validation."""
        return self.attrs.get("best")

    @property
    def has_score(self) -> bool:
        """Whether it was validated and did not fail."""
        return self.best is not None and self.ended != "failed"

    @cached_property
    def config(self) -> dict[str, Any]:
        """Nested; empty if it has none."""
        return yaml.safe_load(self.attrs.get("config", "{}")) or {}

    @property
    def recipe(self) -> dict[str, Any]:
        """What two runs of the same config have in common."""
        return {key: value for key, value in self.config.items() if key not in ("seed", "labels")}

    @property
    def settings(self) -> dict[str, Any]:
        """By path; lists as text."""
        flat = flat_of(self.config)
        return {path: str(v) if isinstance(v, list) else v for path, v in flat.items()}


@dataclass(frozen=True)
class Candidate:
    """A trial that was trained again, and its runs."""

    trial: RawTrial
    runs: tuple[RawTrial, ...]


@dataclass(frozen=True)
class Said:
    """What a model said of images: logits, true classes, the classes' names."""

    logits_NK: NDArray[np.float64]
    labels_N: NDArray[np.int64]
    class_names: tuple[str, ...]


class RawSweep:
    """A sweep's folder, each file read when it is first asked for.

    Args:
        path: the folder.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    @cached_property
    def said(self) -> dict[str, Any]:
        """What sweep.yaml says."""
        return dict(yaml.safe_load((self.path / "sweep.yaml").read_text("utf-8")))

    @property
    def settings(self) -> dict[str, Any]:
        """The sweep's settings."""
        return dict(self.said["settings"])

    @property
    def data(self) -> dict[str, Any]:
        """What sweep.yaml says of the data."""
        return dict(self.said.get("data") or {})

    @property
    def metric(self) -> str:
        """What trials are selected by."""
        return str(self.settings["metric"])

    @property
    def sign(self) -> int:
        """1 if larger values are better, -1 if smaller ones are."""
        return -1 if self.metric.endswith("loss") else 1

    @cached_property
    def study_attrs(self) -> dict[str, Any]:
        """The study's user attributes."""
        rows = self._rows('SELECT "key", value_json FROM study_user_attributes')
        return {key: json.loads(text) for key, text in rows}

    @cached_property
    def trials(self) -> list[RawTrial]:
        """All that began or were refused, by number; none that another sweep has made."""
        attrs = self._by_trial('SELECT trial_id, "key", value_json FROM trial_user_attributes')
        params: dict[int, dict[str, Any]] = {}
        for trial, name, value, told in self._rows(
            "SELECT trial_id, param_name, param_value, distribution_json FROM trial_params "
            "ORDER BY param_id"
        ):
            params.setdefault(trial, {})[name] = _external(value, json.loads(told))
        rows = self._rows(
            "SELECT trial_id, number, datetime_start, datetime_complete FROM trials "
            "WHERE state != 'WAITING' ORDER BY number"
        )
        return [
            RawTrial(
                number,
                attrs.get(trial, {}),
                params.get(trial, {}),
                _time(started),
                _time(completed),
                tuple(self._log(number)),
            )
            for trial, number, started, completed in rows
            if "taken_from" not in attrs.get(trial, {})
        ]

    @property
    def search(self) -> list[RawTrial]:
        """The trials of the search."""
        return [trial for trial in self.trials if "confirms" not in trial.attrs]

    @property
    def scored(self) -> list[RawTrial]:
        """Those of the search that were validated and did not fail."""
        return [trial for trial in self.search if trial.has_score]

    def value(self, trial: RawTrial) -> float:
        """The metric of its best validation."""
        assert trial.best is not None
        return float(trial.best[self.metric])

    def rank(self, trial: RawTrial) -> tuple[float, float, int]:
        """The best trial has the greatest: a tie goes to the lower loss, then to the earlier."""
        assert trial.best is not None
        return self.sign * self.value(trial), -trial.best["val_loss"], -trial.number

    @cached_property
    def candidates(self) -> list[Candidate]:
        """The trials that were trained again."""
        numbers = self.study_attrs.get("confirmation", {}).get("candidates", [])
        by_number = {trial.number: trial for trial in self.trials}
        return [
            Candidate(
                by_number[number],
                tuple(
                    trial
                    for trial in self.trials
                    if trial.attrs.get("confirms") == number
                    and trial.recipe == by_number[number].recipe
                ),
            )
            for number in numbers
        ]

    @property
    def chosen(self) -> Candidate | None:
        """The candidate with the best mean, if the confirmation is done."""
        done = self.study_attrs.get("confirmation", {}).get("done", False)
        held = [candidate for candidate in self.candidates if done and self.held(candidate)]
        return max(held, key=self._merit, default=None)

    def held(self, candidate: Candidate) -> bool:
        """Whether it has several runs, and all of them came to their end."""
        ended = [run.has_score and run.ended == "finished" for run in candidate.runs]
        return len(ended) > 1 and all(ended)

    def _merit(self, candidate: Candidate) -> tuple[float, float]:
        mean = fmean(map(self.value, candidate.runs))
        return self.sign * mean, self.sign * self.value(candidate.trial)

    @cached_property
    def winner(self) -> RawTrial | None:
        """The best trial, or the best run of the candidate with the best mean."""
        if self.chosen:
            return max([self.chosen.trial, *self.chosen.runs], key=self.rank)
        return max(self.scored, key=self.rank, default=None)

    @cached_property
    def openings(self) -> list[dict[str, Any]]:
        """The record of openings of the test set."""
        path = self.path / "sealed_test.json"
        return list(json.loads(path.read_text("utf-8"))) if path.exists() else []

    @property
    def opening(self) -> dict[str, Any] | None:
        """The winner's."""
        if self.winner is None:
            return None
        mine = [opening for opening in self.openings if opening["trial"] == self.winner.number]
        return mine[-1] if mine else None

    @cached_property
    def test(self) -> Said | None:
        """What the winner said of the test images; None if it was not opened, or is not kept."""
        if self.opening is None:
            return None
        path = self.path / "test_predictions" / f"trial_{self.opening['trial']:05d}.npz"
        if not path.exists():
            return None
        with np.load(path, allow_pickle=False) as file:
            names = json.loads(str(file["texts"]))["class_names"]
            return Said(file["logits"].astype(np.float64), file["labels"], tuple(names))

    @cached_property
    def splits(self) -> list[dict[str, str]]:
        """The lines of splits.csv; none without that file."""
        path = self.path / "splits.csv"
        if not path.exists():
            return []
        with path.open(newline="", encoding="utf-8", errors="surrogateescape") as file:
            return list(csv.DictReader(file))

    @property
    def trials_per_gpu(self) -> int | None:
        """How many trials shared a GPU at the last."""
        path = self.path / "decisions.jsonl"
        text = path.read_text("utf-8", "replace") if path.exists() else ""
        found = re.findall(r'"trials_per_gpu": ([1-9]\d*)', text)
        return int(found[-1]) if found else None

    def _log(self, number: int) -> Iterator[dict[str, Any]]:
        path = self.path / "trials" / f"trial_{number:05d}" / "result.json"
        lines = path.read_text("utf-8").splitlines() if path.exists() else []
        validations: dict[int, dict[str, Any]] = {}
        for told in map(json.loads, lines):
            if "validation" in told:
                validations[told["validation"]] = told  # the later one, of a resumed trial
        yield from (validations[key] for key in sorted(validations))

    def _rows(self, query: str) -> list[tuple[Any, ...]]:
        place = f"file:{(self.path / 'study.db').resolve().as_posix()}?mode=ro"
        with closing(sqlite3.connect(place, uri=True)) as connection:
            return connection.execute(query).fetchall()

    def _by_trial(self, query: str) -> dict[int, dict[str, Any]]:
        found: dict[int, dict[str, Any]] = {}
        for trial, key, text in self._rows(query):
            found.setdefault(trial, {})[key] = json.loads(text)
        return found


def flat_of(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested values by path."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        below = isinstance(value, Mapping)
        flat |= flat_of(value, f"{prefix}{key}/") if below else {f"{prefix}{key}": value}
    return flat


def _external(value: float, told: Mapping[str, Any]) -> Any:
    """A parameter's value, from the number by which Optuna's tables keep it."""
    if told["name"] == "CategoricalDistribution":
        return told["attributes"]["choices"][int(value)]
    return int(value) if told["name"] == "IntDistribution" else value


def _time(text: str | None) -> datetime | None:
    if text is None:
        return None
    return datetime.strptime(text if "." in text else f"{text}.0", _TIME)
