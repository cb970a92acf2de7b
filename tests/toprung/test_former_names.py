"""Former import names: where they lead, and what is said of one that leads nowhere."""

import sys
from importlib.machinery import PathFinder
from importlib.util import module_from_spec

import pytest

import toprung.search_spaces.digits_cnn
from toprung.former_names import FormerNames


def test_a_module_of_a_former_name_has_the_same_contents() -> None:
    spec = FormerNames().find_spec("search_spaces.digits_cnn", [])
    assert spec is not None
    found = module_from_spec(spec)
    assert found.search_space is toprung.search_spaces.digits_cnn.search_space
    assert found.__name__ == "search_spaces.digits_cnn"


def test_the_top_one_brings_a_warning_that_names_the_new() -> None:
    with pytest.warns(FutureWarning, match=r"import toprung\.trainables instead of trainables"):
        assert FormerNames().find_spec("trainables", None) is not None


def test_the_new_place_of_a_file_that_has_moved_is_named() -> None:
    now = r"'trainables\.cnn'; it is now toprung\.trainables\.networks\.cnn$"
    with pytest.raises(ModuleNotFoundError, match=now):
        FormerNames().find_spec("trainables.cnn", [])
    with pytest.raises(ModuleNotFoundError, match=r"No module named 'trainables\.none'$"):
        FormerNames().find_spec("trainables.none", [])


@pytest.mark.parametrize("name", ["toprung", "analysis_of_mine", "numpy.analysis", "tests"])
def test_other_names_are_none_of_its_business(name: str) -> None:
    assert FormerNames().find_spec(name, None) is None


def test_it_is_asked_after_the_user_s_own_modules() -> None:
    kinds = [finder if isinstance(finder, type) else type(finder) for finder in sys.meta_path]
    assert kinds.index(FormerNames) > kinds.index(PathFinder)
