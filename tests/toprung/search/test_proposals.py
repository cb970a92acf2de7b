"""From an Optuna trial to a trial's config: what is pinned, laid over, limited and refused."""

from collections.abc import Callable, Mapping
from typing import Any

import optuna
import pytest

from toprung.errors import ToprungError
from toprung.search import proposals as module
from toprung.search.proposals import Proposals
from toprung.search_spaces import SearchSpace, SearchSpaceError, load
from toprung.settings import resolve
from toprung.trainables.config import TrialConfig
from toprung.trainables.networks.base import ImpossibleNetworkError
from toprung.trainables.networks.cnn_settings import CnnSettings
from toprung.trainables.system.secrecy import names_secret
from toprung.trainables.system.typed_settings import ConfigError, setting_paths

SPACE_OPTIMIZERS = ["sgd", "adam"]


def space(trial: optuna.Trial) -> dict[str, Any]:
    """An optimizer with a conditional parameter, and a model that it does not search."""
    name = trial.suggest_categorical("optimizer/name", SPACE_OPTIMIZERS)
    optimizer = {"name": name, "lr": trial.suggest_float("optimizer/lr", 0.01, 0.1)}
    if name == "sgd":
        optimizer["momentum"] = trial.suggest_float("optimizer/momentum", 0.1, 0.9)
    return {"model": {"filters": 8}, "data": {"image_size": 8}, "optimizer": optimizer}


def make(
    function: Callable[..., Any] = space,
    overrides: Mapping[str, Any] | None = None,
    *,
    defaults: Mapping[str, Any] | None = None,
    **given: Any,
) -> Proposals:
    defaults = {"data": "digits"} if defaults is None else defaults
    mine = SearchSpace("mine", function, defaults)
    return Proposals(mine, resolve(defaults, given), overrides or {})


def draws(proposals: Proposals, number: int = 30) -> list[tuple[optuna.Trial, TrialConfig]]:
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=3))
    trials = [study.ask() for _ in range(number)]
    return [(trial, proposals.config(trial)) for trial in trials]


def cnn(config: TrialConfig) -> CnnSettings:
    assert isinstance(config.model, CnnSettings)
    return config.model


def constant(**values: Any) -> Callable[[optuna.Trial], dict[str, Any]]:
    """A space without parameters."""
    base = {"optimizer": {"name": "sgd"}, "data": {"image_size": 8}}
    return lambda _: base | values


class TestOverrides:
    def test_a_pinned_parameter_leaves_the_search(self) -> None:
        for trial, config in draws(make(overrides={"optimizer/lr": 5.0})):
            assert config.optimizer.lr == 5.0
            assert "optimizer/lr" not in trial.params

    def test_a_conditional_parameter_is_pinned_where_it_is_asked_for(self) -> None:
        seen = set()
        for _, config in draws(make(overrides={"optimizer/momentum": 0.5})):
            seen.add((config.optimizer.name, getattr(config.optimizer, "momentum", None)))
        assert seen == {("sgd", 0.5), ("adam", None)}

    def test_a_pinned_condition_decides_what_follows(self) -> None:
        proposals = make(overrides={"optimizer/name": "sgd"})
        assert set(proposals.rehearsal.parameters) == {"optimizer/lr", "optimizer/momentum"}
        assert all(config.optimizer.name == "sgd" for _, config in draws(proposals))

    def test_a_setting_is_laid_over_every_config(self) -> None:
        overrides = {"model/filters": 4, "model/dense": [16, 8], "seed": 7}
        for _, config in draws(make(overrides=overrides)):
            model = cnn(config)
            assert (model.filters, model.dense, config.seed) == (4, (16, 8), 7)
            assert config.data.height_width == (8, 8)

    def test_a_setting_in_a_group_that_the_space_does_not_give(self) -> None:
        (_, config), *_ = draws(make(overrides={"training/batch_size": 5}))
        assert config.training.batch_size == 5

    def test_a_label(self) -> None:
        (_, config), *_ = draws(make(overrides={"labels/note": "second try"}))
        assert config.labels == {"note": "second try"}

    def test_the_space_itself_is_not_changed(self) -> None:
        values = {"model": {"filters": 8}}
        make(constant(**values), {"model/filters": 4})
        assert values == {"model": {"filters": 8}}

    def test_unknown_paths_name_the_nearest_all_at_once(self) -> None:
        overrides = {"optimiser/lr": 1, "model/filter": 3, "optimizer/lr": 0.1}
        with pytest.raises(ToprungError) as error:
            make(overrides=overrides)
        first, second = str(error.value).splitlines()
        assert "--set optimiser/lr: there is no such setting or parameter" in first
        assert "nearest: optimizer/lr" in first
        assert "--set model/filter" in second
        assert "nearest: model/filters" in second

    def test_a_value_out_of_range(self) -> None:
        with pytest.raises(ConfigError, match="a config of search space mine has 1 mistake: mo"):
            make(overrides={"model/filters": 0})
        with pytest.raises(ConfigError, match="optimizer/lr = 'fast': must be a valid number"):
            make(overrides={"optimizer/lr": "fast"})

    def test_a_setting_of_another_variant(self) -> None:
        with pytest.raises(ConfigError, match="optimizer/beta1: is not a setting of sgd"):
            make(overrides={"optimizer/beta1": 0.5, "optimizer/name": "sgd"})

    @pytest.mark.parametrize("path", ["optimizer", "optimizer/", "/optimizer/lr", "labels", ""])
    def test_a_path_to_no_single_setting(self, path: str) -> None:
        with pytest.raises(ToprungError, match="there is no such setting"):
            make(overrides={path: 1})


