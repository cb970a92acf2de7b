"""What leads out of a sweep's folder is called in few places, each of which asks first."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
DOORS = {
    ("analysis", "open_training_data"): {"analysis/sweep_folder/outside.py"},
    ("analysis", "open_test_data"): {"analysis/seal/sealed_test.py"},  # after its `may_open`
    ("analysis", "open_labelled"): {
        "analysis/evaluating/evaluation.py"
    },  # of images that the user names
    ("analysis", "prepare"): set(),
    ("analysis", "fetch_weights"): set(),
    ("analysis", "read_checkpoint"): {"analysis/models/model.py"},  # with `may_read_weights`
    ("analysis", "network_before_training"): {"analysis/findings/before_training.py"},
    ("analysis", "before_and_after"): {"analysis/findings/results.py"},
    ("analysis", "ObjectStore"): {
        "analysis/sweep_folder/folder.py"
    },  # of a working copy in the user's record
    ("analysis", "RDBStorage"): {"analysis/sweep_folder/study_database.py"},
    ("toprung", "RDBStorage"): {
        "toprung/dashboards/child.py"
    },  # of the sweep's own file, read-only
    ("analysis", "create_engine"): set(),
    ("toprung", "create_engine"): set(),
    ("toprung", "load_copy"): {"toprung/planning/resuming.py"},
}
"""By the room and the name of what is called there: the files that may."""


def called(path: Path) -> set[str]:
    """The names of everything that a file calls, whatever they belong to."""
    calls = [
        node.func for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)
    ]
    return {
        call.attr if isinstance(call, ast.Attribute) else getattr(call, "id", "") for call in calls
    }


@pytest.fixture(scope="module")
def calls() -> dict[str, set[str]]:
    files = [path for room in ("analysis", "toprung") for path in (ROOT / room).rglob("*.py")]
    return {path.relative_to(ROOT).as_posix(): called(path) for path in files}


@pytest.mark.parametrize(("room", "name"), DOORS)
def test_is_called_there_alone(room: str, name: str, calls: dict[str, set[str]]) -> None:
    callers = {
        path for path, names in calls.items() if path.startswith(f"{room}/") and name in names
    }
    assert callers == DOORS[room, name]
