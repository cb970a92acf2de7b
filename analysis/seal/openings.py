"""The record of the openings of the sealed test set, read without torch."""

import json
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated

from pydantic import Field

from toprung.analysis.seal.ledger import Earlier
from toprung.analysis.study.trials import TrialResult
from toprung.analysis.sweep_folder.folder import SweepFolderError
from toprung.analysis.sweep_folder.typed import typed


@dataclass(frozen=True)
class TestResult:
    """One opening of the test set.

    `weights_sha256` is the digest of the model's weights (`TrainedModel.digest`); `forced` marks an
    opening that was not the first, not for the winner, or before the sweep had ended. The last four
    are None in the record of an earlier version: the id of the opening's intent, the digest of the
    file of its predictions, the `ImageSet.id` of the test images, and earlier openings of these
    images.
    """

    __test__ = False  # not a test case, whatever pytest thinks of the name

    trial: Annotated[int, Field(ge=0)]
    weights_sha256: str
    accuracy: Annotated[float, Field(ge=0, le=1)]
    loss: float
    num_images: Annotated[int, Field(ge=1)]
    test_data_sha256: str
    opened_at: str
    forced: bool
    opening: str | None = None
    predictions_sha256: str | None = None
    images: str | None = None
    earlier: Earlier | None = None

    def precedes_end_of(self, trial: TrialResult) -> bool:
        """Whether the trial was trained further after this opening; its best may differ now."""
        try:
            opened = datetime.fromisoformat(self.opened_at).astimezone()
        except ValueError:  # edited by hand
            return False
        after = opened + timedelta(seconds=1)  # it is recorded in whole seconds
        return trial.completed is not None and after <= trial.completed.astimezone()

    @property
    def num_models(self) -> int:
        """How many models, including this one, were known to have been tested on these images."""
        return 1 + (self.earlier.models if self.earlier else 0)


def read_openings(path: Path) -> list[TestResult]:
    """All recorded openings, in order.

    Raises:
        SweepFolderError: if the record cannot be read.
    """
    if not path.exists():
        return []
    try:
        return typed(list[TestResult], json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, RecursionError) as error:
        raise SweepFolderError(f"{path}: is not a record of test openings: {error}") from None