class TestSecrets:
    @pytest.mark.parametrize(
        ("path", "value"),
        [
            ("labels/hub", "hf_" + "aB3dE5gH7j" * 4),
            ("labels/api_key", "hush"),
            ("data/source", "https://me:hush@host/images"),
        ],
    )
    def test_are_refused_by_their_path(self, path: str, value: str) -> None:
        with pytest.raises(ToprungError, match=f"^{path}: looks like a secret") as refused:
            make(overrides={path: value})
        assert value not in str(refused.value)

    def test_are_named_by_no_setting_of_ours(self) -> None:
        assert [path for path in setting_paths(TrialConfig) if names_secret(path)] == []


class TestNames:
    def test_a_parameter_that_becomes_no_setting(self) -> None:
        def bad(trial: optuna.Trial) -> dict[str, Any]:
            return space(trial) | {"seed": trial.suggest_int("sed", 1, 3)}

        with pytest.raises(SearchSpaceError, match="asked for the parameter 'sed', but its config"):
            make(bad)

    def test_a_parameter_used_at_another_value(self) -> None:
        def bad(trial: optuna.Trial) -> dict[str, Any]:
            return space(trial) | {"seed": 10 + trial.suggest_int("seed", 1, 1)}

        with pytest.raises(SearchSpaceError, match="'seed', but got 1, but its config has 11"):
            make(bad)

    def test_a_label_is_a_place_for_any_parameter(self) -> None:
        def labelled(trial: optuna.Trial) -> dict[str, Any]:
            size = trial.suggest_categorical("labels/size", ["small", "large"])
            return constant(model={"filters": {"small": 4, "large": 8}[size]})(trial) | {
                "labels": {"size": size}
            }

        for trial, config in draws(make(labelled)):
            assert config.labels == {"size": trial.params["labels/size"]}
            assert cnn(config).filters == {"small": 4, "large": 8}[str(config.labels["size"])]


class TestDefaults:
    def test_the_data_of_the_space_unless_others_are_given(self) -> None:
        assert draws(make(), 1)[0][1].data.source == "digits"
        assert draws(make(overrides={"data/source": "x"}), 1)[0][1].data.source == "x"

    def test_no_data_at_all(self) -> None:
        with pytest.raises(ToprungError, match="search space mine names no data; give"):
            make(defaults={})

    def test_the_metric_is_the_sweep_s(self) -> None:
        for _, config in draws(make(metric="val_loss"), 3):
            assert config.training.metric == "val_loss"
        with pytest.raises(ToprungError, match="the sweep selects by 'val_accuracy'"):
            make(overrides={"training/metric": "val_loss"})

    def test_every_trial_has_a_seed_of_its_own(self) -> None:
        seeds = [config.seed for _, config in draws(make(seed=1))]
        assert len(set(seeds)) == 30
        assert seeds == [config.seed for _, config in draws(make(seed=1))]
        others = [config.seed for _, config in draws(make(seed=2))]
        assert not set(seeds) & set(others)


class TestEpochs:
    @pytest.mark.parametrize(("own", "expected"), [(None, 6), (3, 3)])
    def test_those_of_the_sweep_or_its_own(self, own: int | None, expected: int) -> None:
        values = {} if own is None else {"training": {"epochs": own}}
        (_, config), *_ = draws(make(constant(**values), max_epochs=6))
        assert config.training.epochs == expected

    def test_set_to_fewer_and_to_more(self) -> None:
        (_, config), *_ = draws(make(overrides={"training/epochs": 2}, max_epochs=6))
        assert config.training.epochs == 2
        with pytest.raises(ToprungError, match="training/epochs = 9: is more than max_epochs"):
            make(overrides={"training/epochs": 9}, max_epochs=6)
        with pytest.raises(ToprungError, match="training/epochs = 9: is more than max_epochs"):
            make(constant(training={"epochs": 9}), max_epochs=6)


