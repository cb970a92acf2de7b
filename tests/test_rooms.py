"""The rooms and the arrows between them, held by walking every import; and the public names."""

import ast
import inspect
from collections import Counter
from collections.abc import Iterator
from functools import cache
from importlib import import_module
from pathlib import Path

import pytest

import toprung

ROOT = Path(__file__).parent.parent
ROOMS = (
    "toprung.search_spaces",
    "toprung.trainables.system",
    "toprung.trainables.files",
    "toprung.trainables.data.listing",
    "toprung.trainables.provenance",
    "toprung.trainables.data.named",
    "toprung.trainables.data",
    "toprung.trainables.pretrained",
    "toprung.trainables.networks",
    "toprung.trainables.recipe",
    "toprung.trainables.config",
    "toprung.trainables.inference",
    "toprung.trainables.results",
    "toprung.trainables.frozen_features",
    "toprung.trainables.training",
    "toprung.trainables.ray_trainable",
    "toprung.analysis.sweep_folder",
    "toprung.analysis.models",
    "toprung.analysis.study",
    "toprung.analysis.provenance",
    "toprung.analysis.seal",
    "toprung.analysis.findings",
    "toprung.analysis.exporting",
    "toprung.analysis.drawing",
    "toprung.analysis.inside_model",
    "toprung.analysis.pictures",
    "toprung.analysis.report",
    "toprung.analysis.sweep",
    "toprung.analysis.evaluating",
    "toprung.former_names",
    "toprung.errors",
    "toprung.settings",
    "toprung.events",
    "toprung.console",
    "toprung.secrecy",
    "toprung.storage",
    "toprung.search",
    "toprung.cluster.replaced",
    "toprung.cluster.internals",
    "toprung.cluster.ray_internals",
    "toprung.cluster.placement",
    "toprung.planning",
    "toprung.cluster",
    "toprung.tune.callbacks",
    "toprung.tune",
    "toprung.api",
    "toprung.cluster.jobs",
    "toprung.dashboards",
    "toprung.cli",
)
"""From the lowest to the highest: each imports only from itself and those before it.

A folder that lies at the top of the repository is linked into `toprung`, which is its import name.
"""
UNKNOWN_TO = {
    "search_spaces": ("torch", "torchvision", "ray", "toprung.trainables", "toprung.analysis"),
    "trainables": ("toprung.search_spaces", "optuna", "ray"),
    "analysis": ("toprung.search_spaces", "ray"),
    "toprung": ("tests", "benchmarks"),
}
"""What the files of a folder at the top must not import."""
RAY_IN_TRIALS = "trainables/ray_trainable.py"
MOST_FILES = 16
MOST_POSITIONAL = 4
ONE_FILE_EACH = {"search_spaces"}
"""Folders in which every file is one of a kind that grows: a search space."""


