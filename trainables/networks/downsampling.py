"""The parts of torchvision's networks whose purpose is to downsample a feature map.

Networks that downsample within their blocks, or by pooling, have no such parts: AlexNet, VGG,
SqueezeNet, GoogLeNet, MNASNet, MobileNet, EfficientNet and ViT.
"""

from torch import nn

_TRANSITIONS = {
    "InceptionB",  # Inception's grid reductions
    "InceptionD",
    "PatchMerging",  # Swin
    "PatchMergingV2",
    "_Transition",  # DenseNet
}
"""torchvision's classes of transitions between two stages."""
_SHORTCUTS = {
    "BasicBlock": "downsample",  # ResNet
    "Bottleneck": "downsample",  # ResNet, ResNeXt, Wide ResNet
    "InvertedResidual": "branch1",  # ShuffleNet; MobileNet's class of this name has no such child
    "MBConv": "proj",  # MaxViT; EfficientNet's class of this name has no such child
    "ResBottleneckBlock": "proj",  # RegNet
}
"""torchvision's classes of blocks, and the child that is the downsampling shortcut."""


def downsampling_parts(network: nn.Module) -> list[str]:
    """The paths of the modules that are downsampling shortcuts or transitions."""
    paths = []
    for path, module in network.named_modules():
        kind = type(module).__name__
        if kind in _TRANSITIONS or _is_norm_and_strided_convolution(module):
            paths.append(path)
        elif shortcut := _SHORTCUTS.get(kind):
            paths.append(f"{path}.{shortcut}")
    return paths


def _is_norm_and_strided_convolution(module: nn.Module) -> bool:
    """Whether the module is one of ConvNeXt's transitions, which have no class of their own."""
    if not isinstance(module, nn.Sequential) or len(module) != 2:
        return False
    norm, convolution = module
    return (
        isinstance(norm, nn.LayerNorm)
        and isinstance(convolution, nn.Conv2d)
        and convolution.stride != (1, 1)
    )
