"""What is private of Ray: who reaches into it, and what happens where it is gone."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest
from ray._private import services, utils, worker

from toprung.cluster import ray_internals
from toprung.cluster.internals import warn_of
from toprung.cluster.own_ray import OwnRay
from toprung.cluster.ray_environment import command_without_secrets, environment_without_secrets
from toprung.errors import ToprungError

ROOT = Path(__file__).parents[3]
OF_OTHERS = {"_exit", "_replace"}
"""Names of Python's own library that are public in spite of their underscore."""
THAT_HAVE_OBJECTS_OF_RAY = ("toprung/tune", "toprung/cluster", "trainables/ray_trainable.py")
IN_TRIALS = {"trainables/ray_trainable.py": ["ray.experimental.internal_kv._internal_kv_get"]}
"""The trainables know nothing of the inventories; those list this name."""


def reaches(tree: ast.Module) -> Iterator[str]:
    """Each private module or name of another's that a file imports or takes from an object."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("ray"):
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            yield from (name for name in names if any(_is_private(p) for p in name.split(".")))
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names if alias.name.startswith("ray.")]
            yield from (name for name in names if any(_is_private(p) for p in name.split(".")))
        elif isinstance(node, ast.Attribute) and _is_private(node.attr):
            owner = node.value
            if not (isinstance(owner, ast.Name) and owner.id in ("self", "cls")):
                yield node.attr


def _is_private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__")


def test_who_reaches_into_ray() -> None:
    found = {
        str(path.relative_to(ROOT)): wrong
        for folder in ("toprung", "trainables", "analysis", "search_spaces")
        for path in sorted((ROOT / folder).rglob("*.py"))
        if (wrong := sorted(set(_reaches_of(path))))
    }
    assert found == IN_TRIALS


def _reaches_of(path: Path) -> Iterator[str]:
    name = str(path.relative_to(ROOT))
    has_objects = name.startswith(THAT_HAVE_OBJECTS_OF_RAY)
    for reach in reaches(ast.parse(path.read_text())):
        if reach.startswith("ray.") or (has_objects and reach not in OF_OTHERS):
            yield reach


def test_a_reach_is_seen() -> None:
    code = "from ray._private import worker\nimport ray._raylet\ncontroller._actors\nself._mine"
    assert list(reaches(ast.parse(code))) == ["ray._private.worker", "ray._raylet", "_actors"]


def test_the_installed_ray_fits() -> None:
    assert [name.misfit() for name in ray_internals.INVENTORY if name.misfit()] == []


def test_what_is_gone_is_said_in_one_line_with_its_cost(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(worker, "listen_error_messages")
    lines: list[str] = []
    warn_of(ray_internals.OF_A_SWEEP, lines.append)
    assert len(lines) == 1
    assert lines[0].endswith(
        "(ray._private.worker:listen_error_messages does not exist): Ray prints messages of its "
        "own between the lines of the sweep"
    )
    with ray_internals.LISTEN_TO_ERRORS.patched(lambda _: None):
        assert not hasattr(worker, "listen_error_messages")


def test_what_changed_is_not_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker, "listen_error_messages", changed := lambda all_of_it: all_of_it)
    with ray_internals.LISTEN_TO_ERRORS.patched(lambda _: None):
        assert worker.listen_error_messages is changed
    with pytest.raises(ToprungError, match=r"takes \(all_of_it\), not \(worker, threads_stopped"):
        ray_internals.LISTEN_TO_ERRORS.needed()


def test_secrets_are_not_given_away_where_they_cannot_be_kept(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delattr(services, "ConsolePopen")
    with pytest.raises(ToprungError, match="the driver's credentials in their environment"):
        environment_without_secrets().__enter__()
    monkeypatch.delattr(utils, "get_entrypoint_name")
    with pytest.raises(ToprungError, match="command line with the secrets in it"):
        command_without_secrets().__enter__()


def test_a_ray_that_does_not_show_its_processes_is_not_watched(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delattr(worker, "_global_node")
    assert OwnRay.if_known() is None
