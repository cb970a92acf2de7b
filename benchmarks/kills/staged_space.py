"""The space of pretended trials, searched in two stages."""

from benchmarks.kills import space
from benchmarks.kills.space import search_space

__all__ = ["SWEEP", "search_space"]

SWEEP = space.SWEEP | {
    "stages": [
        {"name": "optimizer", "searches": ["optimizer/*"]},
        {"name": "network", "searches": ["model/*"]},
    ],
    "start": {"model/num_blocks": 1, "model/filters": 8},
}
