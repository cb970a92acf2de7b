"""A sweep in an object store: run, killed, taken up elsewhere, looked at, tested, fetched.

The trials are pretended, and there is no Ray (see `test_resuming.py`); the store is real.
"""

import json
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import toprung
from benchmarks.kills.facts import differences, ended_trials, facts_of, lost
from benchmarks.kills.pretended.sweep import begin, go_on
from tests.support.fuzzed_sweep import Place
from tests.support.s3 import BUCKET, S3Server
from toprung.analysis.findings.results import Results
from toprung.analysis.models.model import TrainedModel
from toprung.analysis.models.predictions import Predictions
from toprung.analysis.report import answer
from toprung.analysis.sweep_folder import stored_files
from toprung.analysis.sweep_folder.folder import LEASE, SweepFolder, SweepFolderError
from toprung.analysis.sweep_folder.user_state import STATE_VARIABLE
from toprung.cluster.replaced import replaced
from toprung.errors import ToprungError
from toprung.planning.kept_code import IS_SENT
from toprung.search import proposals
from toprung.storage import lease
from toprung.storage.retry import Patience, RecordLostError
from toprung.storage.working_copy import fetch_from_store, local_path, taken_up
from toprung.trainables.files.object_store import ObjectStore, Stored, StoreError
from toprung.tune.callbacks.mirror import Mirror, mirrored

KILLED = """
import os, signal
from benchmarks.kills.pretended.sweep import begin
from toprung.tune.callbacks import mirror
from toprung.trainables.training import trial_in_folder
mirror.SECONDS_BETWEEN_PASSES = 0.05
original, calls = trial_in_folder.to_report, 0
def struck(*arguments):
    global calls
    calls += 1
    return original(*arguments) if calls < 12 else os.kill(os.getpid(), signal.SIGKILL)
trial_in_folder.to_report = struck
begin({url!r}, trials=5)
"""


@pytest.fixture(autouse=True, scope="module")
def _quick() -> Iterator[None]:
    with replaced(proposals, "NUM_REHEARSALS", 10):
        yield


