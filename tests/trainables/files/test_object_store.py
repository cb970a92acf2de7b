"""Places in an object store, against a real S3-compatible server."""

import pickle
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from tests.support.s3 import BUCKET, S3Server
from toprung.trainables.files import conditional_write, object_store
from toprung.trainables.files.object_store import ObjectStore, StoreError, is_url, url_within
from toprung.trainables.results.failures import STORE_AWAY, failure_of


@pytest.fixture
def store(s3: S3Server, request: pytest.FixtureRequest) -> ObjectStore:
    return ObjectStore(f"s3://{BUCKET}/{quote(request.node.name)}")


class TestUrls:
    @pytest.mark.parametrize("url", ["s3://bucket/x", "gs://bucket", "abfs://a@b.example/c"])
    def test_are_distinguished_from_paths(self, url: str) -> None:
        assert is_url(url)
        assert not is_url(Path(url))
        assert not is_url(url.replace("://", "/"))

    @pytest.mark.parametrize(
        ("url", "message"),
        [
            ("ftp://bucket/x", r"^ftp://…: is not a supported object store; choose s3://, gs://"),
            ("s3://me:hush@bucket/x", "leave the credentials out of the URL"),
            ("s3://hush@bucket/x", "leave the credentials out of the URL"),
            ("s3://bucket/x?secret%5Fkey=hush", "leave the credentials out of the URL"),
            ("abfs://container:hush@account.example/x", "leave the credentials out of the URL"),
            ("s3://AKIA:hush/hush@bucket/x", r"^s3://…: after s3:// .* leave the credentials out"),
            ("s3://[hush@bucket/x", "^s3://…: is not a URL"),
            ("abfs://c@a.example/x?sv=1&sig=hush", "leave the credentials out of the URL"),
            ("s3://b/x?endpoint_override=http://u:hush@h", "leave the credentials out of the URL"),
            (
                "s3://bucket/x?colour=red",
                r"s3://bucket/x\?…: the options allowed after the \? are region, scheme",
            ),
            ("s3://bucket/a b", "s3://bucket/a b: is not a whole URL; write .* %20 for a space"),
            ("s3://bucket/a#b?region=x", "s3://bucket/a: is not a whole URL"),
            ("s3:///x", "has no bucket"),
        ],
    )
    def test_that_cannot_be_used_are_reported_without_their_secrets(
        self, url: str, message: str
    ) -> None:
        with pytest.raises(StoreError, match=message) as error:
            ObjectStore(url)
        assert "hush" not in str(error.value)

    def test_have_names_and_places_within(self) -> None:
        store = ObjectStore("s3://bucket/sweeps/?region=eu-central-1").within("a b")
        assert store.url == "s3://bucket/sweeps/a%20b?region=eu-central-1"
        assert store.name == "a b"
        assert store.parent.url == "s3://bucket/sweeps?region=eu-central-1"
        assert pickle.loads(pickle.dumps(store)).url == store.url
        assert ObjectStore("s3://bucket/sweeps/?region=eu-central-1").name == "sweeps"

    @pytest.mark.parametrize("name", ["a b", "trials/trial_00001", "50 %? #1", "größe"])
    def test_keep_their_query_whatever_is_within(self, name: str) -> None:
        url = url_within("s3://bucket/sweeps/?region=a&scheme=http&endpoint_override=h:1", name)
        assert url.endswith("?region=a&scheme=http&endpoint_override=h:1")
        store = ObjectStore(url)
        assert store.url == url
        assert store.name == name.rpartition("/")[2]
        assert store._connection[1] == f"bucket/sweeps/{name}"


class TestObjects:
    def test_are_written_read_listed_and_deleted(self, store: ObjectStore, tmp_path: Path) -> None:
        file = tmp_path / "file"
        file.write_bytes(b"large" * 3_000_000)
        store.write("deep/in/small", b"small")
        store.upload(file, "large")
        assert {name: found.size for name, found in store.list().items()} == {
            "deep/in/small": 5,
            "large": 15_000_000,
        }
        assert list(store.list("deep")) == ["deep/in/small"]
        assert store.read("deep/in/small") == b"small"
        assert store.download("large", tmp_path / "copy")
        assert (tmp_path / "copy").read_bytes() == file.read_bytes()
        store.delete("large")
        assert not store.exists("large")
        assert store.exists("deep/in/small")

    def test_that_are_not_there_are_no_error(self, store: ObjectStore, tmp_path: Path) -> None:
        store.delete("none")
        assert store.read("none") is None
        assert store.find("none") is None
        assert not store.download("none", tmp_path / "none")
        assert list(tmp_path.iterdir()) == []
        assert store.list() == {}

    def test_leave_nothing_behind_when_it_is_tried_whether_they_can_be_written(
        self, store: ObjectStore
    ) -> None:
        assert store.check_writable() > 0
        assert store.list() == {}


