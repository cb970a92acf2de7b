"""The rooms and the arrows between them, held by walking every import; and the public names."""

import ast
import inspect
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest

import toprung

ROOT = Path(__file__).parent.parent
ROOMS = ("search_spaces", "trainables", "toprung", "analysis")
MUST_NOT_IMPORT = {
    "search_spaces": {"torch", "torchvision", "ray", "trainables", "toprung", "analysis"},
    "trainables": {"search_spaces", "toprung", "analysis", "optuna", "ray"},
    "analysis": {"toprung", "search_spaces", "ray"},
    "toprung": {"tests", "benchmarks"},
}
KNOWS_RAY = "trainables/ray_trainable.py"


def imports(path: Path) -> Iterator[str]:
    """The package that each import of a file names, wherever in the file it stands."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: a relative import"
            yield (node.module or "").partition(".")[0]


@pytest.mark.parametrize("room", ROOMS)
def test_the_arrows_run_one_way(room: str) -> None:
    files = sorted((ROOT / room).rglob("*.py"))
    assert files
    wrong = {
        (str(path.relative_to(ROOT)), package)
        for path in files
        for package in set(imports(path)) & MUST_NOT_IMPORT[room]
    }
    assert wrong <= {(KNOWS_RAY, "ray")}


def test_one_file_of_the_trainables_knows_ray() -> None:
    assert "ray" in set(imports(ROOT / KNOWS_RAY))


@pytest.mark.parametrize("room", ROOMS)
def test_every_file_says_what_it_is(room: str) -> None:
    silent = [
        str(path.relative_to(ROOT))
        for path in (ROOT / room).rglob("*.py")
        if len(ast.get_docstring(ast.parse(path.read_text())) or "") < 20
    ]
    assert not silent


class TestPublicNames:
    def test_are_sorted_and_each_has_a_home(self) -> None:
        assert sorted(toprung.__all__, key=str.lower) == sorted(toprung._HOMES, key=str.lower)

    @pytest.mark.parametrize("name", toprung.__all__)
    def test_is_there_and_documented(self, name: str) -> None:
        thing = getattr(toprung, name)
        module, attribute = toprung._HOMES[name]
        assert thing is getattr(import_module(module), attribute)
        assert len(inspect.getdoc(thing) or "") > 20

    def test_type_checkers_are_told_the_same_names(self) -> None:
        tree = ast.parse(Path(toprung.__file__).read_text())
        (block,) = [n for n in tree.body if isinstance(n, ast.If)]
        told = [alias for node in block.body for alias in getattr(node, "names", [])]
        assert {alias.asname or alias.name for alias in told} == set(toprung.__all__)

    def test_there_is_no_other(self) -> None:
        with pytest.raises(AttributeError, match="module 'toprung' has no attribute 'runn'"):
            getattr(toprung, "runn")  # noqa: B009

    @pytest.mark.parametrize("room", ["search_spaces", "trainables.data"])
    def test_a_room_s_names_are_there(self, room: str) -> None:
        module = import_module(room)
        assert all(hasattr(module, name) for name in module.__all__)
