"""A trial's process trains without torch's compiler, and to the same numbers."""

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import get_args

from tests.support.helpers import tiny_config, tiny_data
from toprung.trainables.recipe.optimizers import Optimizer
from toprung.trainables.training.fit import fit

NAMES = [settings.model_fields["name"].default for settings in get_args(get_args(Optimizer)[0])]

TRAIN_IN_A_NEW_PROCESS = """
import json, sys, torch
from toprung.trainables.system.without_compiler import leave_compiler_out
leave_compiler_out()
torch.set_num_threads(1)
from tests.trainables.system.test_without_compiler import NAMES, last_loss
print(json.dumps([{name: last_loss(name) for name in NAMES}, "torch._dynamo" in sys.modules]))
"""


def last_loss(name: str) -> float:
    """The loss of a trial that is broken off after an epoch, and resumed."""
    config = tiny_config(optimizer={"name": name, "lr": 0.01}, training__epochs=2)
    with tempfile.TemporaryDirectory() as folder:
        next(fit(config, tiny_data())).save_checkpoint(Path(folder))
        *_, last = fit(config, tiny_data(), resume_from=Path(folder))
    return last.record.train_loss


def test_every_optimizer_trains_the_same_without_the_compiler() -> None:
    command = [sys.executable, "-c", TRAIN_IN_A_NEW_PROCESS]
    root = Path(__file__).parents[3]
    said = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True)
    losses, compiler_imported = json.loads(said.stdout)
    assert not compiler_imported
    assert losses == {name: last_loss(name) for name in NAMES}
