"""Checks that need a network that is built: whether its freeze policy and its loss fit it."""

from collections.abc import Callable, Iterable

from toprung.trainables.config import TrialConfig
from toprung.trainables.networks.base import NO_WEIGHTS
from toprung.trainables.networks.build import build_network
from toprung.trainables.networks.freeze_policies import ALL_TRAINS
from toprung.trainables.networks.freezing import FreezeError
from toprung.trainables.training.compatibility import check_network


class NetworkChecks:
    """Checks each kind of network once, on the meta device, and reports which parts train.

    Args:
        num_classes: the number of classes in the data.
        show: shows the user a line.
    """

    def __init__(self, num_classes: int, show: Callable[[str], None]) -> None:
        self._num_classes = num_classes
        self._show = show
        self._fitting: set[object] = set()
        self._shown: set[tuple[str, str]] = set()

    def __call__(self, config: TrialConfig) -> TrialConfig:
        """Return the same config, if its parts fit its network.

        Raises:
            FreezeError: if its freeze policy does not fit its network.
            ConfigError: if its loss or optimizer does not fit.
        """
        if _fits_anyhow(config):
            return config
        loss = config.loss.name, getattr(config.loss, "class_weights", None)
        kind = (config.model, config.image_shape, loss, config.optimizer.stage_lr_decay)
        if kind not in self._fitting:
            assignment = check_network(config, self._num_classes)
            self._fitting.add(kind)
            freezes = config.model.freeze_policy, config.model.architecture
            if freezes[0] not in ALL_TRAINS and freezes not in self._shown:
                self._shown.add(freezes)
                self._show(f"{freezes[1]}, freeze policy {freezes[0]}:")
                for line in assignment.lines():
                    self._show(f"  {line}")
                if config.model.weights == NO_WEIGHTS:
                    self._show("  the frozen parts have random weights (model/weights = none)")
        return config

    def rehearse(self, configs: Iterable[TrialConfig]) -> None:
        """Check example configs of a space; if none of them fits, there is nothing to search.

        Raises:
            FreezeError: if no config's freeze policy fits its network.
            ConfigError: if a config's loss, optimizer or weights file does not fit its network.
        """
        misfit, fitting = None, []
        for config in configs:
            try:
                fitting.append(self(config))
            except FreezeError as error:
                misfit = error
        if misfit is not None and not fitting:
            raise misfit
        of_file = {str(c.model.weights_file): c for c in fitting if c.model.weights_file}
        for config in of_file.values():
            build_network(config.model, config.image_shape, self._num_classes)


def _fits_anyhow(config: TrialConfig) -> bool:
    """Whether there is nothing to check, so that no network has to be built."""
    unweighted = getattr(config.loss, "class_weights", "none") == "none"
    one_lr = config.optimizer.stage_lr_decay == 1
    return config.model.freeze_policy in ALL_TRAINS and unweighted and one_lr
