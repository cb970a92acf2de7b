"""Search spaces: the shipped ones are sound, and anybody's is found or clearly refused."""

import ast
from pathlib import Path
from typing import Any

import optuna
import pytest

from toprung import search_spaces
from toprung.planning.network_checks import NetworkChecks
from toprung.search.proposals import Proposals
from toprung.search_spaces import PinnedTrial, SearchSpace, SearchSpaceError, load, shipped
from toprung.settings import resolve
from toprung.trainables.config import TrialConfig

FOLDER = Path(search_spaces.__file__).parent
SOUND = "SWEEP = {'trials': 7}\ndef search_space(trial):\n    return {'seed': 5}\n"


def random_trials(number: int) -> list[optuna.Trial]:
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=1))
    return [study.ask() for _ in range(number)]


def space_file(folder: Path, source: str) -> str:
    path = folder / "my_space.py"
    path.write_text(source)
    return str(path)


def own_space(trial: optuna.Trial) -> dict[str, Any]:
    """A space typed into a notebook."""
    return {"optimizer": {"name": "sgd", "lr": trial.suggest_float("optimizer/lr", 0.1, 1)}}


class TestShipped:
    def test_which(self) -> None:
        assert shipped() == [
            "digits_cnn",
            "images_cnn",
            "study_a_few_shot",
            "study_a_full",
            "study_b_augmentation",
            "study_b_from_scratch",
            "study_b_policies",
            "study_b_pretrained",
            "study_c_networks",
            "study_c_transfer",
            "study_c_variations",
            "study_d_cnn_sweep",
            "study_d_fine_tuning",
            "study_e_losses",
            "study_e_optimizers",
            "study_e_policies",
            "study_e_svm",
        ]

    @pytest.mark.parametrize("name", shipped())
    def test_the_docstring_says_command_run_time_and_reference(self, name: str) -> None:
        text = load(name).description
        assert "RUNTIME" not in text
        first, blank, *rest = text.splitlines()
        assert first.endswith((".", "`."))
        assert not blank
        for heading in ("Command:", "Run time:", "Reference:"):
            assert any(line.startswith(heading) for line in rest)
        assert f"toprung run {name}" in text

    @pytest.mark.parametrize("name", shipped())
    def test_random_draws_are_configs(self, name: str) -> None:
        space = load(name)
        overrides = {} if "data" in space.defaults else {"data/source": "nowhere"}
        proposals = Proposals(space, resolve(space.defaults, {}), overrides)
        grid = space.defaults.get("sampler") == "grid"
        num_draws = 200 if grid else 50  # enough to draw each point of the grid
        configs = [proposals.config(trial) for trial in random_trials(num_draws)]
        assert all(isinstance(config, TrialConfig) for config in configs)
        different = {str(config.model_copy(update={"seed": 0})) for config in configs}
        assert len(different) == len(proposals.grid()) if grid else len(different) > 20

    @pytest.mark.parametrize("name", shipped())
    def test_freeze_policies_and_losses_fit_the_networks(self, name: str) -> None:
        space = load(name)
        overrides = {} if "data" in space.defaults else {"data/source": "nowhere"}
        configs = Proposals(space, resolve(space.defaults, {}), overrides).rehearsal.configs
        checks = NetworkChecks(50, lambda _: None)
        assert [checks(config) for config in configs] == list(configs)

    @pytest.mark.parametrize("name", shipped())
    def test_the_source_is_kept(self, name: str) -> None:
        assert load(name).source_code == (FOLDER / f"{name}.py").read_text()

    def test_digits_cnn_asks_for_its_momentum_only_with_sgd(self) -> None:
        space = load("digits_cnn")
        for trial in random_trials(20):
            optimizer = space(trial)["optimizer"]
            assert ("momentum" in optimizer) == (optimizer["name"] == "sgd")
            assert ("optimizer/momentum" in trial.params) == (optimizer["name"] == "sgd")


