"""Where in a network a parameter is: what freeze policies decide by. Knows no torch."""

from dataclasses import dataclass
from typing import Literal

HEAD = "head"
"""The stage of the new output layers."""

LayerKind = Literal["convolution", "linear", "batch_norm", "other"]


@dataclass(frozen=True)
class Place:
    """One parameter's place.

    Attributes:
        name: its path in the network, such as `layer4.0.conv1.weight`.
        stage: the name of its stage, such as `layer4`; `HEAD` for the head.
        depth: the number of its stage, from 0 at the input; the head's is the number of stages.
        layer: what kind of layer it belongs to.
        downsampling: whether that layer belongs to a downsampling shortcut or transition.
        num_values: how many numbers it holds.
    """

    name: str
    stage: str
    depth: int
    layer: LayerKind
    downsampling: bool
    num_values: int

    @property
    def in_head(self) -> bool:
        """Whether it belongs to the head."""
        return self.stage == HEAD
