"""The data, and how a sweep was run: settings, versions, failures."""

import operator
import re
from collections import Counter, defaultdict
from collections.abc import Mapping
from typing import Any

from benchmarks.recompute.cells import LeftOut, Row, Told, keyed, table
from benchmarks.recompute.raw import RawSweep, RawTrial, flat_of

_SPLITS = ("train", "validation", "test")
_ADVICE = LeftOut("advice, in words")
_REGION = re.compile(
    r"(?:all \d+ trials|the only trial|\d+ of the \d+ trials) with (?P<name>\S+) "
    r"(?P<sign><=|>=|=) (?P<value>.+), (?:none|\d+) of the other \d+"
)
_SIGNS = {"<=": operator.le, ">=": operator.ge}


@table
def images_of_each_class(raw: RawSweep, told: Told, columns: tuple[str, ...]) -> list[Row]:
    """Images of each class in each split."""
    del told, columns
    counts = Counter((row["label"], row["split"]) for row in raw.splits)
    names = sorted({name for name, _ in counts})
    rows: list[Row] = [(name, *(counts[name, split] for split in _SPLITS)) for name in names]
    totals = (sum(counts[name, split] for name in names) for split in _SPLITS)
    return [*rows, ("all classes", *totals)]


@table
def settings(raw: RawSweep, told: Told, columns: tuple[str, ...]) -> list[Row]:
    """As sweep.yaml has them."""
    del columns
    begun = {key: raw.said[key] for key in ("space", "started_at") if key in raw.said}
    overrides = flat_of(raw.said.get("overrides") or {}, "set ")
    return _keyed(told, begun | flat_of(raw.settings) | overrides)


@table
def data(raw: RawSweep, told: Told, columns: tuple[str, ...]) -> list[Row]:
    """As sweep.yaml has it; classes and files that cannot be read are counted."""
    del columns
    said = raw.data
    if "class_names" in said:
        said["classes"] = len(said.pop("class_names"))
    return _keyed(told, flat_of(said | {"bad_images": len(said.get("bad_images") or ())}))


@table
def versions(raw: RawSweep, told: Told, columns: tuple[str, ...]) -> list[Row]:
    """As sweep.yaml has them."""
    del columns
    return _keyed(told, raw.said["versions"])


@table
def bad_images(raw: RawSweep, told: Told, columns: tuple[str, ...]) -> list[Row]:
    """As sweep.yaml has them."""
    del told, columns
    return [(image,) for image in raw.data["bad_images"]]


def _keyed(told: Told, values: Mapping[str, Any]) -> list[Row]:
    plain = {
        key: value if isinstance(value, str | int | float | None) else str(value)
        for key, value in values.items()
    }
    return keyed(told, 1, {(key,): (value,) for key, value in plain.items()})


@table
def failures(raw: RawSweep, told: Told, columns: tuple[str, ...]) -> list[Row]:
    """How many trials failed in each way; where, by counting them again."""
    del columns
    found = defaultdict(list)
    for trial in raw.trials:
        if kind := _kind(trial):
            found[kind].append(trial)
    where = {row[0]: row[2] for row in told}
    return keyed(
        told,
        1,
        {(k,): (len(t), _counted(raw, k, t, where.get(k)), _ADVICE) for k, t in found.items()},
    )


def _kind(trial: RawTrial) -> str | None:
    if trial.ended == "infeasible":
        return "impossible network"
    failed = trial.ended == "failed"
    return str(trial.attrs.get("failure_kind", "unknown kind")) if failed else None


def _counted(raw: RawSweep, kind: str, failed: list[RawTrial], told: str | None) -> Any:
    """The sentence with its numbers as they are; which condition is told is left to the report."""
    found = _REGION.fullmatch(told or "")
    if not told or not found:
        return LeftOut("that no condition stands out among 1,000 random draws") if not told else ""
    unknown = ("running",) if kind == "impossible network" else ("running", "infeasible")
    among = [trial for trial in raw.search if trial.ended not in unknown]
    inside = [trial for trial in among if _holds(trial, *found.group("name", "sign", "value"))]
    numbers = {trial.number for trial in failed}
    num_in = sum(trial.number in numbers for trial in inside)
    num_out = sum(trial.number in numbers for trial in among) - num_in
    some = f"{num_in} of the {len(inside)} trials"
    if num_in == len(inside):
        some = f"all {num_in} trials" if num_in > 1 else "the only trial"
    condition = f"{found['name']} {found['sign']} {found['value']}"
    others = f"{num_out or 'none'} of the other {len(among) - len(inside)}"
    return f"{some} with {condition}, {others}"


def _holds(trial: RawTrial, name: str, sign: str, value: str) -> bool:
    if name not in trial.params:
        return False
    if sign == "=":
        return str(trial.params[name]) == value
    return bool(_SIGNS[sign](trial.params[name], float(value)))


@table
def failed_trials(raw: RawSweep, told: Told, columns: tuple[str, ...]) -> list[Row]:
    """Trials that have a reason, and the innermost line of their traceback."""
    del told, columns
    rows = []
    for trial in raw.trials:
        if reason := trial.attrs.get("reason"):
            lines = str(trial.attrs.get("traceback") or "").splitlines()
            places = [line.strip() for line in lines if line.startswith("  File ")]
            rows.append((trial.number, trial.ended, reason, places[-1] if places else None))
    return rows