class TestConditionalWrites:
    """Each way in turn: by the store's own conditions, without any, and where they are ignored."""

    @pytest.fixture(params=["by the store", "not by the store", "ignored by the store"])
    def _way(self, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(object_store, "SECONDS_TO_SETTLE", 0.0)
        if request.param == "not by the store":
            monkeypatch.setenv("AWS_CONDITIONAL_PUT", "disabled")
        if request.param == "ignored by the store":
            put = conditional_write._put
            monkeypatch.setattr(
                conditional_write,
                "_put",
                lambda store, path, content, _: put(store, path, content, "overwrite"),
            )

    @pytest.mark.usefixtures("_way")
    def test_replace_only_what_was_found(self, store: ObjectStore) -> None:
        assert store.write_if_absent("name", b"first")
        assert not store.write_if_absent("name", b"second")
        assert store.read("name") == b"first"
        assert not store.write_if_unchanged("name", b"another", b"third")
        assert store.write_if_unchanged("name", b"first", b"third")
        assert store.read("name") == b"third"
        assert not store.write_if_unchanged("none", b"there", b"third")
        assert not store.exists("none")

    def test_use_the_keys_in_the_credentials_file(
        self, store: ObjectStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        file = tmp_path / "credentials"
        file.write_text("[mine]\naws_access_key_id = A%\naws_secret_access_key = B\nregion = x\n")
        monkeypatch.delenv("AWS_ACCESS_KEY_ID")
        monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
        monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(file))
        monkeypatch.setenv("AWS_PROFILE", "mine")
        url = f"{store.url}/other"
        write = conditional_write.write_if_unchanged
        assert write(url, "us-east-1", "name", None, b"first")
        assert not write(url, "us-east-1", "name", None, b"second")

    def test_go_to_one_of_many_at_once(self, store: ObjectStore) -> None:
        contents = [b"%d" % number for number in range(12)]
        name = "50 %? #1/größe"
        with ThreadPoolExecutor(12) as pool:
            won = list(pool.map(lambda own: store.write_if_absent(name, own), contents))
        assert sum(won) == 1
        assert store.read(name) == contents[won.index(True)]

    def test_whose_answer_was_lost_are_known_as_this_one_s(
        self, store: ObjectStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def lost(*arguments: Any) -> bool:
            conditional_write.write_if_unchanged(*arguments)
            return conditional_write.write_if_unchanged(*arguments)

        monkeypatch.setattr(object_store, "write_if_unchanged", lost)
        assert store.write_if_absent("name", b"mine")

    @pytest.mark.usefixtures("s3")
    def test_to_a_bucket_that_is_not_there_say_so(self) -> None:
        with pytest.raises(StoreError, match="s3://nowhere/x/name: cannot write it"):
            ObjectStore("s3://nowhere/x").write_if_absent("name", b"mine")


class TestErrors:
    @pytest.mark.usefixtures("s3")
    def test_a_bucket_that_is_not_there_is_for_good(self) -> None:
        with pytest.raises(StoreError, match=r"s3://nowhere/x/.*: cannot write it:") as error:
            ObjectStore("s3://nowhere/x").check_writable()
        assert not error.value.may_pass
        assert "Request ID" not in str(error.value)
        assert failure_of(error.value)[0] == STORE_AWAY

    def test_a_disk_that_is_full_here_is_none_of_the_store(
        self, store: ObjectStore, tmp_path: Path
    ) -> None:
        store.write("small", b"small")
        (tmp_path / "file").write_bytes(b"")
        with pytest.raises(NotADirectoryError):
            store.download("small", tmp_path / "file" / "small")
