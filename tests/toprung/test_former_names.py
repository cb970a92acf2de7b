"""Former import names: where they lead, and what is said of one that leads nowhere."""

import sys
from importlib.machinery import ModuleSpec, PathFinder
from importlib.util import module_from_spec
from types import ModuleType
from typing import Any

import pytest

import toprung.search_spaces.digits_cnn
from toprung.former_names import FormerNames


@pytest.fixture
def _former(monkeypatch: pytest.MonkeyPatch) -> None:
    """The former top-level names are imported, and are ours."""
    for name in ("search_spaces", "trainables"):
        module = ModuleType(name)
        ours: Any = FormerNames()
        module.__spec__ = ModuleSpec(name, ours)
        monkeypatch.setitem(sys.modules, name, module)


@pytest.mark.usefixtures("_former")
def test_a_module_of_a_former_name_has_the_same_contents() -> None:
    spec = FormerNames().find_spec("search_spaces.digits_cnn", [])
    assert spec is not None
    found = module_from_spec(spec)
    assert found.search_space is toprung.search_spaces.digits_cnn.search_space
    assert found.__name__ == "search_spaces.digits_cnn"
    assert found.__file__ == toprung.search_spaces.digits_cnn.__file__
    assert found.__doc__ == toprung.search_spaces.digits_cnn.__doc__
    assert not hasattr(found, "__path__")


def test_nothing_is_added_to_a_package_of_the_user_s(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (ModuleType("analysis"), None):
        monkeypatch.setitem(sys.modules, "analysis", module)
        assert FormerNames().find_spec("analysis.sweep", []) is None


def test_the_top_one_brings_a_warning_that_names_the_new() -> None:
    with pytest.warns(FutureWarning, match=r"import toprung\.trainables instead of trainables"):
        assert FormerNames().find_spec("trainables", None) is not None


@pytest.mark.usefixtures("_former")
@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("trainables.cnn", "look at toprung.trainables.networks.cnn"),
        ("trainables.none", "look in toprung.trainables"),
        ("trainables.none.below", "look in toprung.trainables"),
    ],
)
def test_a_file_that_has_moved_is_not_found_and_a_place_to_look_is_named(
    name: str, hint: str
) -> None:
    with pytest.raises(ModuleNotFoundError, match=f"No module named '{name}'; .*: {hint}$"):
        FormerNames().find_spec(name, [])


@pytest.mark.parametrize("name", ["toprung", "analysis_of_mine", "numpy.analysis", "tests"])
def test_other_names_are_none_of_its_business(name: str) -> None:
    assert FormerNames().find_spec(name, None) is None


def test_it_is_asked_after_the_user_s_own_modules() -> None:
    kinds = [finder if isinstance(finder, type) else type(finder) for finder in sys.meta_path]
    assert kinds.index(FormerNames) > kinds.index(PathFinder)
