"""The space of pretended trials, searched in two stages."""

from benchmarks.kills.spaces import small
from benchmarks.kills.spaces.small import search_space

__all__ = ["SWEEP", "search_space"]

SWEEP = small.SWEEP | {
    "stages": [
        {"name": "optimizer", "searches": ["optimizer/*"]},
        {"name": "network", "searches": ["model/*"]},
    ],
    "start": {"model/num_blocks": 1, "model/filters": 8},
}
