"""A report's figures.json held against what is computed again."""

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.recompute import answer, how, search, test_set, trust  # noqa: F401 (their tables)
from benchmarks.recompute.cells import (
    LEFT_OUT,
    TABLES,
    LeftOut,
    Near,
    agrees,
    is_number,
    numbers_in,
)
from benchmarks.recompute.raw import RawSweep


@dataclass
class Found:
    """What a report's check has come to.

    Attributes:
        num_figures: numbers that were computed again.
        num_words: other cells that were.
        differences: what is not as it should be, a line each.
        left_out: how many cells were not computed again, by the reason.
    """

    num_figures: int = 0
    num_words: int = 0
    differences: list[str] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)

    def hold(self, where: str, told: Any, expected: Any) -> None:
        """Hold one cell against what it should be."""
        if isinstance(expected, LeftOut):
            self.left_out[expected.reason] += told is not None
            return
        value = expected.value if isinstance(expected, Near) else expected
        if is_number(told) or is_number(value):
            self.num_figures += 1
        else:
            self.num_words += 1
        if not agrees(told, expected):
            self.differences.append(f"{where}: {told!r}, computed again {value!r}")


def check(sweep: Path, report: Path | None = None) -> Found:
    """Compute every figure of a report again, and the accuracy and loss in the seal's record.

    Args:
        sweep: the folder of a sweep.
        report: the report's folder, if it is not in the sweep's.
    """
    file = (report or sweep / "report") / "figures.json"
    said, raw, found = json.loads(file.read_text("utf-8")), RawSweep(sweep), Found()
    _check_headline(said["headline"], raw, found)
    for name, told, expected in answer.opened_again(raw):
        found.hold(f"sealed_test.json: {name}", told, expected)
    for part in said["parts"]:
        if "problem" in part:
            found.left_out[f"{part['name']}: could not be drawn"] += 1
        elif "picture" in part:
            found.left_out["pictures, which have no figures in the file"] += 1
        else:
            _check_table(part, raw, found)
    return found


def _check_headline(told: Sequence[dict[str, Any]], raw: RawSweep, found: Found) -> None:
    expected = answer.headline(raw)
    labels = [fact["label"] for fact in told], [label for label, _, _ in expected]
    found.hold("headline", *labels)
    for fact, (label, value, note) in zip(told, expected, strict=False):
        found.hold(f"headline: {label}", fact["value"], value)
        if label != "wall time":
            found.hold(f"headline: {label}: numbers in its note", numbers_in(fact["note"]), note)


def _check_table(part: dict[str, Any], raw: RawSweep, found: Found) -> None:
    name, told = part["name"], [tuple(row) for row in part["rows"]]
    if name in LEFT_OUT:
        found.left_out[f"{name}: {LEFT_OUT[name]}"] += sum(map(len, told))
        return
    if name not in TABLES:
        found.differences.append(f"{name}: nobody computes this table again (benchmarks.recompute)")
        return
    expected = TABLES[name](raw, told, tuple(part["columns"]))
    if len(told) != len(expected):
        found.differences.append(f"{name}: {len(told)} rows, computed again {len(expected)}")
    for number, (row, again) in enumerate(zip(told, expected, strict=False), start=1):
        where = f"{name}, row {number} ({row[0]})"
        if len(row) != len(again):
            found.differences.append(f"{where}: {len(row)} cells, computed again {again}")
            continue
        for column, cell, one in zip(part["columns"], row, again, strict=True):
            found.hold(f"{where}, {column or 'name'}", cell, one)


def lines_of(all_found: dict[str, Found]) -> Iterator[str]:
    """A table of counts, then every difference, and what was left out."""
    yield "| sweep | figures | other cells | differences | left out |"
    yield "|---|---|---|---|---|"
    for name, found in [*all_found.items(), ("all", _sum(all_found))]:
        left = sum(found.left_out.values())
        counts = found.num_figures, found.num_words, len(found.differences), left
        yield f"| {name} | {' | '.join(f'{count:,}' for count in counts)} |"
    for name, found in all_found.items():
        yield from (f"DIFFERENT: {name}: {difference}" for difference in found.differences)
    for reason, count in sorted(_sum(all_found).left_out.items()):
        yield f"left out: {count} cells: {reason}"


def _sum(all_found: dict[str, Found]) -> Found:
    whole = Found()
    for found in all_found.values():
        whole.num_figures += found.num_figures
        whole.num_words += found.num_words
        whole.differences += found.differences
        whole.left_out += found.left_out
    return whole
