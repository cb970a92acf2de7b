"""A network with named stages and heads: what every architecture builds.

Shape letters: B batch, C channels, H height, W width, F features, K classes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor, nn

from toprung.trainables.networks.downsampling import downsampling_parts
from toprung.trainables.networks.parameter_locations import HEAD, LayerKind, ParameterLocation

_KINDS: dict[type[nn.Module], LayerKind] = {
    nn.modules.conv._ConvNd: "convolution",
    nn.Linear: "linear",
    nn.MultiheadAttention: "linear",  # its own parameters: the input projection
    nn.modules.batchnorm._BatchNorm: "batch_norm",
}


@dataclass(frozen=True)
class Outputs:
    """The outputs of a classifier for a batch.

    Attributes:
        logits_BK: the head's logits.
        head_input: the head's input: features_BF, or a feature map BFHW.
        auxiliary_logits: the logits of the auxiliary heads (GoogLeNet, Inception), each BK; empty
            in evaluation mode.
    """

    logits_BK: Tensor
    head_input: Tensor
    auxiliary_logits: tuple[Tensor, ...] = ()

    @property
    def features_BF(self) -> Tensor:
        """The head's input in float32; a feature map is averaged over its pixels."""
        features = self.head_input
        return (features.mean((2, 3)) if features.dim() == 4 else features).float()


class Classifier:
    """A network, its stages from input to output, and its head.

    Args:
        network: images_BCHW → logits_BK; in training mode, networks with auxiliary heads return a
            tuple that starts with the logits.
        heads: the paths of the new output layers, the main one first, then the auxiliary ones.
        stages: the name of each stage, and the paths of the modules or parameters in it. Every
            parameter is in exactly one stage or head.
    """

    def __init__(
        self, network: nn.Module, heads: Sequence[str], stages: Mapping[str, Sequence[str]]
    ) -> None:
        self.network = network
        self.heads = tuple(heads)
        self.stages = {name: tuple(paths) for name, paths in stages.items()}
        self._head_input: Tensor | None = None
        network.get_submodule(self.heads[0]).register_forward_pre_hook(self._keep_head_input)

    def __call__(self, images_BCHW: Tensor) -> Outputs:
        """Run the network on a batch of normalised images."""
        return self.outputs(self.network(images_BCHW))

    def outputs(self, out: Tensor | Sequence[Tensor | None]) -> Outputs:
        """The outputs of a forward pass that has just run.

        Args:
            out: the result of the network, or of the part of it that contains the head.
        """
        logits = (out,) if isinstance(out, Tensor) else tuple(out)
        assert isinstance(logits[0], Tensor)
        assert self._head_input is not None
        head_input, self._head_input = self._head_input, None
        given = logits[1:] if self.network.training else ()
        auxiliary = tuple(tensor for tensor in given if tensor is not None)
        return Outputs(logits[0], head_input, auxiliary)

    @property
    def num_features(self) -> int:
        """The number of features that the head takes."""
        for layer in self.network.get_submodule(self.heads[0]).modules():
            if isinstance(layer, nn.Linear):
                return layer.in_features
            if isinstance(layer, nn.Conv2d):
                return layer.in_channels
        raise AssertionError("the head has neither a linear layer nor a convolution")

    def parameter_locations(self) -> list[ParameterLocation]:
        """The location of every parameter, from input to output."""
        holders = [
            (path, name, depth)
            for depth, (name, paths) in enumerate([*self.stages.items(), (HEAD, self.heads)])
            for path in paths
        ]
        shrinking = tuple(f"{path}." for path in downsampling_parts(self.network))
        locations = []
        for name, parameter in self.network.named_parameters():
            owners = [h for h in holders if name == h[0] or name.startswith(f"{h[0]}.")]
            assert len(owners) == 1, f"{name} belongs to {owners}"
            _, stage, depth = owners[0]
            layer = self.network.get_submodule(name.rpartition(".")[0])
            downsampling = name.startswith(shrinking)
            locations.append(
                ParameterLocation(name, stage, depth, _kind(layer), downsampling, parameter.numel())
            )
        return sorted(locations, key=lambda location: location.depth)

    def _keep_head_input(self, _: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        self._head_input = inputs[0]


def _kind(layer: nn.Module) -> LayerKind:
    return next((kind for of, kind in _KINDS.items() if isinstance(layer, of)), "other")
