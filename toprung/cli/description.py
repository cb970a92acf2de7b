"""What `toprung describe` shows of a search space, a trial's config, or an exported model."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from toprung.analysis.models.model import load_model
from toprung.analysis.study.sweep_record import SweepRecord
from toprung.analysis.sweep_folder.folder import SweepFolder, SweepFolderError
from toprung.analysis.sweep_folder.outside import images_of
from toprung.errors import ToprungError
from toprung.search.distributions import in_words
from toprung.search.proposals import NUM_REHEARSALS, Proposals, Rehearsal
from toprung.search_spaces import SearchSpace, load
from toprung.settings import resolve
from toprung.trainables.config import TrialConfig, load_config
from toprung.trainables.data import DataError, prepare
from toprung.trainables.inference.summary import Summary, summarise
from toprung.trainables.networks import freezing
from toprung.trainables.networks.build import build_network
from toprung.trainables.networks.freezing import Assignment

ASSUMED_CLASSES = 10
_NO_DATA = "none given"


@dataclass(frozen=True)
class Description:
    """A text about the subject, the summary of its network, and which parts of that train."""

    text: list[str]
    input_shape: tuple[int, int, int]
    num_classes: int
    summary: Summary
    freeze_policy: str
    frozen: Assignment


def describe(
    what: str, *, data: str | None, overrides: Mapping[str, Any], trust: bool = False
) -> Description:
    """Describe a search space (its parameters and an example network), or one model.

    Args:
        what: a search space as in `run`, a trial's YAML file, or an export's folder.
        data: the data that decide the number of classes; by default those of the config.
        overrides: settings to fix, by path; for a search space only.
        trust: read the images that a YAML file names, to count their classes, even if the file is
            not part of a sweep in the user's record.

    Raises:
        ToprungError: for overrides of a config or a model, or a network that cannot be built.
        ValueError: whatever loading the space, config or model raises.
    """
    if data is not None:
        overrides = {**overrides, "data/source": data}
    is_model, is_config = Path(what).is_dir(), what.endswith((".yaml", ".yml"))
    if (is_model or is_config) and overrides:
        raise ToprungError(f"{what}: --set and --data go with a search space only")
    if is_model:
        model = load_model(Path(what))
        return _describe(model.config, [f"exported model {what}"], len(model.class_names))
    if is_config:
        config, text = load_config(Path(what)), [f"config {what}"]
        if trust or _is_of_own_sweep(Path(what), config):
            return _describe(config, text, None)
        text.append(_assumed(f"--trust reads the config's images, {config.data.source!r}"))
        return _describe(config, text, ASSUMED_CLASSES)
    return _describe_space(load(what), overrides)


def _is_of_own_sweep(file: Path, config: TrialConfig) -> bool:
    """Whether the file is in the export of a sweep that the user's record has, with its images."""
    sweep = SweepFolder(file.absolute().parent.parent)
    if not sweep.settings.is_file():
        return False
    try:
        SweepRecord(sweep.path).outside.confirm(images_of(config.data))
    except SweepFolderError:
        return False
    return True


def _assumed(why: str) -> str:
    return f"({ASSUMED_CLASSES} classes assumed: {why})"


def _describe_space(space: SearchSpace, overrides: Mapping[str, Any]) -> Description:
    overrides = {"data/source": space.defaults.get("data", _NO_DATA), **overrides}
    rehearsal = Proposals(space, resolve(space.defaults, {}), overrides).rehearsal
    text = [
        space.description.rstrip(),
        "",
        *_parameter_lines(rehearsal),
        "",
        "an example network of this space:",
    ]
    return _describe(rehearsal.configs[0], text, None)


def _describe(config: TrialConfig, text: list[str], num_classes: int | None) -> Description:
    if num_classes is None:
        try:
            num_classes = len(prepare(config.data).class_names)
        except DataError as error:
            if config.data.source != _NO_DATA:
                text = [*text, f"({error})"]
            text = [*text, _assumed("there are no data to count them")]
            num_classes = ASSUMED_CLASSES
    policy = config.model.freeze_policy
    try:
        with torch.device("meta"):
            classifier = build_network(
                config.model, config.image_shape, num_classes, with_weights=False
            )
    except (OverflowError, RuntimeError, TypeError) as error:  # torch's, of sizes beyond 64 bits
        reason = str(error).partition("\n")[0]
        raise ToprungError(f"torch cannot build this network: {reason}") from error
    freezing.apply(policy, classifier, epoch=config.training.epochs)
    return Description(
        text=text,
        input_shape=config.image_shape,
        num_classes=num_classes,
        summary=summarise(classifier.network, config.image_shape),
        freeze_policy=policy,
        frozen=freezing.resolve(policy, classifier.parameter_locations()),
    )


def _parameter_lines(rehearsal: Rehearsal) -> list[str]:
    parameters = rehearsal.parameters
    width = max((len(name) for name in parameters), default=0)
    lines = [f"searches {len(parameters)} parameters:"]
    lines += [f"  {name:<{width}}  {in_words(d)}" for name, d in sorted(parameters.items())]
    if rehearsal.num_impossible:
        lines.append(
            f"{rehearsal.num_impossible} of {NUM_REHEARSALS} random networks cannot exist; "
            "the sampler will learn to avoid them"
        )
    return lines
