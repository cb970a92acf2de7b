"""The configurable CNN as a torch module.

Shape letters: B batch, C channels, H height, W width, K classes.
"""

from itertools import pairwise

import torch
from torch import Tensor, nn

from toprung.trainables.networks.classifier import Classifier
from toprung.trainables.networks.cnn_settings import CnnSettings
from toprung.trainables.networks.limits import check_size
from toprung.trainables.pretrained.weights import load_state, read_state

ACTIVATIONS: dict[str, type[nn.Module]] = {
    "relu": nn.ReLU,
    "leaky_relu": nn.LeakyReLU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "mish": nn.Mish,
    "elu": nn.ELU,
}


def build(
    settings: CnnSettings,
    image_shape: tuple[int, int, int],
    num_classes: int,
    *,
    with_weights: bool,
) -> Classifier:
    """Build a CNN (see `build_network`); its stages are its blocks and hidden dense layers."""
    check_size(settings.num_parameters(image_shape, num_classes))
    network = Cnn(settings, image_shape, num_classes)
    if with_weights and (file := settings.fetch_weights()):
        load_state(network, read_state(file), settings.weights)
    stages = [f"blocks.{n}" for n in range(len(network.blocks))]
    stages += [f"dense.{n}" for n in range(len(network.dense))]
    return Classifier(network, ["head"], {path: [path] for path in stages})


class Cnn(nn.Module):
    """images_BCHW → logits_BK: blocks, hidden dense layers, and the output layer as its head."""

    def __init__(
        self, settings: CnnSettings, input_shape: tuple[int, int, int], num_classes: int
    ) -> None:
        super().__init__()
        features = settings.feature_shape(input_shape)
        widths = [input_shape[0], *settings.block_filters]
        self.blocks = nn.Sequential(
            *(
                _block(settings, in_channels, filters, dropout)
                for (in_channels, filters), dropout in zip(
                    pairwise(widths), settings.block_dropouts, strict=True
                )
            )
        )
        hidden = (settings.dense,) if isinstance(settings.dense, int) else settings.dense
        sizes = [features[0] * features[1] * features[2], *hidden]
        self.flatten = nn.Flatten()
        self.dense = nn.Sequential(*(_dense(settings, m, n) for m, n in pairwise(sizes)))
        self.head = nn.Linear(sizes[-1], num_classes)
        _initialise(self, settings.initialisation)

    def forward(self, images_BCHW: Tensor) -> Tensor:
        """The logits_BK of a batch of normalised images."""
        logits_BK: Tensor = self.head(self.dense(self.flatten(self.blocks(images_BCHW))))
        return logits_BK


def _block(settings: CnnSettings, in_channels: int, filters: int, dropout: float) -> nn.Sequential:
    layers: list[nn.Module] = []
    for stride in settings.conv_strides():
        padding = settings.conv_padding(stride)
        if padding == "same":
            before = (settings.kernel_size - 1) // 2
            after = settings.kernel_size - 1 - before
            # Torch's own "same" copies the image, and warns, for even kernels.
            padding = before if before == after else 0
            if before != after:
                layers.append(nn.ZeroPad2d((before, after, before, after)))
        layers.append(nn.Conv2d(in_channels, filters, settings.kernel_size, stride, padding))
        activation = ACTIVATIONS[settings.activation]()
        match settings.batch_norm:
            case "before":
                layers += [nn.BatchNorm2d(filters), activation]
            case "after":
                layers += [activation, nn.BatchNorm2d(filters)]
            case "none":
                layers += [activation]
        in_channels = filters
    if settings.downsampling == "max_pool":
        layers.append(nn.MaxPool2d(settings.pool_size))
    if dropout:
        layers.append(nn.Dropout(dropout))
    return nn.Sequential(*layers)


def _dense(settings: CnnSettings, in_features: int, out_features: int) -> nn.Sequential:
    layers: list[nn.Module] = [nn.Linear(in_features, out_features)]
    if settings.dense_batch_norm:
        layers.append(nn.BatchNorm1d(out_features))
    layers.append(ACTIVATIONS[settings.activation]())
    if settings.dense_dropout:
        layers.append(nn.Dropout(settings.dense_dropout))
    return nn.Sequential(*layers)


@torch.no_grad()
def _initialise(model: nn.Module, initialisation: str) -> None:
    """Xavier (Glorot & Bengio, 2010) or Kaiming (He et al., 2015) normal, biases zero."""
    if initialisation == "default":
        return
    draw = nn.init.xavier_normal_ if initialisation == "xavier" else nn.init.kaiming_normal_
    for module in model.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            draw(module.weight)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
