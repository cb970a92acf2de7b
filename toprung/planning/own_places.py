"""Recording what the user's own sweep uses outside its folder, so that it is trusted later."""

from collections.abc import Iterable, Mapping
from typing import Any

from toprung.analysis.sweep_folder.known_sweeps import Place, remember
from toprung.analysis.sweep_folder.outside import (
    fixed_places,
    images_of,
    places_of_config,
    weights_of,
)
from toprung.analysis.sweep_folder.user_state import STATE_VARIABLE
from toprung.console import show_line
from toprung.planning.plan import SweepPlan
from toprung.trainables.config import TrialConfig


class OwnPlaces:
    """Adds what a sweep uses outside its folder to the user's record, then what each config uses.

    Args:
        plan: the plan of the sweep, whose search space is in its folder.
        description: the content of its `sweep.yaml`, as it is or will be read from the file.
    """

    def __init__(self, plan: SweepPlan, description: Mapping[str, Any]) -> None:
        self._console = plan.console
        self._id = plan.id
        self._recorded: set[Place] = set()
        self._can_write = True
        drawn = plan.proposals.rehearsal.configs
        self._record(
            [
                *fixed_places(plan.folder, plan.study_place, description),
                *(images_of(data) for data in plan.data.kinds),
                *(place for config in drawn for place in weights_of(config.model)),
            ]
        )

    def __call__(self, config: TrialConfig) -> TrialConfig:
        """Return the config, after recording what it uses."""
        self._record(places_of_config(config))
        return config

    def _record(self, places: Iterable[Place]) -> None:
        new = [place for place in places if place not in self._recorded]
        if not new or not self._can_write:
            return
        try:
            remember(self._id, new)
        except OSError as error:
            self._can_write = False
            show_line(
                self._console,
                f"warning: your record of sweeps cannot be written ({error}), so later commands "
                f"will ask whether you trust this one; {STATE_VARIABLE} moves the record",
            )
        self._recorded.update(new)
