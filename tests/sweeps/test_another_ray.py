"""A sweep on a Ray whose private parts are none of those that Toprung knows."""

import io
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

import toprung
from toprung.cluster.internals import Internal
from toprung.tune import tune_internals

pytestmark = [pytest.mark.usefixtures("local_ray"), pytest.mark.unpatched_ray]


def test_it_runs_without_the_patches_and_says_what_that_costs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    costs = set()
    for known, name in list(vars(tune_internals).items()):
        if isinstance(name, Internal) and name not in tune_internals.ESSENTIAL:
            gone = replace(name, place=f"{name.place}_of_another_ray")
            monkeypatch.setattr(tune_internals, known, gone)
            costs.add(name.cost)
    console = Console(file=(shown := io.StringIO()), width=500)
    sweep = toprung.run(
        "digits_cnn", trials=2, max_epochs=1, confirm=0, out=tmp_path, console=console
    )
    assert sweep.counts() == {"finished": 2}
    assert sweep.ended == "finished"
    warnings = [line for line in shown.getvalue().splitlines() if "_of_another_ray" in line]
    assert len(warnings) == len(costs)
