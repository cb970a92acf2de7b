"""What is written of a new sweep before its first trial."""

import os
import shutil
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime

import optuna
import yaml
from optuna.study import StudyDirection

from analysis import attributes
from analysis.versions import software_versions
from toprung.errors import ToprungError
from toprung.plan import SweepPlan
from toprung.study_file import StudyFile
from trainables.config import METRICS


@contextmanager
def created(
    plan: SweepPlan, sampler: optuna.samplers.BaseSampler
) -> Iterator[tuple[optuna.Study, StudyFile]]:
    """Make the sweep's folder, its study in memory and the study's file.

    The folder is taken away again if no trial gets to start.

    Raises:
        ToprungError: if the folder cannot be written, or has been made by another in the meantime.
    """
    folder = plan.folder
    try:
        folder.path.mkdir(parents=True)
    except OSError as error:
        raise ToprungError(f"{folder.path}: cannot be made: {error.strerror}") from None
    try:
        _write_files(plan)
        larger_is_better = METRICS[plan.settings.metric] == "max"
        direction = StudyDirection.MAXIMIZE if larger_is_better else StudyDirection.MINIMIZE
        study = optuna.create_study(sampler=sampler, direction=direction)
        for parameters in plan.grid:
            study.enqueue_trial(parameters)
        file = StudyFile(folder.study_url, direction)
        try:
            owner = {"host": socket.gethostname(), "pid": os.getpid()}
            file.set_user_attr(attributes.OWNER, owner)
            yield study, file
        finally:
            file.close()
    except BaseException:
        if not folder.any_trial_reported:
            shutil.rmtree(folder.path, ignore_errors=True)
        raise


def _write_files(plan: SweepPlan) -> None:
    try:
        plan.folder.settings.write_text(_description(plan), "utf-8")
        if plan.space.source_code:
            plan.folder.search_space.write_text(plan.space.source_code, "utf-8")
        data = plan.data.first
        data.write_splits(plan.folder.splits)
        if data.duplicates.groups:
            data.duplicates.write(plan.folder.duplicates)
    except OSError as error:
        raise ToprungError(f"{plan.folder.path}: cannot be written: {error.strerror}") from None


def _description(plan: SweepPlan) -> str:
    data = plan.data.first
    values = {
        "space": plan.space.name,
        "started_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": sys.argv,
        "settings": plan.settings.model_dump(mode="json"),
        "overrides": dict(plan.overrides),
        "data": {
            "source": data.settings.source,
            "class_names": list(data.class_names),
            "num_train": data.num_train,
            "num_validation": data.num_validation,
            "num_test": data.num_test,
            "sha256": data.settings.digest,
            "test_sha256": data.test_digest,
            "bad_images": [f"{bad.name}: {bad.reason}" for bad in data.bad_images],
            "duplicates": asdict(data.duplicates.counts()),
        },
        "versions": software_versions(),
    }
    return yaml.safe_dump(values, sort_keys=False, allow_unicode=True)
