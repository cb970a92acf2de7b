"""Which of the user's files are sent to a cluster with a sweep: code and settings, never data.

Not sent are hidden files and folders (`.git`, `.env`, `.ssh`, `.venv` …), caches, virtual
environments, other sweeps, whatever `.gitignore` and `.rayignore` exclude, any file that is neither
code nor settings nor a small table, and any whose name or content looks like a secret.
"""

import logging
import os
import re
import zipfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from toprung.cluster import ray_internals
from toprung.errors import ToprungError
from toprung.secrecy.detector import ALLOWED, Finding, find_secret

FOLDER = "packaged"
"""The package's folder for the files; the package itself comes before Python's own packages."""
_TRAVEL = {".py", ".yaml", ".yml", ".csv", ".json", ".toml", ".txt"}
_MAX_FILE_BYTES = 10 * 2**20
_FOLDERS_LEFT_OUT = {"__pycache__", "node_modules", "site-packages"}
_MARKS_LEFT_OUT = ("pyvenv.cfg", "conda-meta", "CACHEDIR.TAG", "sweep.yaml")
"""Files that mark a virtual environment, a cache, or a sweep's folder."""
_SECRET_NAME = re.compile(
    r"id_(rsa|dsa|ecdsa|ed25519)|credential|passw(or)?d|secret|auth_token|api_?key"
    r"|kube_?config|service[-_]account|pgpass|netrc|(^|[/_.-])(tokens?([/_.-]|$)|keys?\.)",
    re.IGNORECASE,
)
_NUM_NAMED, _NUM_SECRETS_NAMED = 5, 20

_HIDDEN = "hidden"
_FOLDERS = "of caches, environments or sweeps"
_IGNORED = "ignored by .gitignore or .rayignore"
_NO_CODE = "neither code nor settings"
_LARGE = f"over {_MAX_FILE_BYTES // 2**20} MiB"
_SECRET = "that may hold a secret"
_LEADS_OUT = "that link to somewhere else"
_NAMED = (_LARGE, _SECRET, _LEADS_OUT)
"""Reasons that may surprise the user: files left out for these are listed by name."""

_Ignores = list[Callable[[Path], bool]]


@dataclass
class Package:
    """The files that are sent, by their names in the package; those that are not, by reason.

    Attributes:
        root: the folder that contains them; a trial's config may come from elsewhere.
        secrets: the secrets found in files that were left out because of their content.
    """

    root: Path | None
    files: dict[str, Path] = field(default_factory=dict)
    left_out: dict[str, list[str]] = field(default_factory=dict)
    secrets: dict[Path, Finding] = field(default_factory=dict)

    def place(self, file: Path) -> str:
        """The path on the cluster of one of the user's files, which is added to the package.

        Raises:
            ToprungError: if the file does not exist, or contains a secret.
        """
        path = whole_path(file)
        if not path.is_file():
            raise ToprungError(f"{file}: there is no such file")
        if found := find_secret(path):
            raise ToprungError(_holds_secret(file, found))
        inside = self.root is not None and path.is_relative_to(self.root)
        name = path.relative_to(self.root or "").as_posix() if inside else f"given/{path.name}"
        self.files[name] = path
        return name

    def check_code(self, imported: Iterable[Path]) -> None:
        """Check that no module that a search space imports was left out because of a secret.

        Raises:
            ToprungError: if one was, because the sweep could not start without it.
        """
        for path in sorted(self.secrets.keys() & set(imported)):
            raise ToprungError(_holds_secret(path, self.secrets[path]))

    def write(self, archive: Path) -> None:
        """Write the package as a zip file; the same files result in the same bytes.

        Raises:
            ToprungError: if the file is larger than Ray accepts.
        """
        with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as written:
            written.mkdir(FOLDER)
            for name, path in sorted(self.files.items()):
                entry = zipfile.ZipInfo(f"{FOLDER}/{name}")
                entry.external_attr = 0o644 << 16
                entry.compress_type = zipfile.ZIP_DEFLATED
                written.writestr(entry, path.read_bytes())
        size, most = archive.stat().st_size, most_bytes()
        if size >= most:
            raise ToprungError(self._too_large(size, most))

    def told(self) -> str:
        """What is sent and what is not, in one line."""
        size = sum(path.stat().st_size for path in self.files.values())
        files = "1 file" if len(self.files) == 1 else f"{len(self.files)} files"
        where = f" of {self.root}" if self.root else ""
        line = f"sends {files}, {in_words(size)}{where}" if self.files else "sends no files"
        doubtful = [name for name in sorted(self.files) if _SECRET_NAME.search(name)]
        if doubtful:
            line += f" (check that there is no secret in {', '.join(doubtful)})"
        reasons = [self._left_out(reason, names) for reason, names in self.left_out.items()]
        return f"{line}; not sent: {', '.join(reasons)}" if reasons else line

    def _left_out(self, reason: str, names: list[str]) -> str:
        num_shown = _NUM_SECRETS_NAMED if reason == _SECRET else _NUM_NAMED
        shown = ", ".join(names[:num_shown]) + (" …" if len(names) > num_shown else "")
        return f"{len(names)} {reason}" + (f" ({shown})" if reason in _NAMED else "")

    def _too_large(self, size: int, most: int) -> str:
        by_size = sorted(self.files, key=lambda name: -self.files[name].stat().st_size)
        largest = [
            f"  {in_words(self.files[name].stat().st_size):>10}  {name}" for name in by_size[:10]
        ]
        return "\n".join(
            [
                f"{self.root}: its files are {in_words(size)} as a package, and Ray accepts at "
                f"most {in_words(most)}. List what need not be sent in {self.root}/.rayignore (as "
                "in a .gitignore). The largest:",
                *largest,
            ]
        )


