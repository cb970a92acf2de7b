"""What Ray Tune is given to run. The driver imports it too, so it knows nothing of torch."""

from typing import Any


def train_trial(trial: dict[str, Any]) -> None:
    """Train a trial, in its process; see `toprung.trainables.ray_trainable`."""
    from toprung.trainables.ray_trainable import train_trial

    train_trial(trial)
