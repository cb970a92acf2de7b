"""The folder of a new sweep: where it goes, and what is written before the first trial."""

import os
import shutil
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import optuna
import yaml
from rich.console import Console

from analysis import SweepFolder
from analysis.export import software_versions
from search_spaces import SearchSpace
from toprung.errors import ToprungError
from toprung.settings import SweepSettings
from trainables.config import METRICS, TrialConfig
from trainables.data import DataSettings, PreparedData, prepare


class DataPreparer:
    """Prepares the data of every config that comes by, each kind of data once.

    A sweep usually has one kind; a space that searches, say, the image size has several, all of
    the same images in the same splits.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._prepared: dict[DataSettings, PreparedData] = {}

    @property
    def first(self) -> PreparedData:
        """The data of the first config."""
        return next(iter(self._prepared.values()))

    def __call__(self, config: TrialConfig) -> TrialConfig:
        """The config with its data's content pinned.

        Raises:
            DataError: for data that cannot be used.
            ToprungError: if it would not have the same splits as the trials before.
        """
        if config.data not in self._prepared:
            prepared = prepare(config.data, show_progress=True)
            self._prepared[config.data] = prepared
            if prepared.settings.digest != self.first.settings.digest:
                raise ToprungError(
                    f"data/source = {config.data.source}: the trials of one sweep must have the "
                    "same images in the same splits, but the space changes them"
                )
            self._tell(prepared)
        return config.model_copy(update={"data": self._prepared[config.data].settings})

    def _tell(self, prepared: PreparedData) -> None:
        counts = f"{prepared.num_train} train, {prepared.num_validation} validation, "
        counts += f"{prepared.num_test} test" if prepared.num_test else "no test set"
        text = f"data {prepared.settings.source}: {len(prepared.class_names)} classes, {counts}"
        if prepared.bad_images:
            text += f"; {len(prepared.bad_images)} bad images left out"
        self._console.print(text, highlight=False, soft_wrap=True)


def new_folder(out: Path, name: str) -> SweepFolder:
    """Where the sweep will go; nothing is made yet.

    Raises:
        ToprungError: if there is something already, or the place cannot be written.
    """
    if not name or "/" in name or name in (".", ".."):
        raise ToprungError(f"name = {name!r}: must be the name of a folder")
    path = out.absolute() / name
    if path.exists():
        what = "another sweep" if (path / "sweep.yaml").exists() else "something else"
        raise ToprungError(f"{path}: holds {what} already; choose another --name or --out")
    parent = next(parent for parent in path.parents if parent.exists())
    if not parent.is_dir() or not os.access(parent, os.W_OK | os.X_OK):
        raise ToprungError(f"{path}: cannot be made, because {parent} cannot be written")
    return SweepFolder(path)


@contextmanager
def created(
    folder: SweepFolder,
    space: SearchSpace,
    settings: SweepSettings,
    overrides: Mapping[str, Any],
    data: PreparedData,
    sampler: optuna.samplers.BaseSampler,
) -> Iterator[optuna.Study]:
    """Make the sweep's folder and its study; take it away again if no trial gets to start.

    Raises:
        ToprungError: if it cannot be written.
    """
    try:
        folder.path.mkdir(parents=True)
        folder.settings.write_text(_description(space, settings, overrides, data), "utf-8")
        if space.source_code:
            folder.search_space.write_text(space.source_code, "utf-8")
        data.write_splits(folder.splits)
    except OSError as error:
        shutil.rmtree(folder.path, ignore_errors=True)
        raise ToprungError(f"{folder.path}: cannot be written: {error.strerror}") from None
    study = optuna.create_study(
        study_name=folder.path.name,
        storage=folder.study_url,
        sampler=sampler,
        direction="maximize" if METRICS[settings.metric] == "max" else "minimize",
    )
    try:
        yield study
    except BaseException:
        if not study.get_trials(deepcopy=False):
            shutil.rmtree(folder.path, ignore_errors=True)
        raise


def _description(
    space: SearchSpace,
    settings: SweepSettings,
    overrides: Mapping[str, Any],
    data: PreparedData,
) -> str:
    values = {
        "space": space.name,
        "started_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": sys.argv,
        "settings": settings.model_dump(mode="json"),
        "overrides": dict(overrides),
        "data": {
            "source": data.settings.source,
            "class_names": list(data.class_names),
            "num_train": data.num_train,
            "num_validation": data.num_validation,
            "num_test": data.num_test,
            "sha256": data.settings.digest,
            "test_sha256": data.test_digest,
            "bad_images": [f"{bad.name}: {bad.reason}" for bad in data.bad_images],
        },
        "versions": software_versions(),
    }
    return yaml.safe_dump(values, sort_keys=False, allow_unicode=True)
