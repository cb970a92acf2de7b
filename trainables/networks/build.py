"""Building the network that a trial's settings describe.

Torchvision is imported only for its own networks: that takes seconds, and imports torch's compiler.
"""

from toprung.trainables.networks import cnn
from toprung.trainables.networks.base import NetworkSettings
from toprung.trainables.networks.classifier import Classifier
from toprung.trainables.networks.cnn_settings import CnnSettings
from toprung.trainables.networks.svm_settings import SvmSettings
from toprung.trainables.networks.torchvision_settings import TorchvisionSettings


def build_network(
    settings: NetworkSettings,
    image_shape: tuple[int, int, int],
    num_classes: int,
    *,
    with_weights: bool = True,
) -> Classifier:
    """Build the network; its freeze policy is not applied yet, and an SVM is not fitted yet.

    Args:
        settings: the network's settings.
        image_shape: (C, H, W) of the images; torchvision's networks get a single channel repeated
            three times.
        num_classes: the number of logits.
        with_weights: load `weights`; False if other weights will be loaded, as from a checkpoint.

    Raises:
        ImpossibleNetworkError: if the network cannot be built for images of this shape.
        ConfigError: if the weights are not available, or belong to another network.
    """
    match settings:
        case CnnSettings():
            return cnn.build(settings, image_shape, num_classes, with_weights=with_weights)
        case TorchvisionSettings():
            from toprung.trainables.networks import torchvision

            return torchvision.build(settings, image_shape, num_classes, with_weights=with_weights)
        case SvmSettings():
            from toprung.trainables.networks import svm

            return svm.build(settings, image_shape, num_classes, with_weights=with_weights)
    raise AssertionError(f"unknown network settings: {settings!r}")