@cache
def files() -> dict[str, Path]:
    """Every file of ours, by the name that it is imported by."""
    found = {}
    for folder in UNKNOWN_TO:
        for path in sorted((ROOT / folder).rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            name = ".".join(parts if folder == "toprung" else ("toprung", *parts))
            found[name.removesuffix(".__init__")] = path
    return found


def imports(path: Path) -> Iterator[str]:
    """Each module that a file imports, or a name in it; wherever in the file that stands."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: a relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def modules(path: Path) -> set[str]:
    """Those of ours that a file imports."""
    named = set(imports(path))
    return {name if name in files() else name.rpartition(".")[0] for name in named} & set(files())


def room(module: str) -> str | None:
    """The room that a module is in; None for a folder that has rooms in it."""
    inside = [room for room in ROOMS if f"{module}.".startswith(f"{room}.")]
    return max(inside, key=len, default=None)


def test_every_file_is_in_a_room() -> None:
    homeless = {str(path) for name, path in files().items() if room(name) is None}
    packages = {str(ROOT / folder / "__init__.py") for folder in ("trainables", "analysis")}
    assert homeless == {*packages, str(ROOT / "toprung/__init__.py")}


def test_imports_lead_downward() -> None:
    upward = [
        f"{path.relative_to(ROOT)} imports {module}: {here} is below {there}"
        for name, path in files().items()
        for module in sorted(modules(path))
        for here, there in [(room(name), room(module))]
        if here and there and ROOMS.index(here) < ROOMS.index(there)
    ]
    assert not upward, "\n".join(upward)


def test_no_files_import_each_other_in_a_circle() -> None:
    left = {name: modules(path) - {name} for name, path in files().items()}
    while outside := {
        name
        for name, needs in left.items()
        if not needs & left.keys() or name not in set().union(*left.values())
    }:
        left = {name: needs for name, needs in left.items() if name not in outside}
    circle = {name: sorted(needs & left.keys()) for name, needs in left.items()}
    assert not circle, "\n".join(f"{name}: {', '.join(needs)}" for name, needs in circle.items())


@pytest.mark.parametrize("folder", UNKNOWN_TO)
def test_what_a_folder_does_not_know(folder: str) -> None:
    paths = sorted((ROOT / folder).rglob("*.py"))
    assert paths
    wrong = [
        f"{path.relative_to(ROOT)} imports {name}"
        for path in paths
        for name in sorted(set(imports(path)))
        if any(f"{name}.".startswith(f"{other}.") for other in UNKNOWN_TO[folder])
        if str(path.relative_to(ROOT)) != RAY_IN_TRIALS
    ]
    assert not wrong, "\n".join(wrong)


def test_one_file_of_the_trainables_knows_ray() -> None:
    assert any(name.startswith("ray") for name in imports(ROOT / RAY_IN_TRIALS))


def test_two_rooms_speak_to_ray() -> None:
    wrong = [
        f"{path.relative_to(ROOT)} imports {name}"
        for module, path in files().items()
        for name in imports(path)
        if name.partition(".")[0] == "ray"
        if not module.startswith(("toprung.tune.", "toprung.cluster."))
        if str(path.relative_to(ROOT)) != RAY_IN_TRIALS
    ]
    assert not wrong, "\n".join(wrong)


def test_one_class_is_a_callback_of_tune() -> None:
    found = [
        str(path.relative_to(ROOT))
        for path in files().values()
        if "ray.tune.Callback" in imports(path)
    ]
    assert found == ["toprung/tune/callbacks/adapter.py"]


@pytest.mark.parametrize("folder", [*UNKNOWN_TO, "tests", "benchmarks"])
def test_no_other_name_leads_to_our_files(folder: str) -> None:
    """`import analysis` would load a second copy of `toprung.analysis`, or a user's own module."""
    wrong = [
        f"{path.relative_to(ROOT)} imports {name}"
        for path in (ROOT / folder).rglob("*.py")
        for name in imports(path)
        if name.partition(".")[0] in ("analysis", "search_spaces", "trainables")
    ]
    assert not wrong, "\n".join(wrong)


def test_a_folder_can_be_read_at_a_glance() -> None:
    folders = [*UNKNOWN_TO, "tests", "benchmarks"]
    counts = Counter(
        str(path.parent.relative_to(ROOT))
        for folder in folders
        for path in (ROOT / folder).rglob("*.py")
        if path.name != "__init__.py"
    )
    large = {folder: n for folder, n in counts.items() if n > MOST_FILES}
    assert large.keys() <= ONE_FILE_EACH, large


def test_a_constructor_takes_few_arguments_by_position() -> None:
    long = [
        f"{path.relative_to(ROOT)}: {node.name}"
        for path in files().values()
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ClassDef)
        for method in node.body
        if isinstance(method, ast.FunctionDef) and method.name == "__init__"
        if len(method.args.posonlyargs + method.args.args) - 1 > MOST_POSITIONAL
    ]
    assert not long, "\n".join(long)


@pytest.mark.parametrize("folder", UNKNOWN_TO)
def test_every_file_says_what_it_is(folder: str) -> None:
    silent = [
        str(path.relative_to(ROOT))
        for path in (ROOT / folder).rglob("*.py")
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

    def test_are_listed_for_tab_completion(self) -> None:
        assert set(toprung.__all__) <= set(dir(toprung))

    def test_there_is_no_other(self) -> None:
        with pytest.raises(AttributeError, match="module 'toprung' has no attribute 'runn'"):
            getattr(toprung, "runn")  # noqa: B009

    @pytest.mark.parametrize("room", ["search_spaces", "trainables.data"])
    def test_a_room_s_names_are_there(self, room: str) -> None:
        module = import_module(f"toprung.{room}")
        assert all(hasattr(module, name) for name in module.__all__)
