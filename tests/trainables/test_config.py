"""A trial's config: all its mistakes at once, its YAML, the paths of its settings."""

import inspect
import os
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml

from tests.support.helpers import tiny_config
from toprung.trainables.config import TrialConfig, as_plain, dump_config, flatten, load_config
from toprung.trainables.recipe import losses, lr_schedules, optimizers
from toprung.trainables.system.typed_settings import (
    ConfigError,
    Settings,
    nearest,
    parse,
    setting_paths,
)

MINIMAL: dict[str, Any] = {"data": {"source": "digits"}, "optimizer": {"name": "adam"}}


def mistakes(values: dict[str, Any]) -> list[str]:
    with pytest.raises(ConfigError) as error:
        parse(TrialConfig, values, "config x")
    first, *lines = str(error.value).split("\n  ")
    if not lines:
        assert first.startswith("config x has 1 mistake: ")
        return [first.removeprefix("config x has 1 mistake: ")]
    assert first == f"config x has {len(lines)} mistakes:"
    return lines


def test_five_mistakes_are_five_lines_with_path_value_and_what_would_be_right() -> None:
    values = {
        "data": {"source": "digits", "image_siez": 8},
        "model": {"num_blocks": -1},
        "optimizer": {"name": "adamm"},
        "lr_schedule": {"name": "step", "gamma": 7},
        "training": {"batch_size": "many"},
    }
    assert mistakes(values) == [
        "data/image_siez: there is no such setting; nearest: data/image_size, data/resize, "
        "data/digest",
        "model/num_blocks = -1: must be greater than 0",
        "optimizer/name = 'adamm': choose from sgd, adam, adamw, nadam, radam, rmsprop; "
        "nearest: adam, radam, nadam",
        "lr_schedule/gamma = 7: must be less than or equal to 1",
        "training/batch_size = 'many': must be a valid integer, unable to parse string as an "
        "integer",
    ]


@pytest.mark.parametrize(
    ("values", "line"),
    [
        (
            {"augmentation": {"transforms": "flip"}},
            "augmentation/transforms = 'flip': must be a li",
        ),
        (
            {"augmentation": {"transforms": [{"name": "grayscale", "pp": 0.1}]}},
            "augmentation/transforms/0/pp: there is no such setting",
        ),
        (
            {"optimizer": {"name": "adam", "momentum": 0.9}},
            "optimizer/momentum: is not a setting of adam",
        ),
        ({"optimizer": {"name": "sgd", "lr": 0}}, "optimizer/lr = 0: must be greater than 0"),
        (
            {"optimizer": {"name": "sgd", "lr": float("inf")}},
            "optimizer/lr = inf: must be a finite number",
        ),
        (
            {"optimizer": {"name": "sgd", "nesterov": True}},
            "optimizer: nesterov needs a momentum above 0",
        ),
        (
            {"optimizer": "adam"},
            "optimizer = 'adam': must be a group of settings",
        ),
        ({"model": {"dense": [16, -1]}}, "model/dense/1 = -1: must be greater than 0"),
        ({"model": {"dense": -1}}, "model/dense = -1: must be greater than 0 or a list"),
        ({"data": {"source": "d", "image_size": [8]}}, "data/image_size/1: is missing"),
        ({"data": {}}, "data/source: is missing"),
        ({"labels": {"note": [1]}}, "labels/note = [1]: must be"),
        ({"seed": -1}, "seed = -1: must be greater than or equal to 0"),
        ({"training": {"patience_epochs": 0}}, "training/patience_epochs = 0: must be greater "),
        ({"epochs": 3}, "epochs: there is no such setting; nearest:"),
        ({"model": "resnet18"}, "model = 'resnet18': must be"),
        ({"model": None}, "model = None: must be"),
        (
            {
                "optimizer": {"name": "sgd", "lr": 0.1},
                "lr_schedule": {"name": "cosine", "min_lr": 1.0},
            },
            "lr_schedule/min_lr = 1 is above",
        ),
        (
            {"model": {"freeze_policy": "gradual_unfreezing:8"}},
            "model/freeze_policy = 'gradual_unfreezing:8' never unfreezes",
        ),
        (
            {"loss": {"name": "cross_entropy", "label_smoothing": 1}},
            "loss/label_smoothing = 1: must be less than 1",
        ),
    ],
)
def test_one_mistake_is_one_line(values: dict[str, Any], line: str) -> None:
    (found,) = mistakes(MINIMAL | values)
    assert found.startswith(line)


def test_nearest_names_whole_paths_and_says_nothing_when_nothing_is_near() -> None:
    assert nearest("optimiser/lr", set(setting_paths(TrialConfig))).startswith(
        "; nearest: optimizer/lr"
    )
    assert nearest("qqqq", {"lr", "momentum"}) == ""


