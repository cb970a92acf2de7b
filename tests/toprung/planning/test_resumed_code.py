"""Code in a sweep's folder is run only if the user made it, or agreed to it."""

import importlib.util
import marshal
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

import toprung as package
from benchmarks.kills.pretended.sweep import begin, go_on
from tests.support.fuzzed_sweep import run
from toprung.analysis.sweep_folder.folder import SweepFolder
from toprung.analysis.sweep_folder.outside import NotConfirmedError
from toprung.analysis.sweep_folder.user_state import STATE_VARIABLE
from toprung.cluster.replaced import replaced
from toprung.planning.kept_code import IS_SENT
from toprung.search import proposals

SPACE = "from helper_of_a_stranger import *\n"
HELPER = "from benchmarks.kills.spaces.small import *\n"
EVIL = "from pathlib import Path\nPath({marker!r}).touch()\n"


@pytest.fixture(autouse=True, scope="module")
def _quick() -> Iterator[None]:
    with replaced(proposals, "NUM_REHEARSALS", 10):
        yield


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sweep of one trial, with code of its own, as one that was submitted has it."""
    home = tmp_path_factory.mktemp("made")
    (home / "job").mkdir()
    (home / "job" / "helper_of_a_stranger.py").write_text(HELPER)
    (home / "job" / "space.py").write_text(SPACE)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(IS_SENT, "1")
        begin(home / "sweep", str(home / "job" / "space.py"), trials=1)
    shutil.rmtree(home / "job")
    return home / "sweep"


@pytest.fixture
def sweep(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "sweep"))


@pytest.fixture
def marker(tmp_path: Path) -> Path:
    """A file that is there once foreign code has run."""
    return tmp_path / "it-ran"


def compile_beside(source: Path, code: str) -> None:
    """Put a compiled file beside a source, which Python would take for it without a look."""
    compiled = Path(importlib.util.cache_from_source(str(source)))
    compiled.parent.mkdir(exist_ok=True)
    header = importlib.util.MAGIC_NUMBER + (1).to_bytes(4, "little") + bytes(8)  # never checked
    compiled.write_bytes(header + marshal.dumps(compile(code, str(source), "exec")))


def test_one_s_own_goes_on_unasked_wherever_it_lies(sweep: Path) -> None:
    moved = sweep.rename(sweep.with_name("moved and renamed"))
    go_on(moved, trials="+1")
    go_on(moved, trials="+1")
    assert len(package.open(moved).trials()) == 3
    assert not list(moved.rglob("*.pyc"))


def test_a_stranger_s_asks_once(
    sweep: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(STATE_VARIABLE, str(tmp_path / "state"))
    here = Path.cwd()
    code, said = run(["resume", str(sweep), "--trials", "+1"])
    assert (code, len(said.splitlines())) == (2, 1)
    assert "code that would run (search space" in said
    assert str(sweep / "search_space.py") in said
    assert Path.cwd() == here
    with pytest.raises(NotConfirmedError, match="code that would run"):
        go_on(sweep, trials="+1")
    go_on(sweep, trials="+1", trust=True)
    go_on(sweep, trials="+1")
    assert len(package.open(sweep).trials()) == 3


@pytest.mark.parametrize("name", ["search_space.py", "code/helper_of_a_stranger.py", "code/x.so"])
def test_that_was_changed_meanwhile_is_not_run(name: str, sweep: Path, marker: Path) -> None:
    with (sweep / name).open("a") as file:
        file.write(EVIL.format(marker=str(marker)))
    with pytest.raises(NotConfirmedError, match="your record of this sweep does not have it"):
        go_on(sweep, trials="+1")
    assert not marker.exists()


@pytest.mark.parametrize(
    "change",
    [
        {"space_origin": "another.module"},
        {"space_origin": "/elsewhere/space.py"},
        {"directory": "/elsewhere"},
        {"overrides": {"data/source": "/elsewhere"}},
        {"config": {"data": {"source": "/elsewhere"}}},
    ],
)
def test_nor_what_decides_on_it(change: dict[str, object], sweep: Path) -> None:
    settings = SweepFolder(sweep).settings
    settings.write_text(yaml.safe_dump(yaml.safe_load(settings.read_text()) | change))
    with pytest.raises(NotConfirmedError, match="your record of this sweep does not have it"):
        go_on(sweep, trials="+1")


@pytest.mark.parametrize("name", ["search_space.py", "code/helper_of_a_stranger.py"])
def test_nor_is_a_compiled_file_beside_it(name: str, sweep: Path, marker: Path) -> None:
    compile_beside(sweep / name, EVIL.format(marker=str(marker)) + HELPER)
    go_on(sweep, trials="+1")
    assert not marker.exists()
    assert len(package.open(sweep).trials()) == 2
