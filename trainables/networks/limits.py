"""Upper bounds on the size of a network and its parts: a config may come from a stranger.

Every bound is far above what is trained in practice and below what would exhaust the machine. They
are checked by arithmetic, before torch allocates anything.
"""

from toprung.trainables.networks.base import ImpossibleNetworkError

MAX_PARAMETERS = 1_000_000_000
"""4 GB of weights. torchvision's largest classifier, RegNetY-128GF, has 645 million."""
MAX_MAP_VALUES = 2**28
"""Values of one layer's output for one image, 1 GiB: 256 channels of 1024x1024 pixels."""
MAX_MULTIPLY_ACCUMULATES = 2_000_000_000_000
"""For one image: twice what torchvision's costliest network takes, ViT-H/14 at 518x518 pixels."""
MAX_LAYERS = 1000
"""Convolutions. ResNet-1001 (He et al., 2016) is the deepest well-known network."""
MAX_WIDTH = 65_536
"""Filters of a convolution, or units of a dense layer. VGG's dense layers have 4,096."""
MAX_WINDOW = 1023
"""Pixels of a kernel's side, a stride or a padding: about the side of the largest images."""
MAX_DENSE_LAYERS = 100


def check_size(num_parameters: int, map_values: int = 0, multiply_accumulates: int = 0) -> None:
    """Refuse a network that is too large.

    Args:
        num_parameters: the values in the whole network's parameters.
        map_values: the values in the largest output of a layer, for one image.
        multiply_accumulates: for one image.

    Raises:
        ImpossibleNetworkError: naming the quantity that is too large, and its bound.
    """
    for what, number, bound in (
        ("parameters", num_parameters, MAX_PARAMETERS),
        ("values in the output of one layer for one image", map_values, MAX_MAP_VALUES),
        ("multiply-accumulates for one image", multiply_accumulates, MAX_MULTIPLY_ACCUMULATES),
    ):
        if number > bound:
            raise ImpossibleNetworkError(
                f"the network would have {number:.3g} {what}; at most {bound:,} are allowed. "
                "Choose fewer filters, units or blocks, or smaller images"
            )
