"""An Optuna trial with some of its parameters fixed by the user."""

from collections.abc import Mapping
from typing import Any

import optuna


class PinnedTrial:
    """An Optuna trial that returns a fixed value for each pinned parameter.

    The sampler does not see a pinned parameter, so its value may be outside the searched range.
    `asked` records every parameter that the search space suggested, with its value.
    """

    def __init__(self, trial: optuna.Trial, pinned: Mapping[str, Any]) -> None:
        self._trial = trial
        self._pinned = pinned
        self.asked: dict[str, Any] = {}

    def __getattr__(self, name: str) -> Any:
        if name.startswith("suggest_"):
            raise AttributeError(f"{name}: use suggest_float, suggest_int or suggest_categorical")
        return getattr(self._trial, name)

    def suggest_float(self, name: str, *args: Any, **kwargs: Any) -> Any:
        """The pinned value, or else Optuna's suggestion."""
        return self._suggest(self._trial.suggest_float, name, *args, **kwargs)

    def suggest_int(self, name: str, *args: Any, **kwargs: Any) -> Any:
        """The pinned value, or else Optuna's suggestion."""
        return self._suggest(self._trial.suggest_int, name, *args, **kwargs)

    def suggest_categorical(self, name: str, *args: Any, **kwargs: Any) -> Any:
        """The pinned value, or else Optuna's suggestion."""
        return self._suggest(self._trial.suggest_categorical, name, *args, **kwargs)

    def _suggest(self, suggest: Any, name: str, *args: Any, **kwargs: Any) -> Any:
        pinned = name in self._pinned
        self.asked[name] = self._pinned[name] if pinned else suggest(name, *args, **kwargs)
        return self.asked[name]
