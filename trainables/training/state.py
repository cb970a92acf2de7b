"""Everything that changes while a trial trains, and its checkpoint.

A checkpoint holds weights, optimizer, LR schedule, position, random state, config, all validations
so far, and the weights of the best validation together with class names and normalisation. So it is
enough to resume a trial exactly, to report all its validations, and to load its best model. A trial
has one checkpoint, which is replaced after each validation. It holds only a digest of pretrained
weights that never train; these are loaded from their source again.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.optim.lr_scheduler import ReduceLROnPlateau

from toprung.trainables.config import TrialConfig, as_plain
from toprung.trainables.data import TrainingData
from toprung.trainables.inference import precision
from toprung.trainables.networks import freezing
from toprung.trainables.networks.base import NO_WEIGHTS
from toprung.trainables.networks.build import build_network
from toprung.trainables.networks.dropout import use_fast_dropout
from toprung.trainables.pretrained.weights import weights_digest
from toprung.trainables.recipe.augmenter import Augmenter
from toprung.trainables.recipe.lr_schedules import set_to_position
from toprung.trainables.results.columns import CHECKPOINT_FILE
from toprung.trainables.results.records import (
    LoggedStep,
    Record,
    history_of,
    is_better,
    pack_history,
)
from toprung.trainables.system.typed_settings import ConfigError
from toprung.trainables.training.checkpoint import (
    check_same_trial,
    load_checkpoint,
    write_checkpoint,
)
from toprung.trainables.training.parameter_groups import parameter_groups


class TrainingState:
    """A model in training: its optimizer, LR schedule, position, random state and best so far."""

    def __init__(
        self,
        config: TrialConfig,
        data: TrainingData,
        steps_per_epoch: int,
        device: torch.device,
        *,
        resume_from: Path | None = None,
    ) -> None:
        self.config = config
        self._data = data
        self.device = device
        self.epoch = 0
        self.step_in_epoch = 0
        self.seconds = 0.0
        self.lr = 0.0
        self.improved_epoch = 0.0
        self.record: Record | None = None
        self.history: list[tuple[Record, tuple[LoggedStep, ...]]] = []
        self.best_record: Record | None = None
        self.best_weights: dict[str, Tensor] | None = None
        with self._forked_randomness():
            torch.manual_seed(config.seed)
            num_classes = len(data.class_names)
            self.classifier = build_network(
                config.model, data.image_shape, num_classes, with_weights=resume_from is None
            )
            use_fast_dropout(self.classifier.network)
            self.precision = precision.resolve(
                config.training.precision, device, self.classifier.network
            )
            self.precision.place(self.classifier.network)
            self.loss = config.loss.build(
                num_classes, self.classifier.num_features, _class_counts(data)
            ).to(device)
            self._random_state = self._draw_state()
        self._assignment = freezing.resolve(
            config.model.freeze_policy, self.classifier.parameter_locations()
        )
        self._training_now: set[str] | None = None
        self.augment = Augmenter(config.augmentation, data.image_shape, num_classes)
        self.optimizer = config.optimizer.build(
            parameter_groups(config, self.classifier, self.loss)
        )
        self.lr_schedule = config.lr_schedule.build(
            self.optimizer, steps_per_epoch, config.training.epochs
        )
        if resume_from is not None:
            self._load(resume_from)

    @contextmanager
    def own_randomness(self) -> Iterator[None]:
        """Let torch draw from this trial's random stream; restore the caller's afterwards."""
        with self._forked_randomness():
            torch.set_rng_state(self._random_state[0])
            if self.device.type == "cuda":
                torch.cuda.set_rng_state(self._random_state[1], self.device)
            yield
            self._random_state = self._draw_state()

    def _draw_state(self) -> list[Tensor]:
        """Torch's random state of the CPU and of this trial's GPU."""
        on_gpu = self.device.type == "cuda"
        gpu_state = [torch.cuda.get_rng_state(self.device)] if on_gpu else []
        return [torch.get_rng_state(), *gpu_state]

    def _forked_randomness(self) -> AbstractContextManager[None]:
        """A context after which torch's random state is the caller's again."""
        return torch.random.fork_rng([self.device] if self.device.type == "cuda" else [])

    def let_train(self) -> None:
        """Enable gradients and training mode for everything that trains at this epoch."""
        trains = self._assignment.trains_at(self.epoch)
        if trains != self._training_now:
            freezing.apply(self.config.model.freeze_policy, self.classifier, self.epoch)
            freezing.train_mode(self.classifier)
            self._training_now = trains

    @property
    def trains_ever(self) -> set[str]:
        """The names of the parameters that train at some epoch."""
        return self._assignment.trains_ever()

    def advance_lr_schedule(self, when: str, val_loss: float | None = None) -> None:
        """Advance the LR schedule, if it advances at this point (`step` or `epoch`)."""
        if self.config.lr_schedule.advances != when:
            return
        if isinstance(self.lr_schedule, ReduceLROnPlateau):
            assert val_loss is not None
            self.lr_schedule.step(val_loss)
        else:
            self.lr_schedule.step()

    def keep(self, record: Record, logged_steps: tuple[LoggedStep, ...] = ()) -> None:
        """Record a validation, and keep the weights if it is the best so far."""
        if is_better(record, self.best_record, self.config.training.metric, break_ties=False):
            self.improved_epoch = record.epoch
        self.record = record
        self.history.append((record, logged_steps))
        if is_better(record, self.best_record, self.config.training.metric):
            self.best_record = record
            self.best_weights = self._changing(self.classifier.network.state_dict())

    def _changing(self, weights: dict[str, Tensor]) -> dict[str, Tensor]:
        """Copy all weights to the CPU, except those of the body that never train."""
        return {
            name: tensor.detach().to("cpu", copy=True)
            for name, tensor in weights.items()
            if name not in self._frozen_body
        }

    @cached_property
    def _frozen_body(self) -> set[str]:
        """The names of the parameters that never train, without the head, which is always new."""
        return {
            parameter.location.name
            for parameter in self._assignment.assigned
            if parameter.trains_from is None and not parameter.location.in_head
        }

    @cached_property
    def _frozen_digest(self) -> str | None:
        """The digest of the pretrained weights that never train; None if there are none."""
        if self.config.model.weights == NO_WEIGHTS or not self._frozen_body:
            return None
        weights = self.classifier.network.state_dict()
        return weights_digest({name: weights[name] for name in self._frozen_body})

    @property
    def finished(self) -> bool:
        """Whether the trial has trained all its epochs, or has run out of patience."""
        if self.record is None:
            return False
        training = self.config.training
        waited = self.record.epoch - self.improved_epoch
        out_of_patience = (
            training.patience_epochs is not None and waited >= training.patience_epochs
        )
        return self.epoch >= training.epochs or out_of_patience

    def save(self, folder: Path) -> None:
        """Write the checkpoint into this folder; see `write_checkpoint`."""
        assert self.record is not None
        assert self.best_record is not None
        best_is_current = self.best_record == self.record
        weights = self.classifier.network.state_dict()
        write_checkpoint(
            folder / CHECKPOINT_FILE,
            {
                "config": as_plain(self.config),
                "class_names": list(self._data.class_names),
                "mean": list(self._data.mean),
                "std": list(self._data.std),
                "model": self._changing(weights) if self._frozen_digest else weights,
                "frozen_digest": self._frozen_digest,
                "loss": self.loss.state_dict(),
                "optimizer": self.optimizer.state_dict(),
                "lr_schedule": self.lr_schedule.state_dict(),
                "epoch": self.epoch,
                "step_in_epoch": self.step_in_epoch,
                "seconds": self.seconds,
                "improved_epoch": self.improved_epoch,
                "random_state": self._random_state,
                "record": asdict(self.record),
                "history": pack_history(self.history),
                "best_record": asdict(self.best_record),
                "best_weights": None if best_is_current else self.best_weights,
                "precision": self.precision.name,
            },
        )

    def _load(self, folder: Path) -> None:
        """Restore the state from the checkpoint in this folder, exactly.

        If the trial has more epochs now, the learning rate is the longer schedule's.
        """
        saved = read_checkpoint(folder)
        check_same_trial(saved, self.config)
        if saved["precision"] != self.precision.name:
            raise ConfigError(
                f"training/precision = {self.config.training.precision!r}: the trial was trained "
                f"in {saved['precision']}, but would resume in {self.precision.name} here"
            )
        self.classifier.network.load_state_dict(saved["model"])
        self.loss.load_state_dict(saved["loss"])
        self.optimizer.load_state_dict(saved["optimizer"])
        self.lr_schedule.load_state_dict(saved["lr_schedule"])
        set_to_position(self.lr_schedule)
        self.epoch, self.step_in_epoch = saved["epoch"], saved["step_in_epoch"]
        self.seconds, self.improved_epoch = saved["seconds"], saved["improved_epoch"]
        # A trial that began on the CPU and resumes on a GPU has no random state of the GPU yet.
        missing = self._random_state[len(saved["random_state"]) :]
        self._random_state = [*saved["random_state"], *missing]
        self.record = Record(**saved["record"])
        self.history = list(history_of(saved))
        self.best_record = Record(**saved["best_record"])
        self.best_weights = self._changing(saved["best_weights"] or saved["model"])


def _class_counts(data: TrainingData) -> NDArray[np.int64]:
    """The number of training images of each class."""
    return np.bincount(data.labels_N[data.train_indices], minlength=len(data.class_names))


def read_checkpoint(
    folder: Path, may_read_weights: Callable[[TrialConfig], object] | None = None
) -> dict[str, Any]:
    """Load a checkpoint's content onto the CPU, without running code from the file.

    Its `model` and `best_weights` are complete; `best_weights` is None if `model` is the best.

    Args:
        folder: the folder that contains the checkpoint.
        may_read_weights: called before pretrained weights that the checkpoint does not hold are
            read or downloaded; raises if that is not allowed.

    Raises:
        UnreadableCheckpointError: if the file is truncated, or not a checkpoint.
        OSError: if it does not exist, or the disk cannot be read.
        ConfigError: if the pretrained weights that it does not hold are no longer available, or
            have changed.
    """
    saved = load_checkpoint(folder / CHECKPOINT_FILE)
    if saved.get("frozen_digest") is not None:
        config = TrialConfig.model_validate(saved["config"])
        if may_read_weights is not None:
            may_read_weights(config)
        saved["model"] = _pretrained_and_frozen(saved, config) | saved["model"]
    if saved["best_weights"] is not None:
        saved["best_weights"] = saved["model"] | saved["best_weights"]
    return saved


def _pretrained_and_frozen(saved: dict[str, Any], config: TrialConfig) -> dict[str, Tensor]:
    """The weights that a checkpoint does not hold, from their original source."""
    with torch.random.fork_rng([]):
        network = build_network(config.model, config.image_shape, len(saved["class_names"])).network
    weights = {
        name: tensor for name, tensor in network.state_dict().items() if name not in saved["model"]
    }
    if weights_digest(weights) != saved["frozen_digest"]:
        raise ConfigError(
            f"model/weights = {config.model.weights}: these are no longer the weights that the "
            "trial started from"
        )
    return weights