def package(root: Path | None) -> Package:
    """Sort a folder's files into those that are sent and those that are not; none for None.

    Raises:
        ToprungError: if the folder is the home folder, or the root of the file system.
    """
    if root is None:
        return Package(None)
    root = whole_path(root)
    if root in (Path.home(), Path(root.anchor)):
        raise ToprungError(
            f"{root}: all code below it would be sent; put the search space in its own folder"
        )
    found = Package(root)
    for path in _walk(root, _ignores_above(root), found.left_out):
        name = path.relative_to(root).as_posix()
        if reason := _why_not(path, root):
            found.left_out.setdefault(reason, []).append(name)
        elif secret := find_secret(path):
            found.left_out.setdefault(_SECRET, []).append(f"{name} {secret}")
            found.secrets[path] = secret
        else:
            found.files[name] = path
    return found


def whole_path(path: str | Path) -> Path:
    """The absolute path, without `..`; links are not resolved."""
    return Path(os.path.normpath(Path(path).absolute()))


def most_bytes() -> int:
    """The largest package, in bytes, that both Ray's job server and Ray's store accept."""
    limits = (ray_internals.MOST_BYTES_KEPT, ray_internals.MOST_BYTES_OF_UPLOAD)
    return min(int(limit.needed()) for limit in limits)


def in_words(size: int) -> str:
    """A number of bytes for people to read."""
    if size < 2**20:
        return f"{size / 2**10:.0f} KiB" if size >= 2**10 else f"{size} bytes"
    return f"{size / 2**20:.1f} MiB"


def _walk(folder: Path, ignores: _Ignores, left_out: dict[str, list[str]]) -> Iterator[Path]:
    """The files below the folder that are not hidden, ignored, or in a cache or environment."""
    ignores = ignores + _ignores_in(folder)
    entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    for entry in entries:
        path = folder / entry.name
        if entry.name.startswith("."):
            left_out.setdefault(_HIDDEN, []).append(entry.name)
        elif entry.name in _FOLDERS_LEFT_OUT:
            left_out.setdefault(_FOLDERS, []).append(entry.name)
        elif any(ignored(path) for ignored in ignores):
            left_out.setdefault(_IGNORED, []).append(entry.name)
        elif entry.is_dir(follow_symlinks=False):
            if any((path / mark).exists() for mark in _MARKS_LEFT_OUT):
                left_out.setdefault(_FOLDERS, []).append(entry.name)
            else:
                yield from _walk(path, ignores, left_out)
        elif entry.is_file() or entry.is_symlink():
            yield path


def _why_not(path: Path, root: Path) -> str | None:
    """Why a file is not sent; None if it is."""
    if path.suffix.lower() not in _TRAVEL or not path.is_file():
        return _NO_CODE
    if path.is_symlink() and not path.resolve().is_relative_to(root.resolve()):
        return _LEADS_OUT
    if path.stat().st_size > _MAX_FILE_BYTES:
        return _LARGE
    is_code = path.suffix == ".py"
    names_secret = not is_code and _SECRET_NAME.search(str(path.relative_to(root)))
    return _SECRET if names_secret else None


def _holds_secret(file: Path, found: Finding) -> str:
    return (
        f"{file}: {found}: looks like a secret, and would be sent to the cluster; read it from an "
        f"environment variable of the cluster's nodes; if it is not a secret, append the comment "
        f"'{ALLOWED}' to the line"
    )


def _ignores_above(root: Path) -> _Ignores:
    """The rules of the .gitignore files above the folder, if it is in a git repository."""
    above = [*root.parents]
    is_top = [(folder / ".git").exists() for folder in above]
    if (root / ".git").exists() or not any(is_top):
        return []
    in_repository = above[: is_top.index(True) + 1]
    return [ignored for folder in in_repository for ignored in _ignores_in(folder)]


def _ignores_in(folder: Path) -> _Ignores:
    """The rules of the folder's .gitignore and .rayignore, as Ray reads them."""
    of_git = os.environ.get(ray_internals.IGNORE_GITIGNORE.needed(), "0") != "1"
    quiet = logging.getLogger("toprung.package")
    found: _Ignores = ray_internals.READ_IGNORE_FILES.needed()(folder, of_git, quiet)
    return found
