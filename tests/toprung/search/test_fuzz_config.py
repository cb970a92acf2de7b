"""Whatever is written as a config, a setting or a `--set`: a valid value, or one clear mistake."""

import json
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import click
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.helpers import tiny_config
from toprung.cli.main import _overrides, toprung
from toprung.errors import USER_ERRORS
from toprung.search.proposals import Proposals
from toprung.search_spaces import load
from toprung.settings import SweepSettings, resolve
from toprung.trainables.config import TrialConfig, as_plain, dump_config, load_config
from toprung.trainables.system.typed_settings import ConfigError, parse, setting_paths

FEW = settings(
    max_examples=50,
    derandomize=True,
    database=None,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
PATHS = sorted({path.removesuffix("/*") for path in setting_paths(TrialConfig)})
VALID: list[dict[str, Any]] = [
    as_plain(tiny_config()),
    as_plain(
        tiny_config(
            augmentation__transforms=[
                {"name": "horizontal_flip"},
                {"name": "rotation", "degrees": 9},
            ],
            augmentation__mix="mixup",
            labels={"network": "good", "number": 3},
        )
    ),
    {
        "data": {"source": "digits"},
        "model": {"architecture": "resnet18", "weights": "none"},
        "lr_schedule": {"name": "cosine"},
    },
    {
        "data": {"source": "digits"},
        "model": {"architecture": "svm", "backbone": "resnet18", "weights": "none"},
    },
]


def _words(schema: Any) -> Iterator[str]:
    """Every word that some setting knows."""
    if isinstance(schema, Mapping):
        yield from (word for word in schema.get("enum", ()) if isinstance(word, str))
        yield from (word for word in [schema.get("const")] if isinstance(word, str))
        for value in schema.values():
            yield from _words(value)
    elif isinstance(schema, list):
        for value in schema:
            yield from _words(value)


ODD = [
    "",
    "\0",
    "\ud800",
    "\udcff",
    "../..",
    "~nobody",
    "train_pattern:(",
    "first_stages_frozen:0",
    "1" * 5000,
]
SCALARS = (
    st.sampled_from([*sorted({*_words(TrialConfig.model_json_schema())}), *ODD])
    | st.none()
    | st.booleans()
    | st.integers(-3, 300)
    | st.sampled_from([10**30, -(10**30), 10**4290])
    | st.floats(-1, 2)
    | st.floats()
    | st.text(max_size=8)
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=6,
)
CHANGES = st.lists(
    st.tuples(st.sampled_from(PATHS) | st.text(max_size=9), VALUES), min_size=1, max_size=4
)
BOMB = "a0: &a0 {x: lol}\n" + "".join(
    f"a{n}: &a{n} {{" + ", ".join(f"k{i}: *a{n - 1}" for i in range(9)) + "}\n"
    for n in range(1, 40)
)
TEXTS = [
    BOMB,
    f"labels: {{a: &x [{'0, ' * 9}0], b: [*x, *x]}}\ndata: {{source: digits}}",
    "&a {data: *a}",
    "data: &a {source: *a}",
    "[" * 100_000,
    "{data: " * 60_000,
    "- " * 50_000,
    "data: {source: a, source: b}",
    "data: {source: a}\ndata: {source: b}",
    "\ufeffdata: {source: digits}",
    "\tdata: 1",
    "data: \0",
    "data: {source: !!int x}",
    "seed: !!bool maybe\ndata: {source: digits}",
    "seed: 2001-99-99",
    "seed: 0x" + "f" * 6000,
    f"seed: {'9' * 6000}",
    "labels: {a: 0x" + "f" * 6000 + "}\ndata: {source: digits}",
    "!!python/object/apply:os.system ['true']",
    "? [a, b]\n: 1",
    "1: 2",
    "null: null",
    "---\na: 1\n---\nb: 1",
    "data: {source: digits}\nlabels: !!set {a, b}",
    "data: {source: !!binary ZGlnaXRz}",
    "<<: {data: {source: digits}}",
    "",
    "%",
    "*a",
]


def _check_is_short(error: Exception) -> None:
    assert 0 < len(str(error)) < 20_000


class TestConfig:
    @FEW
    @given(base=st.sampled_from(VALID), changes=CHANGES)
    def test_a_changed_config(
        self, tmp_path_factory: pytest.TempPathFactory, base: dict[str, Any], changes: Any
    ) -> None:
        values = json.loads(json.dumps(base))
        for path, value in changes:
            _put(values, path, value)
        try:
            text = yaml.safe_dump(values, sort_keys=False)
        except ValueError:  # an integer that Python does not write out
            text = yaml.safe_dump(base)
            with pytest.raises(ConfigError):
                parse(TrialConfig, values, "config x")
        _load(tmp_path_factory.getbasetemp() / "changed.yaml", text.encode())

    @pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
    @pytest.mark.parametrize("text", TEXTS, ids=lambda text: ascii(text[:20]))
    def test_an_odd_text(self, text: str, encoding: str, tmp_path: Path) -> None:
        _load(tmp_path / "odd.yaml", text.encode(encoding, errors="replace"))

    @FEW
    @given(
        base=st.sampled_from([yaml.safe_dump(values).encode() for values in VALID]),
        cuts=st.tuples(st.integers(0, 1500), st.integers(0, 1500)),
        put=st.binary(max_size=6)
        | st.sampled_from([b"[", b"{", b"&a ", b"*a", b"!!", b"- ", b"|"]),
    )
    def test_a_text_with_another_piece(
        self,
        tmp_path_factory: pytest.TempPathFactory,
        base: bytes,
        cuts: tuple[int, int],
        put: bytes,
    ) -> None:
        start, end = sorted(cuts)
        _load(tmp_path_factory.getbasetemp() / "piece.yaml", base[:start] + put + base[end:])

    @FEW
    @given(content=st.binary(max_size=60))
    def test_any_bytes(self, tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
        _load(tmp_path_factory.getbasetemp() / "any.yaml", content)


def _put(values: dict[str, Any], path: str, value: Any) -> None:
    *parents, name = path.split("/")
    for parent in parents:
        inner = values.get(parent)
        if not isinstance(inner, dict):
            inner = values[parent] = {}
        values = inner
    values[name] = value


def _load(path: Path, content: bytes) -> TrialConfig | None:
    """The config in these bytes, the same when it is written and read again; None for a mistake."""
    path.write_bytes(content)
    try:
        config = load_config(path)
    except ConfigError as error:
        _check_is_short(error)
        return None
    path.write_text(dump_config(config), "utf-8")
    assert load_config(path) == config
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            config.check()
        except USER_ERRORS:
            return None
    return config


WORDS = st.text(max_size=10) | st.sampled_from(
    [
        "NaN",
        "-Infinity",
        "1e999",
        "9" * 5000,
        '{"a":1,"a":2}',
        "-0",
    ]
)
PAIRS = st.builds(
    "{}={}".format,
    st.sampled_from(PATHS) | st.text(max_size=9) | st.just("labels/a"),
    WORDS | VALUES.map(lambda value: _as_json(value)),
)


def _as_json(value: Any) -> str:
    try:
        return json.dumps(value)
    except ValueError:
        return "9" * 5000


class TestSet:
    @FEW
    @given(texts=st.lists(PAIRS | WORDS, max_size=3))
    def test_the_grammar(self, texts: list[str]) -> None:
        command = toprung.commands["describe"]
        context, parameter = click.Context(command), command.params[-1]
        try:
            overrides = _overrides(context, parameter, tuple(texts))
        except click.BadParameter as error:
            _check_is_short(error)
            return
        assert list(overrides) == [text.partition("=")[0] for text in texts]

    @pytest.mark.parametrize("value", ["[" * 100_000, '{"a": ' * 50_000, '{"a": 1, "a": 1}'])
    def test_what_json_cannot_read(self, value: str) -> None:
        command = toprung.commands["describe"]
        with pytest.raises(click.BadParameter, match="labels/a: is not valid JSON"):
            _overrides(click.Context(command), command.params[-1], (f"labels/a={value}",))

    @settings(FEW, max_examples=20)
    @given(pairs=st.lists(PAIRS, min_size=1, max_size=2))
    def test_laid_over_a_search_space(self, pairs: list[str]) -> None:
        space = load("digits_cnn")
        command = toprung.commands["describe"]
        try:
            overrides = _overrides(click.Context(command), command.params[-1], tuple(pairs))
            proposals = Proposals(space, resolve(space.defaults, {}), overrides)
        except (click.BadParameter, *USER_ERRORS) as error:
            _check_is_short(error)
            return
        for config in proposals.rehearsal.configs[:3]:
            assert parse(TrialConfig, as_plain(config), "again") == config


GIVEN = st.dictionaries(
    st.sampled_from(list(SweepSettings.model_fields)) | st.text(max_size=5), VALUES, max_size=4
)


class TestSettings:
    @settings(FEW, max_examples=40)
    @given(defaults=GIVEN, chosen=GIVEN)
    def test_of_a_sweep(self, defaults: dict[str, Any], chosen: dict[str, Any]) -> None:
        try:
            found = resolve(defaults, chosen)
        except ConfigError as error:
            _check_is_short(error)
            return
        assert SweepSettings.model_validate(found.model_dump(mode="json")) == found

    @pytest.mark.parametrize("text", ["1" * 200_000, "1h" * 50_000 + "1", "1." * 100_000, "\0"])
    def test_a_duration_without_end(self, text: str) -> None:
        with pytest.raises(ConfigError, match="must be a duration"):
            resolve({}, {"time_budget": text})