def test_a_config_cannot_be_changed() -> None:
    with pytest.raises(ValueError, match="frozen"):
        tiny_config().seed = 3  # type: ignore[misc]


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"data__image_size": [6, 9], "data__source": "pfad/mit ümlaut: 'x'", "seed": 2**32 - 1},
        {"model__dense": [], "model__filters": [3, 5], "model__organisation": "listed"}
        | {"model__num_blocks": 2},
        {"labels__network": "good", "labels__width": 2, "labels__wide": True, "labels__x": 0.1},
        {"training__patience_epochs": 3, "training__gradient_clip_norm": 1e-3},
        {"optimizer__lr": 0.1 + 0.2},
        {"optimizer__lr": 1e-05},
        *({"optimizer__name": name} for name in ("sgd", "adamw", "rmsprop")),
        *({"lr_schedule__name": name} for name in ("cosine", "one_cycle", "reduce_on_plateau")),
    ],
)
def test_yaml_round_trip(settings: dict[str, Any], tmp_path: Path) -> None:
    config = tiny_config(**settings)
    path = tmp_path / "trial.yaml"
    path.write_text(dump_config(config), encoding="utf-8")
    assert load_config(path) == config
    assert TrialConfig.model_validate(as_plain(config)) == config


def test_the_yaml_says_every_setting_with_its_value() -> None:
    values = yaml.safe_load(dump_config(tiny_config()))
    assert values["training"]["batch_size"] == 8
    assert values["model"]["activation"] == "relu"
    assert values["lr_schedule"] == {"name": "constant"}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"- a list", "must be a mapping of settings, is ['a list']"),
        (b"", "must be a mapping of settings, is None"),
        (b"data: {source: digits", "is not YAML"),
        (b"data: !!python/object:os.system x", "is not YAML"),
        (b"\xff\xfe\x00\x81", "cannot be read"),
        (b"a: \x00", "is not YAML"),
        (b"{1: 2}", "config"),
    ],
)
def test_a_file_that_is_no_config(content: bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / "trial.yaml"
    path.write_bytes(content)
    with pytest.raises(ConfigError) as error:
        load_config(path)
    assert str(error.value).startswith(f"config {path}")
    assert message in str(error.value)


def test_a_missing_file_and_a_folder(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"config .*none\.yaml: cannot be read: .*No such file"):
        load_config(tmp_path / "none.yaml")
    with pytest.raises(ConfigError, match="cannot be read"):
        load_config(tmp_path)


@pytest.mark.parametrize(
    ("module", "union"),
    [
        (optimizers, get_args(optimizers.Optimizer)[0]),
        (lr_schedules, get_args(lr_schedules.LrSchedule)[0]),
        (losses, get_args(losses.Loss)[0]),
    ],
)
def test_every_class_with_a_name_can_be_chosen(module: Any, union: Any) -> None:
    variants = set(get_args(union) or (union,))
    written = {
        thing
        for _, thing in inspect.getmembers(module, inspect.isclass)
        if issubclass(thing, Settings) and "name" in thing.model_fields
    }
    assert written == variants
    names = [variant.model_fields["name"].default for variant in variants]
    assert len(set(names)) == len(names)
    assert all(inspect.getdoc(variant) for variant in variants)


def test_setting_paths_are_those_of_every_variant() -> None:
    paths = list(setting_paths(TrialConfig))
    expected = {"optimizer/momentum", "optimizer/beta1", "lr_schedule/gamma", "labels/*", "seed"}
    assert expected | {"data/image_size", "model/dense", "loss/label_smoothing"} <= set(paths)
    assert "optimizer" not in paths
    for schedule in get_args(get_args(lr_schedules.LrSchedule)[0]):
        assert {f"lr_schedule/{name}" for name in schedule.model_fields} <= set(paths)


def test_every_setting_of_a_config_has_a_path() -> None:
    config = as_plain(tiny_config())
    assert set(flatten(config)) <= set(setting_paths(TrialConfig))


def test_flatten() -> None:
    nested = {"a": 1, "b": {"c": [2, 3], "d": {"e": None}}, "f": {}}
    assert flatten(nested) == {"a": 1, "b/c": [2, 3], "b/d/e": None}


def test_image_shape() -> None:
    assert tiny_config().image_shape == (1, 6, 6)
    assert tiny_config(data__image_size=[4, 9], data__channels=3).image_shape == (3, 4, 9)


def test_the_name_of_a_variant_may_be_left_out() -> None:
    config = tiny_config(optimizer={"lr": 0.5}, loss={"label_smoothing": 0.25}, lr_schedule={})
    assert (config.optimizer, config.loss) == (
        optimizers.AdamW(lr=0.5),
        losses.CrossEntropy(label_smoothing=0.25),
    )
    assert config.lr_schedule == lr_schedules.Constant()


def test_a_named_pipe_is_not_waited_for_but_a_shells_is_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "trial.yaml")
    with pytest.raises(ConfigError, match="is a pipe; give a file"):
        load_config(tmp_path / "trial.yaml")
    reading, writing = os.pipe()
    os.write(writing, dump_config(tiny_config()).encode())
    os.close(writing)
    assert load_config(Path(f"/dev/fd/{reading}")) == tiny_config()
    os.close(reading)
