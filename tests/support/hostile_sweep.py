"""A small real sweep, made without Ray, in which everything a user names is meant to do harm."""

import csv
from pathlib import Path

import numpy as np
import optuna
import yaml
from optuna.distributions import CategoricalDistribution
from optuna.trial import TrialState
from PIL import Image

from tests.analysis.test_sweep import Made
from tests.support.helpers import tiny_config
from toprung.analysis.sweep import Sweep
from toprung.analysis.sweep_folder import attributes
from toprung.trainables.data import prepare

SCRIPT = "</script></svg></td><script>document.title='owned'</script>"
CLASSES = (
    SCRIPT,
    '"quoted" & \'so\' {{ 7 * 7 }} $x^$ #ffffff id="a"',
    "_שלום <img src=x onerror=alert(1)>",
    "long " * 60,
)
REASON = f"RuntimeError: {SCRIPT} and on\nand on {'x' * 300}"
_COUNTS = ("num_train", "num_validation", "num_test")
NAME = "<img src=x onerror=alert(2)> שלום"


def hostile_sweep(folder: Path, payload: str = "") -> Sweep:
    """Two trained trials, a failed one; tested and exported. Every name ends with the payload."""
    config = tiny_config(
        data={"source": str(_images(folder, payload)), "image_size": 8},
        model__batch_norm="before",
        training__epochs=2,
        optimizer={"name": "adam", "lr": 0.01},
    )
    prepared = prepare(config.data)
    made = Made(folder / f"{NAME}{payload}", config.model_copy(update={"data": prepared.settings}))
    for seed, ended in enumerate((attributes.FINISHED, attributes.STOPPED_EARLY)):
        made.trial(ended, seed=seed)
    _add_failed(made.study, payload)
    _describe(made, payload)
    sweep = Sweep(made.folder.path)
    sweep.test()
    sweep.export()
    return sweep


def _images(folder: Path, payload: str) -> Path:
    """A CSV file of images whose brightness tells their class."""
    rng = np.random.default_rng(0)
    (folder / "images").mkdir()
    rows = []
    for number in range(80):
        pixels_HWC = rng.integers(0, 90, (8, 8, 3)) + 40 * (number % 4)
        path = folder / "images" / f"<b>{number}{payload}.png"
        Image.fromarray(pixels_HWC.astype(np.uint8)).save(path)
        rows.append((path.relative_to(folder), CLASSES[number % 4].strip() + payload))
    with (folder / f"list{payload}.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("path", "label"), *rows])
    return Path(file.name)


def _add_failed(study: optuna.Study, payload: str) -> None:
    script, reason = f"{SCRIPT}{payload}", f"{payload}{REASON}"
    traceback = f'Traceback (most recent call last):\n  File "{script}", line 7, in f\n{reason}'
    name = f"labels/<b>{payload}"
    study.add_trial(
        optuna.trial.create_trial(
            state=TrialState.FAIL,
            params={name: script},
            distributions={name: CategoricalDistribution([script, None, True, 3])},
            user_attrs={
                attributes.ENDED: attributes.FAILED,
                attributes.REASON: reason,
                attributes.TRACEBACK: traceback,
            },
        )
    )


def _describe(made: Made, payload: str) -> None:
    script = f"{SCRIPT}{payload}"
    prepared = prepare(made.config.data)
    said = yaml.safe_load(made.folder.settings.read_text("utf-8"))
    said["settings"] |= {"cpus_per_trial": 1, "gpus_per_trial": 0.0}
    said["data"] |= {"source": script, "class_names": list(prepared.class_names)}
    said["data"] |= {name: getattr(prepared, name) for name in _COUNTS}
    said["data"] |= {"bad_images": [f"{script}.png: is no image"]}
    said |= {"space": script, "command": ["toprung", "run", script]}
    made.folder.settings.write_text(yaml.safe_dump(said), "utf-8")
    made.folder.search_space.write_text(f'"""{script}"""\n', "utf-8")
