"""Where in a network a parameter is: what freeze policies decide by. Does not need torch."""

from dataclasses import dataclass
from typing import Literal

HEAD = "head"
"""The stage of the new output layers."""

LayerKind = Literal["convolution", "linear", "batch_norm", "other"]


@dataclass(frozen=True)
class ParameterLocation:
    """The location of one parameter in a network.

    Attributes:
        name: the parameter's path in the network, such as `layer4.0.conv1.weight`.
        stage: the name of its stage, such as `layer4`; `HEAD` for the head.
        depth: the number of its stage, from 0 at the input; for the head, the number of stages.
        layer: the kind of layer that it belongs to.
        downsampling: whether that layer belongs to a downsampling shortcut or transition.
        num_values: how many values it holds.
    """

    name: str
    stage: str
    depth: int
    layer: LayerKind
    downsampling: bool
    num_values: int

    @property
    def in_head(self) -> bool:
        """Whether the parameter belongs to the head."""
        return self.stage == HEAD