@pytest.fixture
def url(s3: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Of a sweep that is not there yet; its working copies are the test's own."""
    monkeypatch.setenv("TOPRUNG_CACHE_DIR", str(tmp_path / "cache"))
    return f"s3://{BUCKET}/{tmp_path.name}/sweep"


def fetched(url: str, to: Path) -> Path:
    fetch_from_store(url, to, checkpoints=True)
    return to


def other_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """From now on, there are no working copies."""
    monkeypatch.setenv("TOPRUNG_CACHE_DIR", str(tmp_path / "other cache"))


class TestRun:
    def test_leaves_in_the_store_what_it_would_leave_in_a_folder(
        self, url: str, tmp_path: Path
    ) -> None:
        begin(tmp_path / "local", trials=5)
        begin(url, trials=5)
        local, stored = facts_of(tmp_path / "local"), facts_of(fetched(url, tmp_path / "fetched"))
        assert differences(local, stored) == []
        names = {
            path.relative_to(tmp_path / "local").as_posix()
            for path in stored_files.visible_files(tmp_path / "local")
        }
        in_store = {name for name in ObjectStore(url).list() if "events.out" not in name}
        assert in_store == {
            name for name in names if "events.out" not in name and name != "driver.lock"
        }

    def test_is_refused_where_something_is_already(self, url: str) -> None:
        ObjectStore(url).write("notes.txt", b"mine")
        with pytest.raises(ToprungError, match=f"^{url}: already contains something else; choose"):
            begin(url)
        ObjectStore(url).write("sweep.yaml", b"another's")
        with pytest.raises(ToprungError, match="already contains another sweep"):
            begin(url)

    @pytest.mark.usefixtures("url")
    def test_into_a_bucket_that_is_not_there_is_one_clear_line(self) -> None:
        with pytest.raises(StoreError, match=r"s3://nowhere/sweep.*: cannot write it"):
            begin("s3://nowhere/sweep", trials=1)

    def test_its_code_can_be_imported_wherever_it_is_taken_up(
        self, url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        job = tmp_path / "job"
        job.mkdir()
        (job / "helper_of_the_space.py").write_text("from benchmarks.kills.spaces.small import *\n")
        (job / "my_space.py").write_text("from helper_of_the_space import *\n")
        monkeypatch.setenv(IS_SENT, "1")
        begin(url, str(job / "my_space.py"), trials=1)
        shutil.rmtree(job)  # as the job's package, when it has ended
        other_machine(monkeypatch, tmp_path)
        monkeypatch.delitem(sys.modules, "helper_of_the_space")
        go_on(url, trials="+1")
        assert len(toprung.open(url).trials()) == 2
        assert {"code/helper_of_the_space.py", "code/my_space.py"} == set(
            ObjectStore(url).list("code")
        )

    def test_a_query_stays_behind_what_is_in_the_sweep(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("TOPRUNG_CACHE_DIR", str(tmp_path / "cache"))
        monkeypatch.setenv(STATE_VARIABLE, str(tmp_path / "state"))
        place = ObjectStore("s3://bucket/x/my%20sweep?region=us-east-1")
        folder = SweepFolder.working_copy(place)
        assert folder.path.name == "my sweep"
        assert folder.address == place.url
        trial = "s3://bucket/x/my%20sweep/trials/trial_00003?region=us-east-1"
        assert folder.trial_place(3) == trial
        (record,) = (tmp_path / "state" / "working_copies").iterdir()
        before = record.stat()
        SweepFolder.working_copy(place)  # others may be reading what says where it lies
        assert record.stat() == before


class TestKilled:
    def test_goes_on_from_what_is_in_the_store(self, url: str, tmp_path: Path) -> None:
        killed = subprocess.run([sys.executable, "-c", KILLED.format(url=url)], check=False)
        assert killed.returncode == -9
        before = ended_trials(fetched(url, tmp_path / "before"))
        assert before.trials
        (tmp_path / "cache").rename(tmp_path / "lost")
        assert toprung.open(url).ended == "running"  # as far as anybody can know
        go_on(url)
        after = fetched(url, tmp_path / "after")
        assert lost(before, after) == []
        assert toprung.open(after).counts().keys() <= {"finished", "stopped early", "failed"}
        assert toprung.open(url).ended == "finished"

    def test_what_did_not_get_to_the_store_is_taken_from_the_copy_of_this_machine(
        self, url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def gone(mirror: Mirror) -> None:
            store = ObjectStore(url)
            store.write("sweep.yaml", b"what there was when the store went away")
            raise StoreError(f"{mirror._store} is gone")

        with monkeypatch.context() as patch:
            patch.setattr(Mirror, "_last_pass", gone)
            with pytest.raises(
                RecordLostError, match=f"is gone; resume with: toprung resume {url}"
            ):
                begin(url, trials=2)
        whole = facts_of(local_path(url))
        go_on(url)
        fetch_from_store(url, tmp_path / "fetched")
        assert differences(whole, facts_of(tmp_path / "fetched")) == []


class TestLease:
    def tell(self, url: str, **who: object) -> None:
        told = {"host": "elsewhere", "pid": 7, "id": "other"} | who
        ObjectStore(url).write(LEASE, json.dumps(told).encode())

    def test_of_another_driver_is_respected_while_it_is_young(
        self, url: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        begin(url, trials=1)
        self.tell(url)
        with pytest.raises(ToprungError, match=r"run by process 7 on elsewhere, .* try again in"):
            go_on(url, trials="+1")
        monkeypatch.setattr(lease, "MAX_LEASE_SECONDS", 0)
        go_on(url, trials="+1")
        assert len(toprung.open(url).trials()) == 2

    def test_of_a_driver_that_was_killed_before_it_began_is_waited_for(
        self, url: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        self.tell(url)
        with pytest.raises(ToprungError, match="run by process 7 on elsewhere"):
            begin(url, trials=1)
        monkeypatch.setattr(lease, "MAX_LEASE_SECONDS", 0)
        begin(url, trials=1)
        assert len(toprung.open(url).trials()) == 1

    def test_of_another_that_begins_on_this_machine_keeps_its_working_copy(self, url: str) -> None:
        copy = SweepFolder.working_copy(ObjectStore(url))
        copy.path.mkdir()
        copy.decisions.write_text("theirs")
        self.tell(url)
        with pytest.raises(ToprungError, match="run by process 7 on elsewhere"):
            begin(url, trials=1)
        assert copy.decisions.read_text() == "theirs"

    def test_goes_to_one_of_two_that_take_it_at_once(
        self, url: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        find = ObjectStore.find

        def found(store: ObjectStore, name: str) -> Stored | None:
            seen = find(store, name)
            if name == LEASE:
                self.tell(url)
            return seen

        monkeypatch.setattr(ObjectStore, "find", found)
        with pytest.raises(ToprungError, match="process 7 on elsewhere, which has just started"):
            begin(url, trials=1)
        assert set(ObjectStore(url).list()) == {LEASE}

    def test_is_given_back_where_another_sweep_has_begun_meanwhile(
        self, url: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        store = ObjectStore(url)
        take = lease.take

        def taken(place: ObjectStore) -> None:
            take(place)
            store.write("sweep.yaml", b"another's")

        monkeypatch.setattr(lease, "take", taken)
        with pytest.raises(ToprungError, match="another sweep has begun there"):
            begin(url, trials=1)
        assert set(store.list()) == {"sweep.yaml"}

    def test_is_kept_however_long_a_pass_takes(
        self, url: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(lease, "SECONDS_BETWEEN_REFRESHES", 0.01)
        monkeypatch.setattr("toprung.tune.callbacks.mirror.SECONDS_BETWEEN_PASSES", 1000)
        folder = SweepFolder.working_copy(ObjectStore(url))
        patience = Patience(print)
        lease.take(ObjectStore(url))
        mirror = Mirror(folder, ObjectStore(url), patience)
        mirror.start()
        self.tell(url)
        mirror._keeper.join(60)
        assert "has taken over the sweep" in str(patience.lost)
        mirror.end()

    def test_that_another_has_taken_ends_the_sweep(self, url: str) -> None:
        folder = SweepFolder.working_copy(ObjectStore(url))
        folder.path.mkdir()
        sqlite3.connect(folder.study).close()
        folder.decisions.write_text("ours")
        patience = Patience(print)
        mirror = Mirror(folder, ObjectStore(url), patience)
        lease.take(ObjectStore(url))
        self.tell(url)
        mirror.start()
        mirror.end()
        assert isinstance(patience.lost, RecordLostError)
        assert "process 7 on elsewhere has taken over the sweep" in str(patience.lost)
        assert lease.holder(ObjectStore(url)) == "other"
        assert set(ObjectStore(url).list()) == {LEASE}

    def test_that_another_has_taken_keeps_its_sweep_from_being_discarded(self, url: str) -> None:
        store = ObjectStore(url)
        folder = SweepFolder.working_copy(store)  # nothing in it was begun
        plan: Any = SimpleNamespace(store=store, said=None, folder=folder)

        def interrupted() -> None:
            with mirrored(plan, Patience(print)):
                self.tell(url)
                store.write("sweep.yaml", b"another's")
                raise KeyboardInterrupt

        with pytest.raises(RecordLostError, match="has taken over the sweep"):
            interrupted()
        assert set(store.list()) == {LEASE, "sweep.yaml"}


class TestLookedAt:
    @pytest.fixture
    def whole_url(self, url: str, place: Place) -> str:
        """A sweep with a model, tested and exported, that was brought to the store."""
        stored_files.publish(ObjectStore(url), place.sweep, place.sweep)
        return url

    def test_the_test_set_stays_sealed_whatever_copy_is_made(
        self, whole_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        store = ObjectStore(whole_url)
        sealed = store.read("sealed_test.json")
        store.delete("sealed_test.json")
        here = toprung.open(whole_url)
        assert sealed is not None
        store.write("sealed_test.json", sealed)  # another machine has opened it since
        result = here.test()
        assert result.opened_at == json.loads(sealed)[0]["opened_at"]
        store.delete("sealed_test.json")
        other_machine(monkeypatch, tmp_path)
        opened = toprung.open(whole_url).test()
        assert json.loads(store.read("sealed_test.json") or b"")[0]["opened_at"] == opened.opened_at

    def test_an_opening_on_another_machine_meanwhile_is_neither_lost_nor_repeated(
        self, whole_url: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        store = ObjectStore(whole_url)
        (opening,) = json.loads(store.read("sealed_test.json") or b"")
        new = {"weights_sha256": "another's", "opening": None, "predictions_sha256": None}
        theirs = json.dumps([opening | new]).encode()
        for name in store.list():
            if name.startswith(("sealed_test", "test_openings/", "test_predictions/")):
                store.delete(name)
        predict_all = TrainedModel.predict_all

        def slow(*given: Any) -> Predictions:
            store.write("sealed_test.json", theirs)
            return predict_all(*given)

        monkeypatch.setattr(TrainedModel, "predict_all", slow)
        with pytest.raises(SweepFolderError, match="the test set was opened on"):
            toprung.open(whole_url).test()
        assert store.read("sealed_test.json") == theirs

    def test_what_was_written_twice_within_a_second_is_seen(self, url: str) -> None:
        for content in (b"1", b"2"):
            ObjectStore(url).write("sweep.yaml", content)
            assert (local_path(url) / "sweep.yaml").read_bytes() == content

    def test_is_free_again_when_what_would_go_on_with_it_is_interrupted(
        self, whole_url: str
    ) -> None:
        with pytest.raises(KeyboardInterrupt), taken_up(whole_url):
            raise KeyboardInterrupt
        assert lease.holder(ObjectStore(whole_url)) == ""

    def test_a_report_says_to_fetch_it_before_its_model_is_used(self, whole_url: str) -> None:
        uses = {use.what: use.text for use in answer.uses(Results(toprung.open(whole_url)))}
        assert uses["Bring it to this machine"] == f"toprung fetch {whole_url}"
        assert uses["Classify images"] == "toprung predict sweep/best IMAGE…"
        assert "load_model(Path('sweep/best'))" in uses["From Python"]
        assert uses["Train it again"] == "toprung run --config sweep/best/trial.yaml"

    def test_an_export_and_a_report_go_to_the_store(self, whole_url: str) -> None:
        store = ObjectStore(whole_url)
        for name in store.list("best"):
            store.delete(name)
        sweep = toprung.open(whole_url)
        sweep.export()
        assert "best/model.safetensors" in store.list("best")

    def test_there_must_be_a_sweep(self, url: str, tmp_path: Path) -> None:
        with pytest.raises(ToprungError, match=f"^{url}: is not a sweep \\(no sweep.yaml\\)"):
            toprung.open(url)
        with pytest.raises(ToprungError, match=f"^{url}: is not a sweep"):
            fetch_from_store(url, tmp_path / "to")
        with pytest.raises(ToprungError, match=r"is not a sweep \(the bucket does not exist\)$"):
            toprung.open("s3://nowhere/sweep")
        with pytest.raises(ToprungError, match="is a bucket"):
            toprung.open(f"s3://{BUCKET}")

    def test_it_is_fetched_without_checkpoints_into_a_new_folder(
        self, whole_url: str, tmp_path: Path
    ) -> None:
        fetch_from_store(whole_url, tmp_path / "to")
        assert toprung.open(tmp_path / "to").best().number == 1
        assert not SweepFolder(tmp_path / "to").checkpoints()
        with pytest.raises(ToprungError, match="is not empty"):
            fetch_from_store(whole_url, tmp_path / "to")