class TestLoading:
    def test_by_name(self) -> None:
        space = load("digits_cnn")
        assert space.name == "digits_cnn"
        assert space.defaults["data"] == "digits"

    def test_by_file(self, tmp_path: Path) -> None:
        space = load(space_file(tmp_path, f'"""What it is for."""\n{SOUND}'))
        assert (space.name, space.description) == ("my_space", "What it is for.")
        assert space.defaults == {"trials": 7}
        (trial,) = random_trials(1)
        assert space(trial) == {"seed": 5}
        assert space.source_code is not None
        assert "def search_space" in space.source_code

    def test_a_file_may_import_its_neighbour_and_define_dataclasses(self, tmp_path: Path) -> None:
        (tmp_path / "my_numbers.py").write_text("WIDTH = 12\n")
        (tmp_path / "my_space.py").write_text(
            "from __future__ import annotations\n"
            "from dataclasses import dataclass\n"
            "from my_numbers import WIDTH\n"
            "@dataclass\n"
            "class Size:\n"
            "    width: int = WIDTH\n"
            "def search_space(trial):\n"
            "    return {'model': {'filters': Size().width}}\n"
        )
        trial = optuna.create_study().ask()
        assert load(str(tmp_path / "my_space.py"))(trial) == {"model": {"filters": 12}}

    def test_a_config_is_no_module(self) -> None:
        with pytest.raises(SearchSpaceError, match=r"give a trial's config with --config"):
            load("best/trial.yaml")

    def test_two_files_of_one_name(self, tmp_path: Path) -> None:
        (tmp_path / "other").mkdir()
        one = load(space_file(tmp_path, SOUND))
        other = load(space_file(tmp_path / "other", SOUND.replace("5", "6")))
        (trial,) = random_trials(1)
        assert (one(trial)["seed"], other(trial)["seed"]) == (5, 6)
        assert other.source_code == SOUND.replace("5", "6")

    def test_by_module(self) -> None:
        space = load("toprung.search_spaces.study_c_networks")
        assert space.name == "study_c_networks"
        assert space.defaults["sampler"] == "grid"

    def test_by_function(self) -> None:
        space = load(own_space)
        assert (space.name, space.description) == ("own_space", "A space typed into a notebook.")
        assert space.defaults == {}
        (trial,) = random_trials(1)
        assert space(trial)["optimizer"]["lr"] == trial.params["optimizer/lr"]

    def test_by_lambda(self) -> None:
        assert load(lambda _: {}).name == "lambda"

    @pytest.mark.parametrize(
        ("space", "message"),
        [
            ("digit_cnn", "there is none with this name; nearest: digits_cnn"),
            ("loading", "there is none with this name"),
            ("", "there is none with this name"),
            ("no/such/file.py", r"search space no/such/file\.py: there is no such file"),
            ("no_such_package.space", "cannot be imported: ModuleNotFoundError"),
            ("collections.abc", "has no function `search_space"),
            (".relative", "cannot be imported"),
            (17, "search space 17: must be a name or a function"),
        ],
    )
    def test_what_is_not_there(self, space: Any, message: str) -> None:
        with pytest.raises(SearchSpaceError, match=message):
            load(space)

    @pytest.mark.parametrize(
        ("source", "message"),
        [
            ("x = 1", r"my_space: has no function `search_space\(trial\)`"),
            ("search_space = {}", "has no function"),
            ("1 / 0", "cannot be loaded: ZeroDivisionError: division by zero"),
            ("import no_such_package", "cannot be loaded: ModuleNotFoundError"),
            ("def search_space(trial:", "cannot be loaded: SyntaxError"),
            ("\0", "cannot be loaded"),
            ("raise SystemExit(3)", "cannot be loaded: SystemExit"),
            (f"{SOUND}\nSWEEP = 7", "SWEEP must be a dict, is 7"),
        ],
    )
    def test_a_file_that_is_no_space(self, source: str, message: str, tmp_path: Path) -> None:
        with pytest.raises(SearchSpaceError, match=message):
            load(space_file(tmp_path, source))

    def test_a_folder_is_no_file(self, tmp_path: Path) -> None:
        (tmp_path / "folder.py").mkdir()
        with pytest.raises(SearchSpaceError, match="there is no such file"):
            load(str(tmp_path / "folder.py"))


class TestCalling:
    @pytest.mark.parametrize("returned", [None, [], "config", 3])
    def test_nonsense_returned(self, returned: Any) -> None:
        space = SearchSpace("mine", lambda _: returned)
        with pytest.raises(SearchSpaceError, match="mine: must return a dict of settings, ret"):
            space(random_trials(1)[0])

    @pytest.mark.parametrize(
        ("line", "error"),
        [
            ("{}['key']", "KeyError: 'key'"),
            ("1 / 0", "ZeroDivisionError: division by zero"),
            ("trial.suggest_flot('x', 0, 1)", "AttributeError: .*suggest_flot"),
            ("trial.suggest_float('x', 1, 0)", "ValueError: .*low.*high"),
            ("undefined", "NameError: name 'undefined'"),
            ("assert trial is None", "AssertionError"),
            ("raise RuntimeError('no luck')", "RuntimeError: no luck"),
            ("import no_such_package", "ModuleNotFoundError"),
            ("open('/no/such/file')", "FileNotFoundError"),
        ],
    )
    def test_an_error_names_the_space_s_own_line(
        self, line: str, error: str, tmp_path: Path
    ) -> None:
        source = f"def search_space(trial):\n    x = 1\n    {line}\n"
        space = load(space_file(tmp_path, source))
        with pytest.raises(SearchSpaceError, match=rf"my_space: raised {error}.*my_space\.py:3\)"):
            space(random_trials(1)[0])

    def test_the_returned_dict_may_be_changed_without_harm_to_the_space(self) -> None:
        constant = {"model": {"filters": 8}}
        space = SearchSpace("mine", lambda _: constant)
        space(random_trials(1)[0])["model"]["filters"] = 9
        assert constant == {"model": {"filters": 8}}


class TestPinnedTrial:
    def test_a_pinned_parameter_is_never_asked_of_the_sampler(self) -> None:
        (trial,) = random_trials(1)
        pinned = PinnedTrial(trial, {"a": 99})
        assert pinned.suggest_int("a", 1, 3) == 99
        b = pinned.suggest_float("b", 0, 1, log=False)
        c = pinned.suggest_categorical("c", ["x", "y"])
        assert trial.params == {"b": b, "c": c}
        assert pinned.asked == {"a": 99, "b": b, "c": c}
        assert pinned.number == trial.number


def test_the_package_s_docstrings_do_not_fall_behind() -> None:
    """Every shipped file opens with a docstring and has one function `search_space`."""
    for name in shipped():
        tree = ast.parse((FOLDER / f"{name}.py").read_text())
        assert ast.get_docstring(tree)
        functions = [node.name for node in tree.body if isinstance(node, ast.FunctionDef)]
        assert "search_space" in functions
