"""The network of a trial's settings.

Torchvision is imported for its own networks alone: it takes seconds, and brings torch's compiler.
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
    """The network for images of `image_shape` (C, H, W), with its freeze policy not applied.

    An SVM is still to be fitted, or loaded.

    Args:
        settings: of the network.
        image_shape: of the images; a single channel is given to torchvision's networks three times.
        num_classes: the number of logits.
        with_weights: load `weights`; False where others will be loaded, as of a checkpoint.

    Raises:
        ImpossibleNetworkError: as `NetworkSettings.check`.
        ConfigError: if the weights cannot be had, or are another network's.
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
    raise AssertionError(f"no network is known for {settings!r}")
