"""The GPU memory that a trial needs: estimated, to rank trials, and measured by dry steps.

Shape letters: B batch, C channels, H height, W width.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from toprung.trainables.config import TrialConfig
from toprung.trainables.data import TrainingData
from toprung.trainables.inference.predict import EVALUATION_BATCH_SIZE, Normaliser, predict_logits
from toprung.trainables.networks import freezing
from toprung.trainables.networks.base import NO_WEIGHTS
from toprung.trainables.networks.build import build_network
from toprung.trainables.networks.svm import SvmNetwork
from toprung.trainables.results.failures import GPU_OUT_OF_MEMORY, failure_of
from toprung.trainables.system.device import give_back_memory
from toprung.trainables.training.image_inputs import RESIDENT_SHARE, ImageInputs
from toprung.trainables.training.state import TrainingState
from toprung.trainables.training.steps import batch_bounds, train

_FLOAT_BYTES = 4
_STATES = 4
"""With Adam a trainable weight takes four values: itself, its gradient and two moments."""


@dataclass(frozen=True)
class DataSize:
    """The numbers of training images, validation images and classes."""

    num_train: int
    num_validation: int
    num_classes: int


@dataclass(frozen=True)
class MemoryNeeded:
    """The GPU memory that a trial takes, in bytes.

    Attributes:
        trial: torch's peak allocation, including the images if they are kept on the GPU.
        cuda: all other memory in use: CUDA's context of the process, and other programs' memory.
        gpu: the whole memory of the GPU.
        fits: False if the trial ran out of memory although it was alone.
    """

    trial: int
    cuda: int
    gpu: int
    fits: bool = True


def estimated_bytes(config: TrialConfig, num_classes: int) -> int:
    """Estimate what torch allocates for a trial: weights, gradients, optimizer, activations.

    Nothing is computed: the network runs once on the meta device. Temporary allocations are left
    out, so the estimate serves to rank trials, not to place them.
    """
    with torch.device("meta"):
        classifier = build_network(
            config.model, config.image_shape, num_classes, with_weights=False
        )
        images_BCHW = torch.empty(config.training.batch_size, *config.image_shape)
    network = classifier.network
    kept: dict[int, Tensor] = {}  # by storage, because several tensors may be views of one

    def keep(tensor: Tensor) -> Tensor:
        kept[tensor.untyped_storage()._cdata] = tensor
        return tensor

    if not isinstance(network, SvmNetwork):
        freezing.apply(config.model.freeze_policy, classifier, epoch=config.training.epochs)
        freezing.train_mode(classifier)
        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            network(images_BCHW)
    activations = sum(tensor.untyped_storage().nbytes() for tensor in kept.values())
    if config.training.precision != "fp32":
        activations //= 2
    numbers = [p.numel() * (_STATES if p.requires_grad else 1) for p in network.parameters()]
    return activations + _FLOAT_BYTES * (sum(numbers) + images_BCHW.numel())


def measure(config: TrialConfig, size: DataSize) -> MemoryNeeded:
    """Train a few steps of a trial on this process's GPU, on random images, and measure its memory.

    CUDA's own memory is released only when the process ends, so call this in a process of its own.

    Raises:
        The errors of `fit`, for a trial that cannot be trained.
    """
    device = torch.device("cuda")
    # Before CUDA is initialised, there are no peaks to reset.
    torch.cuda.init()  # type: ignore[no-untyped-call]
    give_back_memory(of_cpu=False)
    torch.cuda.reset_peak_memory_stats(device)
    fits = _fits(config, size, device)
    free, whole = torch.cuda.mem_get_info(device)
    cuda = max(0, whole - free - torch.cuda.memory_reserved(device))
    peak = torch.cuda.max_memory_reserved(device)
    return MemoryNeeded(peak + _resident_bytes(config, size, whole), cuda, whole, fits)


def _fits(config: TrialConfig, size: DataSize, device: torch.device) -> bool:
    try:
        dry_steps(config, size, device)
        torch.cuda.synchronize(device)
    except Exception as error:
        if failure_of(error)[0] != GPU_OUT_OF_MEMORY:
            raise
        return False
    return True


def dry_steps(config: TrialConfig, size: DataSize, device: torch.device) -> None:
    """Run two steps of a trial's last epoch, in which most of its network trains, and a validation.

    The weights are random. The frozen part is computed, although a trial may find its outputs
    stored and then takes less memory.
    """
    random_weights = config.model.model_copy(update={"weights": NO_WEIGHTS})
    config = config.model_copy(update={"model": random_weights})
    data = _random_data(config, size)
    if config.model.architecture == "svm":
        _run_backbone(config, data, device)
        return
    num_steps = len(batch_bounds(len(data.train_indices), config.training.batch_size))
    state = TrainingState(config, data, num_steps, device)
    state.epoch = config.training.epochs - 1
    inputs = ImageInputs(state, data)
    train(state, data, inputs, num_steps)
    inputs.validation_logits()


def _run_backbone(config: TrialConfig, data: TrainingData, device: torch.device) -> None:
    """Compute an SVM's features; the SVM itself is fitted on the CPU."""
    network = build_network(config.model, data.image_shape, len(data.class_names)).network
    assert isinstance(network, SvmNetwork)
    normalise = Normaliser(data.mean, data.std, device)
    predict_logits(network.backbone.to(device), normalise, data.images_NHWC)


def _resident_bytes(config: TrialConfig, size: DataSize, gpu_bytes: int) -> int:
    """The memory that the images take if they are kept on the GPU; see `ImageInputs`."""
    num_bytes = (size.num_train + size.num_validation) * math.prod(config.image_shape)
    return num_bytes if num_bytes <= RESIDENT_SHARE * gpu_bytes else 0


def _random_data(config: TrialConfig, size: DataSize) -> TrainingData:
    """At most two batches of random training images, and at most one of validation images."""
    rng = np.random.default_rng(0)
    num_train = min(2 * config.training.batch_size, size.num_train)
    num_images = num_train + min(EVALUATION_BATCH_SIZE, size.num_validation)
    channels, height, width = config.image_shape
    return TrainingData(
        images_NHWC=rng.integers(0, 256, (num_images, height, width, channels), dtype=np.uint8),
        labels_N=np.arange(num_images) % size.num_classes,
        train_indices=np.arange(num_train),
        validation_indices=np.arange(num_train, num_images),
        class_names=tuple(map(str, range(size.num_classes))),
        mean=(0.5,) * channels,
        std=(0.25,) * channels,
        digest="random",
    )
