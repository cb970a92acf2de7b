"""Two sweeps that open the same test images: neither is silent about the other."""

import json
import shutil
from pathlib import Path

import pytest
import yaml

from tests.analysis.seal.conftest import ID, Sealed
from tests.analysis.test_sweep import CONFIG
from tests.support.helpers import printed, remember_configs
from tests.support.simulated_sweep import Simulated, simulated_sweep
from toprung.analysis.findings.results import Results
from toprung.analysis.pictures import seal as seal_parts
from toprung.analysis.report import answer
from toprung.analysis.seal.evidence import read_seal
from toprung.analysis.seal.ledger import BESIDE
from toprung.analysis.seal.optimism import optimism
from toprung.analysis.sweep import Sweep
from toprung.analysis.sweep_folder.user_state import STATE_VARIABLE, state_dir
from toprung.cluster.jobs.fetching import fetch


def told(sweep: Sweep) -> list[str]:
    """What the page says of the seal."""
    rows = seal_parts.seal(Results(sweep))
    assert rows is not None
    return [str(row[0]) for row in rows.rows]


@pytest.fixture
def pair(sealed: Sealed, tmp_path: Path) -> tuple[Sweep, Sweep]:
    """Sweeps with different winners on the same images; the first was opened, then the second."""
    sweeps = []
    for name, source in (("a", sealed.first), ("b", sealed.resumed)):
        path = shutil.copytree(source, tmp_path / "sweeps" / name)
        settings = path / "sweep.yaml"
        said = yaml.safe_load(settings.read_text()) | {"id": name + ID[1:]}
        settings.write_text(yaml.safe_dump(said))
        remember_configs(name + ID[1:], [CONFIG])
        sweeps.append(Sweep(path))
        sweeps[-1].test()
    return sweeps[0], sweeps[1]


def test_an_opening_says_what_was_opened_before(pair: tuple[Sweep, Sweep]) -> None:
    first, second = (sweep.test() for sweep in pair)
    assert (first.forced, second.forced) == (False, False)
    assert first.num_models == 1
    assert second.earlier is not None
    assert (second.earlier.openings, second.earlier.models) == (1, 1)
    assert second.earlier.images == second.earlier.of_images == second.num_images
    assert second.earlier.sweeps == ["a"]
    bound = optimism(second.accuracy, second.num_images, 2)
    line = (
        f"{second.num_images} of the {second.num_images} test images were opened 1 time, for 1 "
        f"other model (by sweep a) before; the best of 2 models on them is expected to be "
        f"optimistic by up to {bound:.4f}"
    )
    path = str(pair[1].folder.path)
    assert printed("test", path).splitlines()[1].strip() == line
    assert line in printed("status", path)
    assert f"Not a fresh test set: {line}." in answer.notices(Results(pair[1]))
    export = pair[1].export()
    assert f"Test: {line}." in (export / "README.md").read_text()
    metrics = json.loads((export / "metrics.json").read_text())
    assert metrics["test_reuse"] == {"num_models": 2, "optimism_of_the_best": bound}
    assert metrics["test"]["earlier"]["sweeps"] == ["a"]


def test_the_page_of_the_first_says_what_was_opened_since(pair: tuple[Sweep, Sweep]) -> None:
    assert told(pair[0])[-1] == (
        "Apart from this opening, 359 of the 359 test images were opened 1 time, for 1 other model "
        "(by sweep b) so far."
    )
    assert told(pair[1])[-1].startswith("359 of the 359 test images were opened 1 time")
    rows = seal_parts.openings(Results(pair[1]))
    assert rows is not None
    assert rows.rows[0][rows.columns.index("models")] == 2


def test_compare_says_that_they_are_of_the_same_images(pair: tuple[Sweep, Sweep]) -> None:
    best = max((sweep.test() for sweep in pair), key=lambda result: result.accuracy)
    bound = optimism(best.accuracy, best.num_images, 2)
    paths = [str(sweep.folder.path) for sweep in pair]
    assert (
        "warning: test figures of a, b: 2 models have been opened on these test images, or on some "
        f"of them; the best of 2 models on them is expected to be optimistic by up to {bound:.4f}"
    ) in printed("compare", *paths)
    (first, second) = json.loads(printed("compare", *paths, "--json"))
    assert {first.get("models on test set"), second.get("models on test set")} == {None, 2}
    alone = printed("compare", paths[0], "--by", "optimizer/name")
    assert "test figures of a: 2 models have been opened" in alone


def test_the_same_model_in_another_sweep_is_not_another_model(
    sealed: Sealed, pair: tuple[Sweep, Sweep], tmp_path: Path
) -> None:
    path = shutil.copytree(sealed.first, tmp_path / "sweeps" / "again")
    again = Sweep(path).test()
    assert again.earlier is not None
    assert (again.earlier.openings, again.num_models) == (2, 2)
    pair[0].folder.path.rename(tmp_path / "a")
    shutil.rmtree(tmp_path / "sweeps")  # with the ledger beside them; the user's own is left
    assert Sweep(tmp_path / "a").test().num_models == 1
    since = told(Sweep(tmp_path / "a"))[-1]
    assert "opened 2 times, for 1 other model (by sweeps " in since


def test_what_is_fetched_is_known_here(
    unopened: Sweep, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    unopened.test()
    monkeypatch.setenv(STATE_VARIABLE, str(tmp_path / "another machine's"))
    here = fetch(unopened.folder.path, tmp_path / "here" / "sweep")
    assert read_seal(Sweep(here)).results == read_seal(unopened).results
    for known in (tmp_path / "here" / BESIDE, state_dir() / "openings"):
        assert len(list(known.glob("*.json"))) == 1


def test_the_page_says_so_if_the_search_began_with_a_sweep_that_was_opened(tmp_path: Path) -> None:
    results = simulated_sweep(tmp_path / "s", [Simulated([0.4, 0.6])])
    said = yaml.safe_load(results.sweep.folder.settings.read_text())
    said["warm_start"] = {"sweep": "other", "test_openings": 2}
    results.sweep.folder.settings.write_text(yaml.safe_dump(said))
    assert told(Sweep(results.sweep.folder.path))[-1] == (
        "The search began with the best configs of the sweep other, whose test set had been opened "
        "by then (openings: 2)."
    )
