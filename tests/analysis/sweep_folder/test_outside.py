"""What a stranger's folder names outside itself is left alone by every command, until agreed to."""

import json
import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from PIL import Image

import toprung
from tests.support.fuzzed_sweep import WINNER, Place, commands, digests, run
from tests.support.watchers import (
    Bait,
    bait,
    files_opened,
    greedy_postgres,
    refuse_sockets,
    touched,
)
from toprung.analysis.exporting.onnx_export import _validation_images
from toprung.analysis.report.sections import SECTIONS
from toprung.analysis.sweep import Sweep
from toprung.analysis.sweep_folder import attributes
from toprung.analysis.sweep_folder.folder import SweepFolder
from toprung.analysis.sweep_folder.known_sweeps import known_places, new_id
from toprung.analysis.sweep_folder.outside import NotConfirmedError
from toprung.analysis.sweep_folder.user_state import STATE_VARIABLE
from toprung.trainables.config import TrialConfig, dump_config
from toprung.trainables.system.typed_settings import parse

CHECKPOINT = f"trials/trial_{WINNER:05d}/checkpoint.pt"
LOOKS = ("status", "best", "compare", "export", "inspect", "evaluate")


@pytest.fixture
def stranger(place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    """A sweep that somebody else made: this user's records are empty."""
    monkeypatch.setenv(STATE_VARIABLE, str(tmp_path / "state"))
    return place


@pytest.fixture
def server() -> Iterator[Bait]:
    """A PostgreSQL server that nobody may speak to."""
    with bait(greedy_postgres) as server:
        yield server


@pytest.fixture
def watched(tmp_path: Path) -> Path:
    """A folder of images and weights outside the sweep's, which nobody may look into."""
    folder = tmp_path / "watched"
    for label in ("a", "b"):
        (folder / label).mkdir(parents=True)
        for number in range(4):
            Image.new("L", (8, 8), 60 * number).save(folder / label / f"{number}.png")
    torch.save({}, folder / "weights.pth")
    return folder


@pytest.fixture(autouse=True)
def _few_sections(monkeypatch: pytest.MonkeyPatch) -> None:
    few = tuple(s for s in SECTIONS if s.anchor in ("answer", "inside", "data"))
    monkeypatch.setattr("toprung.analysis.report.page.SECTIONS", few)


def every_command(place: Place) -> dict[str, list[str]]:
    """Those that take the sweep's folder."""
    sweep = str(place.sweep)
    named = {name: words for name, words in commands(place).items() if sweep in words}
    return named | {
        "dashboard": ["dashboard", sweep, "--no-browser"],
        "resume": ["resume", sweep, "--trials", "+1"],
        "warm start": ["run", "digits_cnn", "--warm-start", sweep, "--out", str(place.out)],
        "compare two": ["compare", sweep, sweep],
    }


def rewrite(sweep: Path, **changes: Any) -> None:
    """Change keys of `sweep.yaml`; None takes one away."""
    path = SweepFolder(sweep).settings
    said = yaml.safe_load(path.read_text()) | changes
    path.write_text(yaml.safe_dump({k: value for k, value in said.items() if value is not None}))


def rewrite_winner(sweep: Path, section: str, values: dict[str, Any], **checkpoint: Any) -> None:
    """Change the winner's config, in its checkpoint and its study, and keys of the checkpoint."""
    saved = torch.load(sweep / CHECKPOINT, weights_only=True)
    saved["config"][section] |= values
    torch.save(saved | checkpoint, sweep / CHECKPOINT)
    text = json.dumps(dump_config(parse(TrialConfig, saved["config"], "config")))
    with sqlite3.connect(sweep / "study.db") as study:
        study.execute(
            "UPDATE trial_user_attributes SET value_json = ? WHERE trial_id = ? AND key = ?",
            (text, WINNER + 1, attributes.CONFIG),
        )
    study.close()


def refusal(words: list[str]) -> str:
    """The one line with which a command refuses."""
    code, said = run(words)
    assert (code, len(said.splitlines())) == (2, 1), said
    return said


def without_progress(said: str) -> str:
    """What a command said besides that it decodes images."""
    return "".join(line for line in said.splitlines() if not line.startswith("Decoding "))


class TestStudyInADatabase:
    @pytest.fixture
    def url(self, stranger: Place, server: Bait) -> str:
        url = f"postgresql://someone@127.0.0.1:{server.port}/db"
        rewrite(stranger.sweep, storage={"url": url, "name": "sweep"})
        return url

    @pytest.mark.parametrize(
        "name", [*LOOKS, "test", "report", "dashboard", "resume", "warm start", "compare two"]
    )
    def test_no_command_speaks_to_it(
        self, name: str, url: str, stranger: Place, server: Bait, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("PGPASSWORD", "secret")
        with refuse_sockets() as refused:
            said = refusal(every_command(stranger)[name])
        assert (server.heard, refused) == ([], [])
        assert url in said
        assert "127.0.0.1 would get the user name 'someone' and, if it asks, the password" in said
        assert f"toprung status {stranger.sweep} --trust" in said

    def test_trust_speaks_to_it_and_is_asked_once(
        self, url: str, stranger: Place, server: Bait
    ) -> None:
        assert url in refusal(["status", str(stranger.sweep), "--trust"])  # it hangs up
        assert server.heard
        with pytest.raises(NotConfirmedError):  # nothing is recorded of what could not be read
            toprung.open(stranger.sweep)

    def test_of_one_s_own_is_spoken_to(self, place: Place, server: Bait) -> None:
        from toprung.analysis.sweep_folder.known_sweeps import remember
        from toprung.analysis.sweep_folder.outside import study_at
        from toprung.analysis.sweep_folder.study_place import StudyPlace

        url = f"postgresql://someone@127.0.0.1:{server.port}/db"
        rewrite(place.sweep, storage={"url": url, "name": "sweep"})
        sweep_id = yaml.safe_load((place.sweep / "sweep.yaml").read_text())["id"]
        with pytest.raises(NotConfirmedError, match="your record of this sweep does not have it"):
            toprung.open(place.sweep)
        remember(sweep_id, [study_at(StudyPlace(url, "sweep"))])
        toprung.open(place.sweep)
        moved = place.sweep.rename(place.sweep.with_name("moved and renamed"))
        assert "cannot be read" in refusal(["status", str(moved)])
        assert len(server.heard) == 1
        other = url.replace("/db", "/other")  # the same id with another place is not confirmed
        rewrite(moved, storage={"url": other, "name": "sweep"})
        assert other in refusal(["status", str(moved)])
        rewrite(moved, storage={"url": url, "name": "another"})
        assert url in refusal(["status", str(moved)])
        assert len(server.heard) == 1

    @pytest.mark.parametrize("query", ["host=127.0.0.1", "hostaddr=127.0.0.1", "service=mine"])
    def test_whatever_its_url_asks_of_libpq(
        self, query: str, stranger: Place, server: Bait, watched: Path
    ) -> None:
        url = f"postgresql://u@h:{server.port}/db?{query}&passfile={watched}/a/0.png"
        rewrite(stranger.sweep, storage={"url": url, "name": "sweep"})
        with touched(watched) as names:
            assert "of sweeps" in refusal(["status", str(stranger.sweep)])
        assert (server.heard, names) == ([], [])


class TestStore:
    def test_a_marker_beside_the_sweep_is_nothing(self, stranger: Place, server: Bait) -> None:
        url = f"s3://bucket/x?endpoint_override=127.0.0.1:{server.port}&scheme=http&region=x"
        (stranger.sweep.parent / ".toprung-store").write_text(url)
        assert SweepFolder(stranger.sweep).store is None
        with refuse_sockets() as refused:
            for name in ("status", "report", "export in place", "test"):
                assert run(every_command(stranger)[name])[0] == 0
        assert (server.heard, refused) == ([], [])


class TestImages:
    @pytest.fixture(autouse=True)
    def _named(self, stranger: Place, watched: Path) -> None:
        source = {"source": str(watched), "root": None, "digest": None}
        rewrite_winner(stranger.sweep, "data", source)
        stranger.seal()

    @pytest.mark.parametrize("name", [*LOOKS, "export in place"])
    def test_who_only_looks_leaves_them_alone(
        self, name: str, stranger: Place, watched: Path, tmp_path: Path
    ) -> None:
        with touched(watched) as names, files_opened() as opened:
            code, said = run(every_command(stranger)[name])
        assert (code, without_progress(said), names) == (0, "", [])
        assert not [path for _, path in opened if path.is_relative_to(watched)]
        assert not (tmp_path / "state").exists()

    def test_an_export_as_onnx_is_checked_without_them(
        self, stranger: Place, watched: Path
    ) -> None:
        sweep = toprung.open(stranger.sweep)
        with touched(watched) as names:
            assert len(_validation_images(sweep.model(), sweep.outside)) == 0
        assert names == []

    def test_a_report_says_in_one_sentence_what_it_lacks(
        self, stranger: Place, watched: Path
    ) -> None:
        with touched(watched) as names:
            code, said = run(every_command(stranger)["report"])
        assert (code, names) == (0, [])
        (line,) = said.splitlines()
        assert line.startswith("warning: could not be drawn: First convolution: activation maps, ")
        assert f"its files name the images '{watched}'" in line
        assert "--trust" in line
        page = (stranger.out / "report" / "report.html").read_text()
        assert "its files name the images" in page

    def test_to_test_asks_once(self, stranger: Place, watched: Path) -> None:
        with touched(watched) as names:
            said = refusal(["test", str(stranger.sweep)])
        assert f"the images '{watched}'" in said
        assert names == []
        assert not (stranger.sweep / "sealed_test.json").exists()
        with touched(watched) as names:
            assert "were set aside" in refusal(["test", str(stranger.sweep), "--trust"])
        assert [name for name in names if name.endswith(".png")]
        assert "were set aside" in refusal(["test", str(stranger.sweep)])

    def test_what_is_agreed_to_is_this_place_alone(
        self, stranger: Place, watched: Path, tmp_path: Path
    ) -> None:
        toprung.open(stranger.sweep, trust=True)
        shutil.copytree(watched, tmp_path / "other")
        for change in ({"source": str(tmp_path / "other")}, {"source": "cifar10", "root": "/x"}):
            rewrite_winner(stranger.sweep, "data", change)
            assert "your record of this sweep does not have it" in refusal(
                ["test", str(stranger.sweep)]
            )

    def test_a_config_file_s_are_not_counted(self, stranger: Place, watched: Path) -> None:
        config = str(stranger.out / "trial.yaml")
        trial = yaml.safe_load((stranger.sweep / "best" / "trial.yaml").read_text())
        trial["data"] |= {"source": str(watched), "digest": None}
        Path(config).write_text(yaml.safe_dump(trial))
        with touched(watched) as names:
            assert run(["describe", config])[0] == 0
        assert names == []
        with touched(watched) as names:
            assert run(["describe", config, "--trust"])[0] == 0
        assert names


class TestWeights:
    @pytest.fixture(autouse=True)
    def _named(self, stranger: Place, watched: Path) -> None:
        weights = {"weights": str(watched / "weights.pth")}
        rewrite_winner(stranger.sweep, "model", weights, frozen_digest="of weights elsewhere")

    @pytest.mark.parametrize("name", ["export", "inspect", "evaluate", "test"])
    def test_are_not_read(self, name: str, stranger: Place, watched: Path) -> None:
        stranger.seal()
        with touched(watched) as names:
            said = refusal(every_command(stranger)[name])
        assert f"name the weights '{watched / 'weights.pth'}'" in said
        assert names == []
        with touched(watched) as names:
            assert "weights" in refusal([*every_command(stranger)[name], "--trust"])
        assert "weights.pth" in names

    def test_nor_by_a_report(self, stranger: Place, watched: Path) -> None:
        with touched(watched) as names:
            code, said = run([*every_command(stranger)["report"], "--before"])
        assert (code, names) == (0, [])
        assert "name the weights" in said

    def test_nor_are_torchvision_s_downloaded(
        self, stranger: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("TORCH_HOME", str(tmp_path / "hub"))
        saved = torch.load(stranger.sweep / CHECKPOINT, weights_only=True)
        saved["config"]["model"] = {"architecture": "resnet18", "weights": "DEFAULT"}
        saved["config"]["data"] |= {"channels": 3, "image_size": 32}
        torch.save(saved, stranger.sweep / CHECKPOINT)
        with refuse_sockets() as refused:
            said = refusal(every_command(stranger)["export"])
        assert "torchvision's weights DEFAULT of resnet18, downloaded if they are" in said
        assert refused == []
        assert not (tmp_path / "hub").exists()


class TestOfAnOlderVersion:
    """Its `sweep.yaml` has no id."""

    @pytest.fixture(autouse=True)
    def _without_id(self, place: Place) -> None:
        rewrite(place.sweep, id=None)
        place.seal()

    def test_is_looked_at_as_before(self, place: Place) -> None:
        before = digests(place)
        for name in LOOKS:
            code, said = run(every_command(place)[name])
            assert (code, without_progress(said)) == (0, "")
        assert run(commands(place)["predict"])[0] == 0
        assert digests(place) == before

    def test_asks_once_before_it_is_tested(self, place: Place) -> None:
        assert "the images 'digits'" in refusal(["test", str(place.sweep)])
        assert run(["test", str(place.sweep), "--trust"])[0] == 0
        sweep_id = toprung.open(place.sweep).id
        assert known_places(sweep_id)
        place.seal()
        assert run(["test", str(place.sweep)])[0] == 0

    def test_where_nothing_can_be_recorded_it_is_asked_again(
        self, place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "a file").touch()
        monkeypatch.setenv(STATE_VARIABLE, str(tmp_path / "a file"))
        code, said = run(["test", str(place.sweep), "--trust"])
        assert code == 0
        assert "cannot be recorded, so you will be asked again" in said
        place.seal()
        assert "in your records" in refusal(["test", str(place.sweep)])

    @pytest.mark.parametrize("sweep_id", ["../../evil", "", "x" * 32, "A" * 32])
    def test_an_id_that_is_none_gives_way_to_one(self, sweep_id: str, place: Place) -> None:
        rewrite(place.sweep, id=sweep_id)
        assert "the images" in refusal(["test", str(place.sweep)])
        toprung.open(place.sweep, trust=True)
        assert len(toprung.open(place.sweep).id or "") == len(new_id())


def test_trust_goes_with_a_sweep(place: Place) -> None:
    for name in ("inspect export", "evaluate export"):
        code, said = run([*commands(place)[name], "--trust"])
        assert (code, "applies to a sweep's folder" in said) == (2, True)


def test_readers_find_one_s_own_sweep_wherever_it_lies(place: Place) -> None:
    place.seal()
    moved = place.sweep.rename(place.sweep.with_name("moved"))
    assert Sweep(moved).test().num_images > 0
