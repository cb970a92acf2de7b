"""Prepares each trial's data once, and pins the digest of their content in the trial's config."""

from rich.console import Console

from toprung.console import show_line
from toprung.errors import ToprungError
from toprung.trainables.config import TrialConfig
from toprung.trainables.data import DataSettings, PreparedData, prepare


class DataPins:
    """Prepares the data of every config it is called with; each data setting once.

    A sweep usually has one data setting; a space that searches the image size, for example, has
    several, all with the same images in the same splits.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._prepared: dict[DataSettings, PreparedData] = {}

    @property
    def first(self) -> PreparedData:
        """The data of the first config."""
        return next(iter(self._prepared.values()))

    @property
    def kinds(self) -> list[DataSettings]:
        """Each data setting so far, with its digest pinned."""
        return [prepared.settings for prepared in self._prepared.values()]

    def __call__(self, config: TrialConfig) -> TrialConfig:
        """Return the config with the digest of its data pinned.

        Raises:
            DataError: for data that cannot be used.
            ToprungError: if the config's splits differ from those of the trials before.
        """
        if config.data not in self._prepared:
            prepared = prepare(config.data, show_progress=True)
            if self._prepared and prepared.settings.digest != self.first.settings.digest:
                raise ToprungError(
                    f"data/source = {config.data.source}: the trials of one sweep must have the "
                    "same images in the same splits, but the space changes them"
                )
            self._prepared[config.data] = prepared
            self._show(prepared)
        return config.model_copy(update={"data": self._prepared[config.data].settings})

    def _show(self, prepared: PreparedData) -> None:
        counts = f"{prepared.num_train} train, {prepared.num_validation} validation, "
        counts += f"{prepared.num_test} test" if prepared.num_test else "no test set"
        text = f"data {prepared.settings.source}: {len(prepared.class_names)} classes, {counts}"
        if prepared.bad_images:
            text += f"; {len(prepared.bad_images)} bad images left out"
        show_line(self._console, text)
        if warning := prepared.duplicates.counts().warning:
            show_line(self._console, f"warning: identical images: {warning} (see duplicates.csv)")
