"""What every part that we hand to Ray Tune has in common."""

from typing import Any


class NotPickled:
    """Pickles as an empty object.

    Tune pickles its searcher, stopper and callback for `Tuner.restore`. Toprung does not restore
    that way: the Optuna study is the sweep's record, and these parts hold live connections.
    """

    def __getstate__(self) -> dict[str, Any]:
        """Nothing."""
        return {}
