"""The command line: what it prints, and how it takes bad input."""

import json
import subprocess
import sys
from contextlib import nullcontext
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

import pytest
from PIL import Image

from tests.support.helpers import tiny_config
from toprung.cli.main import main
from toprung.cluster import machine_checks
from toprung.cluster.machine_checks import Check
from toprung.search_spaces import shipped
from toprung.trainables.config import dump_config


class Ran(NamedTuple):
    code: int
    out: str
    err: str


class Cli:
    """Runs the command in this process."""

    def __init__(self, patch: pytest.MonkeyPatch, capture: pytest.CaptureFixture[str]) -> None:
        self._patch, self._capture = patch, capture

    def __call__(self, *arguments: object) -> Ran:
        self._patch.setattr(sys, "argv", ["toprung", *map(str, arguments)])
        with pytest.raises(SystemExit) as exit_:
            main()
        out, err = self._capture.readouterr()
        assert isinstance(exit_.value.code, int)
        return Ran(exit_.value.code, out, err)


class NeverUsed:
    """In place of the Ray that starts in the background: no test here gets as far as using it."""

    joined = False

    def wait(self) -> None:
        raise AssertionError("Ray is used")


@pytest.fixture
def cli(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Cli:
    """The command, in an empty working folder."""
    monkeypatch.setenv("TOPRUNG_CACHE_DIR", str(tmp_path_factory.getbasetemp() / "cli-cache"))
    monkeypatch.setattr("toprung.api.ray_session", lambda: nullcontext(NeverUsed()))
    monkeypatch.chdir(tmp_path)
    return Cli(monkeypatch, capsys)


@pytest.fixture
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of two classes."""
    folder = tmp_path_factory.mktemp("images")
    for index in range(20):
        path = folder / ("cat", "dog")[index % 2] / f"{index}.png"
        path.parent.mkdir(exist_ok=True)
        Image.new("RGB", (8, 8), (index, 0, 0)).save(path)
    return folder


def write(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


class TestBadInput:
    """Each is one message with exit code 2, before anything is started or written."""

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ("run", "give either a search space or a config"),
            ("run digit_cnn", "there is none with this name; nearest: digits_cnn"),
            ("run no/file.py", "no/file.py: there is no such file"),
            ("run images_cnn", "images_cnn names no data; give some (--data)"),
            ("run digits_cnn --data digts", "nearest: digits"),
            ("run digits_cnn --data /no/such/folder", "/no/such/folder"),
            ("run digits_cnn --trials 0", "trials = 0: must be greater than 0"),
            ("run digits_cnn --trials many", "'many' is not a valid integer"),
            ("run digits_cnn --max-epochs -1", "max_epochs = -1: must be greater than 0"),
            ("run digits_cnn --grace-epochs 99", "grace_epochs = 99 must be at most max_epochs"),
            ("run digits_cnn --sampler tpee", "sampler = 'tpee': must be 'tpe', 'random'"),
            ("run digits_cnn --metric accuracy", "metric = 'accuracy': must be 'val_accuracy'"),
            ("run digits_cnn --time-budget soon", "time_budget = 'soon': must be a duration"),
            ("run digits_cnn --cpus-per-trial 999", "cpus_per_trial = 999: there are "),
            ("run digits_cnn --gpus-per-trial 99", "gpus_per_trial = 99: there are "),
            ("run digits_cnn --concurrency 999", "concurrency = 999: there are CPUs and GPUs for"),
            ("run digits_cnn --sampler grid", "the grid is infinite, because"),
            ("run digits_cnn --set optimizer/lrr=1", "optimizer/lrr: there is no such setting"),
            ("run digits_cnn --set optimizer/lr=fast", "optimizer/lr = 'fast'"),
            ("run digits_cnn --set optimizer/name=adan", "optimizer/name = 'adan': choose from"),
            ("run digits_cnn --set optimizer/lr", "must be path=value"),
            ("run digits_cnn --set seed=1 --set seed=2", "seed is set twice"),
            ("run digits_cnn --set model/num_blocks=9", "the 1x1 picture shrinks to nothing"),
            ("run digits_cnn --set training/epochs=99", "is more than max_epochs = 8"),
            ("run digits_cnn --data digits --set data/source=digits", "data is given twice"),
            ("run digits_cnn --name a/b", "name = 'a/b': must be the name of a folder"),
            ("run digits_cnn --config c.yaml", "give either a search space or a config"),
            ("run --config none.yaml", "config none.yaml: cannot be read"),
            ("run digits_cnn --unknown", "No such option"),
            ("rum digits_cnn", "No such command"),
            ("describe digit_cnn", "nearest: digits_cnn"),
            ("describe none.yaml", "config none.yaml: cannot be read"),
            ("describe .", "is not an exported model"),
            ("status nowhere", "nowhere: holds no sweep"),
            ("best nowhere", "nowhere: holds no sweep"),
            ("export nowhere", "nowhere: holds no sweep"),
            ("test nowhere", "nowhere: holds no sweep"),
            ("predict nowhere x.png", "nowhere: is not an exported model"),
            ("predict nowhere", "Missing argument"),
            ("predict nowhere x.png --top 0", "0 is not in the range"),
        ],
    )
    def test_of_the_command(self, arguments: str, message: str, cli: Cli, tmp_path: Path) -> None:
        ran = cli(*arguments.split())
        assert (ran.code, ran.out) == (2, "")
        assert message in " ".join(ran.err.split())
        assert "Traceback" not in ran.err
        assert not list(tmp_path.iterdir())

    @pytest.mark.parametrize(
        ("source", "message"),
        [
            ("def search_space(trial):\n    return trial.nonsense", "raised AttributeError"),
            (
                "def search_space(trial):\n    return 5",
                "must return a dict of settings, returned 5",
            ),
            (
                "def search_space(trial):\n    return {'optimizer': {'name': 'adan'}}",
                "has 1 mistake: optimizer/name = 'adan'",
            ),
            ("1 / 0", "cannot be loaded: ZeroDivisionError"),
            (
                "SWEEP = {'trails': 3}\ndef search_space(trial):\n    return {}",
                "trails: there is no such setting; nearest: trials",
            ),
        ],
    )
    def test_of_a_space(
        self, source: str, message: str, cli: Cli, tmp_path: Path, images: Path
    ) -> None:
        ran = cli("run", write(tmp_path / "mine.py", source), "--data", images)
        assert ran.code == 2
        assert message in ran.err
        assert not (tmp_path / "sweeps").exists()

    def test_a_config_with_five_mistakes(self, cli: Cli, tmp_path: Path) -> None:
        values = "data: {source: digits, size: 8}\nmodel: {num_blocks: 0}\nseed: -1\n"
        values += "optimizer: {name: adamm}\nlr_schedule: {name: step, gamma: 2}\n"
        ran = cli("run", "--config", write(tmp_path / "c.yaml", values))
        assert ran.code == 2
        assert "has 5 mistakes:" in ran.err
        assert len(ran.err.strip().splitlines()) == 6

    def test_an_impossible_config_says_at_which_block(self, cli: Cli, tmp_path: Path) -> None:
        config = tiny_config(data__source="digits", model__num_blocks=5)
        path = write(tmp_path / "c.yaml", dump_config(config))
        for command in (["run", "--config", path], ["describe", path]):
            ran = cli(*command)
            assert ran.code == 2
            assert "block 3 of 5: the 1x1 picture shrinks to nothing" in ran.err

    @pytest.mark.parametrize("content", [[], ["cat/1.png", "cat/2.png"]])
    def test_of_the_data(self, content: list[str], cli: Cli, tmp_path: Path) -> None:
        (tmp_path / "data").mkdir()
        for name in content:
            (tmp_path / "data" / name).parent.mkdir(exist_ok=True)
            Image.new("L", (4, 4)).save(tmp_path / "data" / name)
        ran = cli("run", "images_cnn", "--data", "data")
        assert ran.code == 2
        assert ran.err.startswith("error: ")
        assert [path.name for path in tmp_path.iterdir()] == ["data"]

    def test_out_already_holds_something(self, cli: Cli, tmp_path: Path) -> None:
        (tmp_path / "sweeps" / "mine").mkdir(parents=True)
        ran = cli("run", "digits_cnn", "--name", "mine")
        assert ran.code == 2
        assert "mine: already contains something else; choose another --name or --out" in ran.err
        write(tmp_path / "sweeps" / "mine" / "sweep.yaml", "")
        assert "already contains another sweep" in cli("run", "digits_cnn", "--name", "mine").err

    def test_out_cannot_be_written(self, cli: Cli, tmp_path: Path) -> None:
        write(tmp_path / "file", "")
        ran = cli("run", "digits_cnn", "--out", "file/sweeps")
        assert ran.code == 2
        assert "cannot be created" in ran.err


class TestDescribe:
    def test_a_space(self, cli: Cli) -> None:
        ran = cli("describe", "digits_cnn")
        assert (ran.code, ran.err) == (0, "")
        assert "searches 13 parameters:" in ran.out
        assert "0.0005 to 0.1 on a log scale" in ran.out
        assert "one of adamw, sgd" in ran.out
        assert "input shape 1x8x8, 10 classes" in ran.out

    def test_study_c_simple(self, cli: Cli) -> None:
        ran = cli("describe", "study_c_networks", "--set", "labels/network=simple")
        assert "parameters 390,410, of which trainable 390,410" in ran.out
        assert "10 classes assumed" in ran.out
        (row,) = [line.split() for line in ran.out.splitlines() if line.startswith("blocks.0.0")]
        assert row == ["blocks.0.0", "Conv2d", "32x32x32", f"{3 * 32 * 25 + 32:,}"]

    def test_a_config(self, cli: Cli, tmp_path: Path) -> None:
        config = tiny_config(data__source="digits", data__image_size=8)
        ran = cli("describe", write(tmp_path / "c.yaml", dump_config(config)))
        expected = (9 * 4 + 4) + (4 * 4 * 4 * 8 + 8) + (8 * 10 + 10)
        assert f"parameters {expected:,}, of which trainable {expected:,}" in ran.out
        assert "multiply-accumulates for one image" in ran.out
        ran = cli("describe", tmp_path / "c.yaml", "--set", "seed=1")
        assert (ran.code, "go with a search space only" in ran.err) == (2, True)

    def test_the_classes_of_one_s_own_images(self, cli: Cli, images: Path) -> None:
        assert (
            "input shape 3x64x64, 2 classes" in cli("describe", "images_cnn", "--data", images).out
        )


class TestOther:
    def test_spaces(self, cli: Cli) -> None:
        ran = cli("spaces")
        assert ran.code == 0
        assert [line.split()[0] for line in ran.out.splitlines()] == shipped()
        assert "A small CNN on scikit-learn's bundled digits" in ran.out

    def test_checks(self, cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
        found = [Check("Python", "3.11"), Check("cache", "/x", "cannot be written")]
        monkeypatch.setattr(machine_checks, "run_checks", lambda: found)
        ran = cli("checks")
        assert ran.code == 1
        assert "ok       Python       3.11" in ran.out
        assert "PROBLEM  cache" in ran.out
        assert "cannot be written" in ran.out
        monkeypatch.setattr(machine_checks, "run_checks", lambda: found[:1])
        assert cli("checks").code == 0

    def test_checks_of_this_machine(self) -> None:
        results = {check.name: check for check in machine_checks.run_checks()}
        names = {"Python", "torch", "GPUs", "Ray", "CPU cores", "memory", "/dev/shm", "cache"}
        assert set(results) == names | {"versions"}
        assert results["Python"].found == sys.version.split()[0]
        assert int(results["CPU cores"].found) >= 1

    def test_a_version_that_toprung_is_not_made_for(self, monkeypatch: pytest.MonkeyPatch) -> None:
        needed = ["click<1", "rich>1", 'onnx<1; extra == "onnx"']
        monkeypatch.setattr(machine_checks, "requires", lambda _: needed)
        results = {check.name: check for check in machine_checks.run_checks()}
        here = version("click")
        assert results["versions"].found == "of 2 packages"
        assert results["versions"].problem == f"click is {here}, and Toprung is made for <1"

    def test_a_cache_that_cannot_be_made(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        folder = write(tmp_path / "file", "") / "cache"
        monkeypatch.setenv("TOPRUNG_CACHE_DIR", str(folder))
        (check,) = [check for check in machine_checks.run_checks() if check.name == "cache"]
        assert "cannot be written; set TOPRUNG_CACHE_DIR" in check.problem

    @pytest.mark.parametrize(
        ("text", "value"),
        [
            ("0.5", 0.5),
            ("1e-3", 1e-3),
            ("true", True),
            ("null", None),
            ("[4, 8]", [4, 8]),
            ("adam", "adam"),
            ('"7"', "7"),
            ("a=b", "a=b"),
            ("", ""),
        ],
    )
    def test_set_reads_json_or_a_word(
        self, text: str, value: object, cli: Cli, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        seen: list[object] = []

        def describe(*_: object, overrides: dict[str, object], **__: object) -> None:
            seen.append(overrides)
            raise KeyboardInterrupt

        monkeypatch.setattr("toprung.cli.description.describe", describe)
        ran = cli("describe", "x", "--set", f"labels/a={text}")
        assert ran.code == 130
        assert "interrupted at once" in ran.out
        assert seen == [{"labels/a": value}]
        assert type(seen[0]["labels/a"]) is type(value)  # type: ignore[index]

    @pytest.mark.parametrize("arguments", [["--help"], ["run", "--help"], ["--version"]])
    def test_help_imports_nothing_heavy(self, arguments: list[str]) -> None:
        code = (
            "import sys, json\nfrom toprung.cli.main import main\n"
            f"sys.argv = ['toprung', *{arguments!r}]\n"
            "try:\n    main()\nexcept SystemExit as end:\n    assert not end.code\n"
            "print(json.dumps(sorted(sys.modules)))"
        )
        ran = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        )
        modules = set(json.loads(ran.stdout.splitlines()[-1]))
        heavy = {"torch", "ray", "optuna", "numpy", "pydantic", "torchvision", "sklearn", "rich"}
        assert not modules & heavy
        assert "toprung" in ran.stdout
