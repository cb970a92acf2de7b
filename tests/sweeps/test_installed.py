"""Toprung as users install it: from a wheel, an sdist or a clone, beside modules of their own."""

import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FOLDERS = ("analysis", "search_spaces", "trainables")
"""Those at the top that are linked into `toprung`."""
OWN_MODULES = {
    "analysis.py": "WIDTHS = [4, 8]\n",
    "trainables.py": "LEARNING_RATES = [0.01, 0.1]\n",
    "search_spaces.py": "def optimizer(lr):\n    return {'name': 'sgd', 'lr': lr}\n",
    "tests/__init__.py": "SIZE = 8\n",
    "space.py": '''"""A space that imports what lies beside it."""
from analysis import WIDTHS
from search_spaces import optimizer
from tests import SIZE
from trainables import LEARNING_RATES

SWEEP = {"data": "digits", "trials": 1, "max_epochs": 1, "confirm": 0}


def search_space(trial):
    return {
        "data": {"image_size": SIZE, "channels": 1},
        "model": {"num_blocks": 1, "filters": trial.suggest_categorical("model/filters", WIDTHS)},
        "optimizer": optimizer(trial.suggest_categorical("optimizer/lr", LEARNING_RATES)),
    }
''',
    "script.py": """import toprung
print(toprung.run("space.py", name="own", out="sweeps").ended)
""",
}
FORMER_SPACE = """import toprung
from search_spaces.digits_cnn import search_space
from trainables.config import TrialConfig
from analysis.sweep import Sweep
assert Sweep is toprung.Sweep
"""
NOT_INSTALLED = f"""
from importlib.util import find_spec
assert not any(map(find_spec, {[*FOLDERS, "tests", "benchmarks"]}))
"""


@dataclass
class Environment:
    """A virtual environment with the packages of this one, but not its Toprung."""

    folder: Path

    def run(self, *command: str, at: Path, **variables: str) -> str:
        """Run a program of it in this folder, and give what it printed."""
        kept = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        command = (str(self.folder / "bin" / command[0]), *command[1:])
        done = subprocess.run(
            command, cwd=at, env=kept | variables, capture_output=True, text=True, timeout=120
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr


def uv(*arguments: str | Path) -> None:
    """Run uv: the one that runs us, one on the path, or the Makefile's."""
    beside = Path(sys.prefix).parent / ".uv/bin/uv"
    program = os.environ.get("UV") or shutil.which("uv") or beside
    subprocess.run([program, "--quiet", *arguments], check=True, timeout=120)


def installed(what: Path, folder: Path, *options: str) -> Environment:
    uv("venv", "--python", sys.executable, folder)
    python = folder / "bin" / "python"
    (packages,) = folder.glob("lib/python*/site-packages")
    # A folder named in a .pth file is searched, but its own .pth files are not followed.
    here = [place for place in sys.path if place.endswith("site-packages")]
    (packages / "others.pth").write_text("\n".join(here))
    uv("pip", "install", "--python", python, "--no-deps", *options, what)
    return Environment(folder)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    uv("build", "--wheel", "--out-dir", folder, ROOT)
    return next(folder.glob("*.whl"))


@pytest.fixture(scope="module")
def environment(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Environment:
    return installed(wheel, tmp_path_factory.mktemp("installed") / "venv")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    for name, text in OWN_MODULES.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


def our_files() -> set[str]:
    """What is to be installed, by its place there."""
    found = set()
    for top in ("toprung", *FOLDERS):
        files = [path for path in (ROOT / top).rglob("*") if path.is_file()]
        names = [str(path.relative_to(ROOT)) for path in files if "__pycache__" not in path.parts]
        found |= {name if top == "toprung" else f"toprung/{name}" for name in names}
    return found


def files_of(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as packed:
        return {name for name in packed.namelist() if ".dist-info/" not in name}


def test_a_wheel_holds_every_file_and_toprung_alone(wheel: Path) -> None:
    assert files_of(wheel) == our_files()
    assert {f"toprung/{folder}/py.typed" for folder in FOLDERS} < our_files()


def test_so_does_a_wheel_from_a_source_distribution(tmp_path: Path) -> None:
    uv("build", "--out-dir", tmp_path, ROOT)
    assert files_of(next(tmp_path.glob("*.whl"))) == our_files()
    with tarfile.open(next(tmp_path.glob("*.tar.gz"))) as packed:
        assert not [member.name for member in packed if not member.isfile()]


def test_a_sweep_runs_beside_modules_of_the_user_s_own(
    environment: Environment, project: Path
) -> None:
    assert "digits_cnn" in environment.run("toprung", "spaces", at=project)
    told = environment.run("python", "script.py", at=project, PYTHONPATH=str(project))
    assert told.startswith("finished\n")


def test_nothing_else_can_be_imported(environment: Environment, tmp_path: Path) -> None:
    environment.run("python", "-c", NOT_INSTALLED, at=tmp_path)


def test_former_import_names_work_with_a_warning_each(
    environment: Environment, tmp_path: Path
) -> None:
    (tmp_path / "former.py").write_text(FORMER_SPACE)
    load = "from toprung.search_spaces import load; print(load('former.py').name)"
    told = environment.run("python", "-P", "-c", load, at=tmp_path)
    assert told.startswith("former\n")
    assert told.count("FutureWarning") == len(FOLDERS)
    assert "former.py:2: FutureWarning: import toprung.search_spaces instead of" in told


def test_a_clone_lets_only_toprung_be_imported(
    project: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    clone = installed(ROOT, tmp_path_factory.mktemp("clone") / "venv", "--editable")
    code = "import toprung, toprung.analysis, analysis, tests; print(toprung.__file__, tests.SIZE)"
    assert (
        clone.run("python", "-c", code, at=project) == f"{ROOT}/.editable/toprung/__init__.py 8\n"
    )
    clone.run("python", "-P", "-c", NOT_INSTALLED, at=project)
