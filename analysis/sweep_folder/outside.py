"""What a sweep's files name outside its folder is used only if the user has agreed to it.

The rule: the content of a file in a sweep's folder, an export or a data set never decides which
machines are contacted, which credentials are used, what code runs, or what outside the folder is
read or written. Only the user decides: by the arguments of a command, or by their own record of the
sweep (`toprung.analysis.sweep_folder.known_sweeps`), which must contain both the sweep's id and the
exact place.

Every use of such a place calls `Outside.confirm` first. A new kind of place in a file gets a
function here that returns its `Place`, and a line in `places_of`.
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
"""Keys of `sweep.yaml` that determine which code a resumed sweep runs, where, and on what."""
_MOST_NAMED = 4


class NotConfirmedError(SweepFolderError):
    """A sweep's files name a place outside its folder that the user has not agreed to."""


class Outside:
    """What one sweep may use outside its folder.

    Args:
        address: the address of the sweep, as the user knows it.
        sweep_id: the id in its `sweep.yaml`; None for a sweep of an older version.
        trust: whether everything that its files name may be used, because the user said so in this
            command or created the sweep in this process.
    """

    def __init__(self, address: str, sweep_id: str | None, *, trust: bool) -> None:
        self._address = address
        self._id = sweep_id
        self._trust = trust

    def confirm(self, *places: Place) -> None:
        """Check that these places may be used, before their use.

        Raises:
            NotConfirmedError: if not; the message names the places, what would be done with them,
                and how to agree.
        """
        if self._trust or not places:
            return
        known = known_places(self._id)
        unknown = [place for place in places if place not in (known or ())]
        if unknown:
            raise NotConfirmedError(self._refusal(unknown, is_known=known is not None))

    def _refusal(self, unknown: list[Place], *, is_known: bool) -> str:
        uses = list(dict.fromkeys(place.use for place in unknown))
        more = [f"{len(uses) - _MOST_NAMED} more"] if len(uses) > _MOST_NAMED else []
        why = (
            "your record of this sweep does not have it"
            if is_known
            else "this sweep is not in your records of sweeps"
        )
        return (
            f"{self._address}: its files name {'; '.join([*uses[:_MOST_NAMED], *more])}; {why} "
            f"({state_dir() / 'sweeps'}), so it was not used. If you trust this folder, confirm it "
            f"once: toprung status {shlex.quote(self._address)} --trust"
        )


def images_to_look_at(outside: Outside, data: DataSettings) -> TrainingData:
    """The images that trials saw, if they are on this machine.

    Raises:
        NotConfirmedError: if the user has not agreed to their location.
        DataError: if they do not exist.
    """
    outside.confirm(images_of(data))
    return open_training_data(data.model_copy(update={"download": False}))


def fixed_places(
    folder: SweepFolder, study_place: StudyPlace, description: Mapping[str, Any]
) -> Iterator[Place]:
    """The places that a sweep's own files name, apart from those in its trials' configs.

    Args:
        folder: the folder of the sweep, with its search space.
        study_place: the location of its study.
        description: the content of its `sweep.yaml`.
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

    from toprung.analysis.sweep_folder.study_database import credentials_in_words

    url = make_url(place.url)
    use = f"a study in {url.render_as_string(hide_password=True)} ({credentials_in_words(url)})"
    return Place(_STUDY, repr([place.url, place.name]), use)


def images_of(data: DataSettings) -> Place:
    """The images of a trial."""
    use = f"the images {data.source!r}"
    use += f" in {data.root!r}" if data.root else ""
    use += ", downloaded if they are not there" if data.download else ""
    return Place(_IMAGES, repr([data.source, data.root, data.download]), use)


def weights_of(model: NetworkSettings) -> Iterator[Place]:
    """The pretrained weights that a network starts from, if any."""
    if model.weights == NO_WEIGHTS:
        return
    if model.weights_file is not None:
        yield Place(_WEIGHTS, repr([model.weights]), f"the weights {model.weights!r}")
        return
    name = model.backbone if isinstance(model, SvmSettings) else getattr(model, "architecture", "")
    use = f"torchvision's weights {model.weights} of {name}, downloaded if they are not there"
    yield Place(_WEIGHTS, repr([name, model.weights]), use)


def code_of(folder: SweepFolder, description: Mapping[str, Any]) -> Place:
    """The code that runs when a sweep is resumed, identified by its content and its inputs."""
    decides = {key: description.get(key) for key in _DECIDES_CODE}
    digest = hashlib.sha256(repr(decides).encode(errors="backslashreplace"))
    for path in _code_files(folder):
        found = repr((path.relative_to(folder.path).as_posix(), _content(path)))
        digest.update(found.encode(errors="backslashreplace"))
    origin = description.get("space_origin")
    shown = folder.shown(folder.search_space)
    use = f"code that would run (search space {origin!r}, whose copy is {shown}"
    use += f", with {folder.shown(folder.code)}" if folder.code.is_dir() else ""
    use += f"; in the folder {description.get('directory')!r})"
    return Place(_CODE, digest.hexdigest(), use)


def _code_files(folder: SweepFolder) -> Iterable[Path]:
    copy = folder.search_space
    return [*([copy] if copy.is_file() else []), *sorted(visible_files(folder.code))]


def _content(path: Path) -> str:
    """A digest of a file's content; for a link, which may lead out of the folder, its target."""
    if path.is_symlink():
        return f"-> {path.readlink()}"
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
