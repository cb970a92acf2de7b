"""The settings of a sweep: its budget, its resources, its sampler and its trial scheduler."""

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import (
    BeforeValidator,
    Field,
    NonNegativeFloat,
    PositiveFloat,
    PositiveInt,
    field_validator,
    model_validator,
)

from toprung.trainables.config import Metric
from toprung.trainables.system.typed_settings import (
    MAX_TRIALS,
    ConfigError,
    Epochs,
    Settings,
    parse,
)

_UNITS = {"d": 86400, "h": 3600, "m": 60, "s": 1}

GPU_RESOLUTION = 10_000
"""Ray counts fractions of a GPU in ten-thousandths."""
MAX_RUNS = 1000
"""The most trials that can be confirmed, and the most seeds for each."""
Count = Annotated[PositiveInt, Field(le=MAX_TRIALS)]
DEFAULT_CONFIRM = 3
"""How many trials are confirmed where that is cheap."""


def seconds(duration: str | float) -> float:
    """Read a duration such as `90s`, `15m`, `2h` or `1h30m`; a bare number is seconds.

    Raises:
        ValueError: if it is not a duration, or not above zero.
    """
    text = str(duration).strip().lower()
    if re.fullmatch(r"(?:\d+(?:\.\d+)?[dhms])+", text):
        parts = re.findall(r"(\d+(?:\.\d+)?)([dhms])", text)
        total = sum(float(number) * _UNITS[unit] for number, unit in parts)
    else:
        try:
            total = float(text)
        except ValueError:
            raise ValueError("must be a duration such as 90s, 15m, 2h or 1h30m") from None
    if not 0 < total < float("inf"):
        raise ValueError("must be a duration above zero")
    return total


class Stage(Settings):
    """One stage of a staged search.

    `searches` has the names of the parameters that the stage searches, or patterns such as
    `optimizer/*`; `share` is its share of the sweep's trials, relative to the other stages' shares.
    """

    name: str
    searches: tuple[str, ...]
    share: PositiveFloat = 1.0


class SweepSettings(Settings):
    """One sweep: how much to try, on which resources, how to sample, when to stop a trial early.

    `max_epochs`, `grace_epochs` and `reduction_factor` are the settings of ASHA (Li et al., 2020):
    a trial is compared at rungs of `grace_epochs * reduction_factor**k` epochs, and continues if it
    is among the best 1/`reduction_factor` of the trials that have reached the rung so far. With
    `concurrency` None, as many trials run at a time as the CPUs and GPUs have room for. With
    `gpus_per_trial` None, a trial has one GPU if the machine has any; with "auto", as many trials
    share a GPU as its memory holds. With `cpus_per_trial` None, a trial has one CPU; with GPUs
    "auto", its share of the machine's CPUs. `stages`, and the values that the parameters of later
    stages `start` from, can be set by a search space only.

    After the search, the best `confirm` trials are trained again in full, with `seeds` fresh seeds
    each. `confirm` None means 3, if that costs less than a quarter of the search and there is time
    for it; 0 means none. If `confirm` is given, the time budget applies to the search alone.

    A trial that has reported nothing for `trial_timeout` seconds is ended; with None it never is.
    Of the trials that have ended, the best `keep_checkpoints` keep their checkpoints, as do those
    that are confirmed.
    """

    trials: Count = 20
    max_epochs: Epochs = 10
    grace_epochs: Epochs = 1
    reduction_factor: Annotated[int, Field(ge=2, le=MAX_TRIALS)] = 3
    time_budget: Annotated[float, BeforeValidator(seconds)] | None = None
    concurrency: Count | None = None
    cpus_per_trial: Count | None = None
    gpus_per_trial: NonNegativeFloat | Literal["auto"] | None = None
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0
    sampler: Literal["tpe", "random", "grid", "gp"] = "tpe"
    trial_scheduler: Literal["asha", "none"] = "asha"
    metric: Metric = "val_accuracy"
    trial_timeout: Annotated[float, BeforeValidator(seconds)] | None = None
    keep_checkpoints: Count = 5
    confirm: Annotated[int, Field(ge=0, le=MAX_RUNS)] | None = None
    seeds: Annotated[int, Field(ge=2, le=MAX_RUNS)] = 3
    stages: tuple[Stage, ...] = ()
    start: dict[str, bool | int | float | str | None] = Field(default_factory=dict)

    @property
    def each_trial(self) -> dict[str, float]:
        """The resources of a trial by Ray's names, `CPU` and `GPU`; once "auto" is resolved."""
        assert self.gpus_per_trial != "auto"
        return {"CPU": float(self.cpus_per_trial or 1), "GPU": float(self.gpus_per_trial or 0)}

    @property
    def num_confirmed(self) -> int:
        """How many trials are confirmed, if any are."""
        return DEFAULT_CONFIRM if self.confirm is None else self.confirm

    @property
    def max_at_once(self) -> int:
        """The most trials, or confirmation runs, that could train at a time."""
        return max(self.trials, (self.confirm or 0) * self.seeds)

    @field_validator("gpus_per_trial")
    @classmethod
    def _whole_or_a_fraction(cls, gpus: float | str | None) -> float | str | None:
        if isinstance(gpus, float) and gpus > 1 and not gpus.is_integer():
            raise ValueError("must be a whole number, or a fraction below 1")
        if isinstance(gpus, float) and 0 < gpus < 1 / GPU_RESOLUTION:
            raise ValueError(f"a fraction must be at least {1 / GPU_RESOLUTION:g}")
        return gpus

    @model_validator(mode="after")
    def _stages_make_up_the_sweep(self) -> "SweepSettings":
        names = [stage.name for stage in self.stages]
        if len(set(names)) < len(names):
            raise ValueError(f"two stages have the same name: {', '.join(names)}")
        if self.stages and self.sampler == "grid":
            raise ValueError("sampler = 'grid' tries everything at once; it has no stages")
        if self.start and not self.stages:
            raise ValueError("start has no effect without stages")
        if self.trials < len(self.stages):
            raise ValueError(
                f"trials = {self.trials}: must be at least one for each of the "
                f"{len(self.stages)} stages"
            )
        return self

    @model_validator(mode="after")
    def _grace_within_max(self) -> "SweepSettings":
        if self.trial_scheduler == "asha" and self.grace_epochs > self.max_epochs:
            raise ValueError(
                f"grace_epochs = {self.grace_epochs} must be at most max_epochs = {self.max_epochs}"
            )
        return self


def resolve(defaults: Mapping[str, Any], given: Mapping[str, Any]) -> SweepSettings:
    """Return the space's defaults, overridden by the settings that the user gave.

    Raises:
        ConfigError: listing every setting that is unknown, out of range or without effect.
    """
    given = {key: value for key, value in given.items() if value is not None}
    values = {key: value for key, value in defaults.items() if key != "data"} | given
    grace, limit = defaults.get("grace_epochs"), given.get("max_epochs")
    if "grace_epochs" not in given and isinstance(grace, int) and isinstance(limit, int):
        values["grace_epochs"] = min(grace, limit)
    settings = parse(SweepSettings, values, "the sweep")
    if settings.confirm == 0 and "seeds" in given:
        raise ConfigError("seeds: has no effect with confirm = 0")
    unused = [name for name in ("grace_epochs", "reduction_factor") if name in given]
    if settings.trial_scheduler == "none" and unused:
        raise ConfigError(f"{', '.join(unused)}: has no effect with trial_scheduler = 'none'")
    return settings
