"""A trial some of whose parameters are fixed by hand."""

from collections.abc import Mapping
from typing import Any

import optuna


class PinnedTrial:
    """An Optuna trial that answers with a fixed value where a parameter was pinned.

    The sampler never hears of a pinned parameter, so its value may lie outside the range that is
    searched. `asked` keeps every parameter that the space asked for, with the answer.
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
        """As Optuna's, or the pinned value."""
        return self._suggest(self._trial.suggest_float, name, *args, **kwargs)

    def suggest_int(self, name: str, *args: Any, **kwargs: Any) -> Any:
        """As Optuna's, or the pinned value."""
        return self._suggest(self._trial.suggest_int, name, *args, **kwargs)

    def suggest_categorical(self, name: str, *args: Any, **kwargs: Any) -> Any:
        """As Optuna's, or the pinned value."""
        return self._suggest(self._trial.suggest_categorical, name, *args, **kwargs)

    def _suggest(self, suggest: Any, name: str, *args: Any, **kwargs: Any) -> Any:
        pinned = name in self._pinned
        self.asked[name] = self._pinned[name] if pinned else suggest(name, *args, **kwargs)
        return self.asked[name]