class TestImpossible:
    def test_some_networks(self) -> None:
        def deep(trial: optuna.Trial) -> dict[str, Any]:
            blocks = trial.suggest_int("model/num_blocks", 1, 6)
            return constant(model={"num_blocks": blocks, "filters": 2})(trial)

        proposals = make(deep)
        possible = {cnn(config).num_blocks for config in proposals.rehearsal.configs}
        assert possible == {1, 2, 3}
        assert 0 < proposals.rehearsal.num_impossible < 50
        assert proposals.rehearsal.num_impossible + len(proposals.rehearsal.configs) == 50
        study = optuna.create_study()
        study.enqueue_trial({"model/num_blocks": 4})
        with pytest.raises(ImpossibleNetworkError, match="block 4 of 4"):
            proposals.config(study.ask())

    def test_all_networks(self) -> None:
        def too_deep(trial: optuna.Trial) -> dict[str, Any]:
            blocks = trial.suggest_int("model/num_blocks", 7, 9)
            return constant(model={"num_blocks": blocks, "filters": 2})(trial)

        with pytest.raises(ImpossibleNetworkError, match="none of 50 random networks can exist"):
            make(too_deep)

    def test_the_only_network(self) -> None:
        with pytest.raises(ImpossibleNetworkError, match=r"^block 4 of 9"):
            make(constant(model={"num_blocks": 9, "filters": 2}))


class TestWrongSpaces:
    @pytest.mark.parametrize(
        ("values", "error", "message"),
        [
            ({"optimizer": {"name": "adan"}}, ConfigError, "optimizer/name = 'adan'"),
            ({"training": 3}, ConfigError, "training = 3 is not a group of settings"),
            ({"data": "digits"}, ConfigError, "data = 'digits' is not a group of settings"),
            ({"modle": {}}, ConfigError, "modle: there is no such setting; nearest: mod"),
            ({7: 8}, ConfigError, "7"),
        ],
    )
    def test_a_config_with_mistakes(
        self, values: Any, error: type[Exception], message: str
    ) -> None:
        with pytest.raises(error, match=message):
            make(lambda trial: constant()(trial) | values)

    def test_a_space_that_raises_sometimes(self) -> None:
        def sometimes(trial: optuna.Trial) -> dict[str, Any]:
            values = space(trial)
            return {} if values["optimizer"]["lr"] < 0.09 else values["optimzer"]

        with pytest.raises(SearchSpaceError, match="mine: raised KeyError: 'optimzer'"):
            make(sometimes)


class TestGrid:
    def test_every_combination_once(self) -> None:
        def grid(trial: optuna.Trial) -> dict[str, Any]:
            name = trial.suggest_categorical("optimizer/name", ["sgd", "adam"])
            optimizer: dict[str, Any] = {"name": name}
            if name == "sgd":
                optimizer["momentum"] = trial.suggest_float("optimizer/momentum", 0, 0.5, step=0.25)
            filters = trial.suggest_int("model/filters", 4, 12, step=4)
            return constant(model={"filters": filters}, optimizer=optimizer)(trial)

        proposals = make(grid)
        combinations = [tuple(sorted(params.items())) for params in proposals.grid()]
        assert len(combinations) == len(set(combinations)) == 3 * 3 + 3
        assert proposals.grid() == make(grid).grid()
        pinned = make(grid, {"optimizer/name": "adam"})
        assert sorted(p["model/filters"] for p in pinned.grid()) == [4, 8, 12]

    def test_study_c(self) -> None:
        space = load("study_c_networks")
        proposals = Proposals(space, resolve(space.defaults, {}), {"data/source": "x"})
        networks = [params["labels/network"] for params in proposals.grid()]
        assert sorted(networks) == ["good", "goodest", "simple"]

    def test_an_infinite_grid_is_refused(self) -> None:
        with pytest.raises(
            ToprungError, match="infinite, because of optimizer/lr, optimizer/momentum: without"
        ):
            make().grid()

    def test_a_parameter_with_a_million_values_does_not_take_for_ever(self) -> None:
        def endless(trial: optuna.Trial) -> dict[str, Any]:
            return constant(seed=trial.suggest_int("seed", 1, 10**9))(trial)

        with pytest.raises(ToprungError, match="there are more than 10000 combinations"):
            make(endless).grid()

    def test_steps_are_exact(self) -> None:
        def stepped(trial: optuna.Trial) -> dict[str, Any]:
            dropout = trial.suggest_float("model/dense_dropout", 0.1, 0.7, step=0.1)
            return constant(model={"dense_dropout": dropout})(trial)

        found = sorted(params["model/dense_dropout"] for params in make(stepped).grid())
        assert found == [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7]

    def test_too_many_combinations(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def wide(trial: optuna.Trial) -> dict[str, Any]:
            return constant(seed=trial.suggest_int("seed", 1, 21))(trial)

        monkeypatch.setattr(module, "MAX_GRID", 21)
        assert len(make(wide).grid()) == 21
        monkeypatch.setattr(module, "MAX_GRID", 20)
        with pytest.raises(ToprungError, match="there are more than 20 combinations"):
            make(wide).grid()

    def test_without_parameters_the_grid_is_one_trial(self) -> None:
        assert make(constant()).grid() == [{}]
