"""What a sweep's files name outside its folder is used only if the user agreed to it.

The rule: what a file in a sweep's folder, an export or a data set says never decides where the
network is spoken to, which credentials are used, what code runs, or what outside the folder is read
or written. Only the user decides: by a command's arguments, or by their own record of the sweep
(`toprung.analysis.sweep_folder.known_sweeps`), which must have both the sweep's id and the very
place.

Every use of such a place asks `Outside.confirm` first. Where a new kind of place comes to be named
in a file, it gets a function here that makes a `Place` of it, and a line in `places_of`.
"""

import hashlib
import shlex
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from toprung.analysis.sweep_folder.folder import SweepFolder, SweepFolderError
from toprung.analysis.sweep_folder.known_sweeps import Place, known_places
from toprung.analysis.sweep_folder.stored_files import visible_files
from toprung.analysis.sweep_folder.study_place import StudyPlace
from toprung.analysis.sweep_folder.user_state import state_dir
from toprung.trainables.config import TrialConfig
from toprung.trainables.data import DataSettings, TrainingData, open_training_data
from toprung.trainables.networks.base import NO_WEIGHTS, NetworkSettings
from toprung.trainables.networks.svm_settings import SvmSettings

_STUDY, _IMAGES, _WEIGHTS, _CODE = "study", "images", "weights", "code"
_DECIDES_CODE = ("space", "space_origin", "directory", "overrides", "config")
"""Keys of `sweep.yaml` that say which code a resumed sweep runs, where, and on what."""
_MOST_TOLD = 4


class NotConfirmedError(SweepFolderError):
    """A place outside a sweep's folder that its files name, and the user has not agreed to."""


class Outside:
    """What one sweep may use outside its folder.

    Args:
        address: of the sweep, as the user knows it.
        sweep_id: from its `sweep.yaml`; None for one of an older version.
        trust: whether the user has said in this command, or by making the sweep in this process,
            that all its files name is to be used.
    """

    def __init__(self, address: str, sweep_id: str | None, *, trust: bool) -> None:
        self._address = address
        self._id = sweep_id
        self._trust = trust

    def confirm(self, *places: Place) -> None:
        """See that these may be used, before they are.

        Raises:
            NotConfirmedError: if not; names them, what would be done with them, and the way on.
        """
        if self._trust or not places:
            return
        known = known_places(self._id)
        unknown = [place for place in places if place not in (known or ())]
        if unknown:
            raise NotConfirmedError(self._refusal(unknown, is_known=known is not None))

    def _refusal(self, unknown: list[Place], *, is_known: bool) -> str:
        told = list(dict.fromkeys(place.told for place in unknown))
        more = [f"{len(told) - _MOST_TOLD} more"] if len(told) > _MOST_TOLD else []
        why = (
            "your record of this sweep does not have it"
            if is_known
            else "this sweep is not in your records of sweeps"
        )
        return (
            f"{self._address}: its files name {'; '.join([*told[:_MOST_TOLD], *more])}; {why} "
            f"({state_dir() / 'sweeps'}), so it was left alone. If you trust this folder, say so "
            f"once: toprung status {shlex.quote(self._address)} --trust"
        )


def images_to_look_at(outside: Outside, data: DataSettings) -> TrainingData:
    """The images that trials saw, if they are on this machine.

    Raises:
        NotConfirmedError: if the user has not agreed to where they are.
        DataError: if they are not there.
    """
    outside.confirm(images_of(data))
    return open_training_data(data.model_copy(update={"download": False}))


def fixed_places(
    folder: SweepFolder, study_place: StudyPlace, description: Mapping[str, Any]
) -> Iterator[Place]:
    """What a sweep's own files name, besides its trials' configs.

    Args:
        folder: of the sweep, with its search space.
        study_place: where its study is.
        description: what its `sweep.yaml` says, as it is read from there.
    """
    if study_place.file is None:
        yield study_at(study_place)
    yield code_of(folder, description)


def places_of_config(config: TrialConfig) -> Iterator[Place]:
    """The images and the pretrained weights that a trial's config names."""
    yield images_of(config.data)
    yield from weights_of(config.model)


def study_at(place: StudyPlace) -> Place:
    """A study in a database."""
    from sqlalchemy import make_url

    from toprung.analysis.sweep_folder.study_database import who_is_told_what

    url = make_url(place.url)
    told = f"a study in {url.render_as_string(hide_password=True)} ({who_is_told_what(url)})"
    return Place(_STUDY, repr([place.url, place.name]), told)


def images_of(data: DataSettings) -> Place:
    """The images of a trial."""
    told = f"the images {data.source!r}"
    told += f" in {data.root!r}" if data.root else ""
    told += ", downloaded if they are not there" if data.download else ""
    return Place(_IMAGES, repr([data.source, data.root, data.download]), told)


def weights_of(model: NetworkSettings) -> Iterator[Place]:
    """The pretrained weights that a network starts from, if it does."""
    if model.weights == NO_WEIGHTS:
        return
    if model.weights_file is not None:
        yield Place(_WEIGHTS, repr([model.weights]), f"the weights {model.weights!r}")
        return
    name = model.backbone if isinstance(model, SvmSettings) else getattr(model, "architecture", "")
    told = f"torchvision's weights {model.weights} of {name}, downloaded if they are not there"
    yield Place(_WEIGHTS, repr([name, model.weights]), told)


def code_of(folder: SweepFolder, description: Mapping[str, Any]) -> Place:
    """The code that resuming a sweep runs, by its content, with what decides on what it works."""
    decides = {key: description.get(key) for key in _DECIDES_CODE}
    digest = hashlib.sha256(repr(decides).encode(errors="backslashreplace"))
    for path in _code_files(folder):
        found = repr((path.relative_to(folder.path).as_posix(), _content(path)))
        digest.update(found.encode(errors="backslashreplace"))
    origin = description.get("space_origin")
    shown = folder.shown(folder.search_space)
    told = f"code that would run (search space {origin!r}, whose copy is {shown}"
    told += f", with {folder.shown(folder.code)}" if folder.code.is_dir() else ""
    told += f"; in the folder {description.get('directory')!r})"
    return Place(_CODE, digest.hexdigest(), told)


def _code_files(folder: SweepFolder) -> Iterable[Path]:
    copy = folder.search_space
    return [*([copy] if copy.is_file() else []), *sorted(visible_files(folder.code))]


def _content(path: Path) -> str:
    """A digest of a file's content; of a link, which may lead out of the folder, its target."""
    if path.is_symlink():
        return f"-> {path.readlink()}"
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
