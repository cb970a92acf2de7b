"""What of the user's files travels to a cluster, and what does not."""

import zipfile
from pathlib import Path

import pytest
from ray._private import ray_constants

from toprung.errors import ToprungError
from toprung.planning.code_package import FOLDER, package

STAYS = {
    ".git/config": "",
    ".env": "KEY=1",
    ".venv/lib/mine.py": "",
    ".ssh/config.txt": "",
    "env/pyvenv.cfg": "",
    "env/lib/thing.py": "",
    "__pycache__/space.cpython-311.py": "",
    "node_modules/x/package.json": "{}",
    "sweeps/first/sweep.yaml": "",
    "sweeps/first/search_space.py": "",
    "images/cat/1.png": "",
    "features.npz": "",
    "model.safetensors": "",
    "id_rsa": "",
    "gcp-credentials.json": "{}",
    "secrets/prod.yaml": "",
    "service-account.json": "{}",
    "notes.txt": "-----BEGIN RSA PRIVATE KEY-----\nx",
    "cloud.py": "KEY = 'AKIAABCDEFGHIJKLMNOP'",
    "config.yaml": f"aws_secret_access_key: {'wJalrXUtnF' * 4}",
    "settings/hub.toml": f"hub = 'hf_{'aB3dE5gH7j' * 4}'",
    "sub/urls.csv": "url\npostgresql://me:hush1234@host/db\n",
    "helpers/login.py": "password = 'hunter2!'",
    "hf_token.txt": "",
    "token.json": "{}",
    "tokens/all.yaml": "",
    "pgpass.txt": "",
    "sub/keys.json": "{}",
    "scratch.py": "",
    "sub/local.py": "",
    "sub/large.csv": "",
}
TRAVELS = {
    "space.py": "",
    "helpers/layers.py": "",
    "helpers/password_strength.py": "",
    "helpers/tokenizer.py": "",
    "keyboards.yaml": "",
    "settings/trial.yaml": "",
    "sub/labels.csv": "path,label\n",
    "classes.json": "[]",
}


@pytest.fixture
def project(tmp_path: Path) -> Path:
    ignores = {".gitignore": "scratch.py\n", "sub/.rayignore": "large.csv\n"}
    for name, content in {**STAYS, **TRAVELS, **ignores, "sub/.gitignore": "local.py\n"}.items():
        path = tmp_path / "project" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return tmp_path / "project"


def test_code_and_settings_travel_and_nothing_else(project: Path) -> None:
    assert set(package(project).files) == set(TRAVELS)


def test_the_repository_above_says_what_is_ignored_too(project: Path) -> None:
    (project / ".gitignore").write_text("sub/labels.csv\n/settings\n")
    assert package(project / "sub").files == {}
    assert package(project / "settings").files == {}


def test_a_link_that_leads_out_stays(project: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere.yaml").write_text("")
    (project / "link.yaml").symlink_to(tmp_path / "elsewhere.yaml")
    (project / "inside.py").symlink_to(project / "space.py")
    (project / "round").symlink_to(project)
    found = package(project)
    assert set(found.files) == {*TRAVELS, "inside.py"}
    assert "link.yaml" in found.told()


def test_it_says_what_travels_and_what_may_surprise(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("toprung.planning.code_package._MAX_FILE_BYTES", 100)
    (project / "big.csv").write_text("x" * 101)
    told = package(project).told()
    assert told.startswith(f"sends {len(TRAVELS)} files, ")
    assert "(big.csv)" in told
    assert "gcp-credentials.json" in told
    assert "1.png" not in told  # data are only counted
    assert "(check that there is no secret in helpers/password_strength.py)" in told
    assert "not sent: 7 hidden, 4 of caches, environments or sweeps, " in told


def test_what_holds_a_secret_by_its_content_is_named_with_its_line(project: Path) -> None:
    told = package(project).told()
    assert "config.yaml line 1: named secret" in told
    assert "sub/urls.csv line 2: Basic Auth Credentials" in told
    assert "hush" not in told
    assert "hunter2" not in told


def test_what_was_imported_and_holds_a_secret_is_refused_with_the_way_on(project: Path) -> None:
    found = package(project)
    found.check_code([project / "space.py", project / "helpers" / "layers.py"])
    with pytest.raises(ToprungError, match=r"login\.py: line 1: named secret: .*allowlist"):
        found.check_code([project / "space.py", project / "helpers" / "login.py"])
    allowed = "password = 'hunter2!'  # pragma: allowlist secret"
    (project / "helpers" / "login.py").write_text(allowed)
    again = package(project)
    again.check_code([project / "helpers" / "login.py"])
    assert "helpers/login.py" in again.files


def test_a_file_that_was_asked_for_and_holds_a_secret_is_refused(
    project: Path, tmp_path: Path
) -> None:
    config = tmp_path / "best.yaml"
    config.write_text("password: hunter2")
    with pytest.raises(ToprungError, match=r"best\.yaml: line 1: named secret") as refused:
        package(project).place(config)
    assert "hunter2" not in str(refused.value)


def test_the_same_files_make_the_same_package(project: Path, tmp_path: Path) -> None:
    found = package(project)
    found.write(tmp_path / "a.zip")
    (project / "space.py").touch()
    found.write(tmp_path / "b.zip")
    assert (tmp_path / "a.zip").read_bytes() == (tmp_path / "b.zip").read_bytes()
    with zipfile.ZipFile(tmp_path / "a.zip") as archive:
        assert set(archive.namelist()) == {f"{FOLDER}/", *(f"{FOLDER}/{name}" for name in TRAVELS)}
        assert archive.read(f"{FOLDER}/classes.json") == b"[]"


def test_a_file_that_was_asked_for_travels_from_anywhere(project: Path, tmp_path: Path) -> None:
    config = tmp_path / "best.yaml"
    config.write_text("x: 1")
    found = package(project)
    assert found.place(config) == "given/best.yaml"
    assert found.place(project / "scratch.py") == "scratch.py"  # though it is ignored
    assert found.files["scratch.py"] == project / "scratch.py"
    assert package(None).place(config) == "given/best.yaml"
    with pytest.raises(ToprungError, match="no such file"):
        found.place(tmp_path / "none.yaml")


def test_a_package_that_ray_does_not_take_is_refused_with_its_largest_files(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (project / "table.csv").write_text("".join(f"{i * i}\n" for i in range(2000)))
    monkeypatch.setattr(ray_constants, "DASHBOARD_CLIENT_MAX_SIZE", 3000)
    with pytest.raises(ToprungError) as refused:
        package(project).write(tmp_path / "a.zip")
    first, *rest = str(refused.value).splitlines()
    assert "Ray accepts at most 3 KiB" in first
    assert ".rayignore" in first
    assert rest[0].split()[1:] == ["KiB", "table.csv"]


@pytest.mark.parametrize("root", [Path("/"), Path.home()])
def test_the_whole_home_does_not_travel(root: Path) -> None:
    with pytest.raises(ToprungError, match="in its own folder"):
        package(root)
