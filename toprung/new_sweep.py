"""What is written of a new sweep before its first trial."""

import os
import shutil
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

import optuna
import yaml

from analysis import attributes
from analysis.folder import STUDY_NAME
from analysis.versions import software_versions
from toprung.errors import ToprungError
from toprung.plan import SweepPlan
from trainables.config import METRICS


@contextmanager
def created(plan: SweepPlan, sampler: optuna.samplers.BaseSampler) -> Iterator[optuna.Study]:
    """Make the sweep's folder and its study; take both away again if no trial gets to start.

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
        study = optuna.create_study(
            study_name=STUDY_NAME,
            storage=folder.study_url,
            sampler=sampler,
            direction="maximize" if METRICS[plan.settings.metric] == "max" else "minimize",
        )
        study.set_user_attr(attributes.OWNER, {"host": socket.gethostname(), "pid": os.getpid()})
        for parameters in plan.grid:
            study.enqueue_trial(parameters)
        yield study
    except BaseException:
        if not folder.any_trial_reported:
            shutil.rmtree(folder.path, ignore_errors=True)
        raise


def _write_files(plan: SweepPlan) -> None:
    try:
        plan.folder.settings.write_text(_description(plan), "utf-8")
        if plan.space.source_code:
            plan.folder.search_space.write_text(plan.space.source_code, "utf-8")
        plan.data.first.write_splits(plan.folder.splits)
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
        },
        "versions": software_versions(),
    }
    return yaml.safe_dump(values, sort_keys=False, allow_unicode=True)
