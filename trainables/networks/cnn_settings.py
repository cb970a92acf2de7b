"""The configurable CNN's settings: blocks of convolutions, dense layers, an output layer.

Study D's five-block network and study C's three networks are configurations of it. The torch
module is in `cnn`, so that settings can be checked without importing torch.
"""

import math
from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import Field, PositiveInt, model_validator

from toprung.trainables.networks.base import NO_WEIGHTS, ImpossibleNetworkError, NetworkSettings
from toprung.trainables.networks.limits import (
    MAX_DENSE_LAYERS,
    MAX_LAYERS,
    MAX_WIDTH,
    MAX_WINDOW,
    check_size,
)
from toprung.trainables.pretrained.weights import SUFFIXES

_LISTABLE = {"filters": "organisation", "block_dropout": "block_dropout_organisation"}
Activation = Literal["relu", "leaky_relu", "gelu", "silu", "mish", "elu"]
UpTo100 = Annotated[PositiveInt, Field(le=100)]
Width = Annotated[PositiveInt, Field(le=MAX_WIDTH)]
Window = Annotated[PositiveInt, Field(le=MAX_WINDOW)]
Probability = Annotated[float, Field(ge=0, lt=1)]


class CnnSettings(NetworkSettings):
    """A CNN of `num_blocks` blocks, each `convs_per_block` convolutions and one downsampling.

    * `filters`: the number of filters of the first block; `organisation` says how the number
      changes from block to block. With `organisation: listed`, one number for each block.
    * `padding: same` keeps the image's size at stride 1.
    * `stride`: the stride of each block's first convolution. With `downsampling: strided_conv` the
      last convolution of each block has the stride `pool_size`, and replaces the pooling
      (Springenberg et al., 2015).
    * `batch_norm`: before or after the activation, or none.
    * `block_dropout`: the dropout probability after each block: constant, rising linearly up to
      this value at the last block, or listed for each block.
    * `dense`: the widths of the hidden dense layers; an empty list for none.
    * `weights`: `none`, or a file with the state dict of a network with the same settings and the
      same number of classes.
    """

    architecture: Literal["cnn"] = "cnn"
    num_blocks: UpTo100 = 3
    filters: Width | tuple[Width, ...] = 32
    organisation: Literal["equal", "doubling", "halving", "listed"] = "doubling"
    convs_per_block: UpTo100 = 1
    kernel_size: Window = 3
    padding: Annotated[int, Field(ge=0, le=MAX_WINDOW)] | Literal["same"] = "same"
    stride: Window = 1
    downsampling: Literal["max_pool", "strided_conv", "none"] = "max_pool"
    pool_size: Annotated[int, Field(ge=2, le=MAX_WINDOW)] = 2
    activation: Activation = "relu"
    batch_norm: Literal["none", "before", "after"] = "none"
    block_dropout: Probability | tuple[Probability, ...] = 0.0
    block_dropout_organisation: Literal["constant", "rising", "listed"] = "constant"
    dense: Width | Annotated[tuple[Width, ...], Field(max_length=MAX_DENSE_LAYERS)] = 64
    dense_dropout: Probability = 0.0
    dense_batch_norm: bool = False
    initialisation: Literal["default", "xavier", "kaiming"] = "default"

    @model_validator(mode="after")
    def _weights_are_a_file(self) -> "CnnSettings":
        if self.weights != NO_WEIGHTS and self.weights_file is None:
            raise ValueError(
                f"weights = {self.weights!r}: must be {NO_WEIGHTS!r}, or a file "
                f"({', '.join(SUFFIXES)})"
            )
        if self.weights_file and self.initialisation != "default":
            raise ValueError(
                f"initialisation = {self.initialisation!r} has no effect: "
                f"weights = {self.weights!r} replace the initial values"
            )
        return self

    @model_validator(mode="after")
    def _lists_fit_the_blocks(self) -> "CnnSettings":
        for name, key in _LISTABLE.items():
            value, organisation = getattr(self, name), getattr(self, key)
            listed = isinstance(value, tuple)
            if listed != (organisation == "listed"):
                raise ValueError(
                    f"{name} = {value} does not go with {key} = {organisation!r}: "
                    "'listed' takes a list, the others one number"
                )
            if listed and len(value) != self.num_blocks:
                raise ValueError(
                    f"{name} lists {len(value)} values, but num_blocks = {self.num_blocks}"
                )
        if self.downsampling == "strided_conv" and self.convs_per_block == 1 and self.stride > 1:
            raise ValueError(
                f"stride = {self.stride} has no effect: with downsampling = 'strided_conv' the "
                f"block's only convolution has the stride pool_size = {self.pool_size}"
            )
        if self.downsampling == "none" and self.pool_size != 2:
            raise ValueError(f"pool_size = {self.pool_size} has no effect: downsampling = 'none'")
        if self.block_dropout_organisation == "rising" and self.block_dropout == 0:
            raise ValueError(
                "block_dropout_organisation = 'rising' has no effect: block_dropout = 0"
            )
        if self.num_blocks * self.convs_per_block > MAX_LAYERS:
            raise ValueError(
                f"num_blocks = {self.num_blocks} times convs_per_block = {self.convs_per_block}: "
                f"must be at most {MAX_LAYERS} convolutions"
            )
        if self.dense == () and (self.dense_dropout or self.dense_batch_norm):
            raise ValueError("dense_dropout and dense_batch_norm have no effect: dense is empty")
        if self.organisation == "halving" and self.block_filters[-1] < 1:
            raise ValueError(
                f"filters = {self.filters} cannot be halved {self.num_blocks - 1} times"
            )
        return self

    @property
    def block_filters(self) -> tuple[int, ...]:
        """The number of filters of each block."""
        if isinstance(self.filters, tuple):
            return self.filters
        match self.organisation:
            case "doubling":
                return tuple(self.filters * 2**block for block in range(self.num_blocks))
            case "halving":
                return tuple(self.filters // 2**block for block in range(self.num_blocks))
        return (self.filters,) * self.num_blocks

    @property
    def block_dropouts(self) -> tuple[float, ...]:
        """The dropout probability after each block."""
        if isinstance(self.block_dropout, tuple):
            return self.block_dropout
        if self.block_dropout_organisation == "rising":
            return tuple(
                self.block_dropout * (block + 1) / self.num_blocks
                for block in range(self.num_blocks)
            )
        return (self.block_dropout,) * self.num_blocks

    def feature_shape(self, input_shape: tuple[int, int, int]) -> tuple[int, int, int]:
        """The shape (C, H, W) after the last block, computed without torch.

        Raises:
            ImpossibleNetworkError: if the feature map shrinks to nothing, naming the block; or if
                a layer's output or multiply-accumulates exceed `networks.limits`.
        """
        channels, *size = input_shape
        multiply_accumulates = 0
        for block, filters in enumerate(self.block_filters):
            before = tuple(size)
            for number, (kernel, stride, padding) in enumerate(self._windows()):
                size = [_window_output(n, kernel, stride, padding) for n in size]
                if min(size) < 1:
                    raise ImpossibleNetworkError(
                        f"block {block + 1} of {self.num_blocks}: the {before[0]}x{before[1]} "
                        f"picture shrinks to nothing (kernel {self.kernel_size}, padding "
                        f"{self.padding}, stride {self.stride}, {self.downsampling})"
                    )
                map_values = filters * math.prod(size)
                if number < self.convs_per_block:  # the last window is the pooling's
                    multiply_accumulates += channels * kernel**2 * map_values
                    channels = filters
                check_size(0, map_values, multiply_accumulates)
        return self.block_filters[-1], size[0], size[1]

    def check(self, image_shape: tuple[int, int, int]) -> None:
        """Check that the network can be built for images of shape (C, H, W), without torch.

        Raises:
            ImpossibleNetworkError: see `feature_shape`; also if it has too many parameters.
            ConfigError: if its weights file does not exist.
        """
        check_size(self.num_parameters(image_shape, num_classes=1))
        self.fetch_weights()

    def num_parameters(self, image_shape: tuple[int, int, int], num_classes: int) -> int:
        """The number of trainable values, computed without torch.

        Raises:
            ImpossibleNetworkError: see `feature_shape`.
        """
        channels, count = image_shape[0], 0
        for filters in self.block_filters:
            for _ in range(self.convs_per_block):
                count += filters * (channels * self.kernel_size**2 + 1)
                count += 2 * filters * (self.batch_norm != "none")
                channels = filters
        features = math.prod(self.feature_shape(image_shape))
        hidden = (self.dense,) if isinstance(self.dense, int) else self.dense
        for units in hidden:
            count += units * (features + 1 + 2 * self.dense_batch_norm)
            features = units
        return count + num_classes * (features + 1)

    def conv_strides(self) -> tuple[int, ...]:
        """The stride of each convolution of a block."""
        strides = [self.stride] + [1] * (self.convs_per_block - 1)
        if self.downsampling == "strided_conv":
            strides[-1] = self.pool_size
        return tuple(strides)

    def conv_padding(self, stride: int) -> int | Literal["same"]:
        """The padding of a convolution; torch supports "same" for stride 1 only."""
        if self.padding == "same" and stride > 1:
            return (self.kernel_size - 1) // 2
        return self.padding

    def _windows(self) -> Iterator[tuple[int, int, int | Literal["same"]]]:
        for stride in self.conv_strides():
            yield self.kernel_size, stride, self.conv_padding(stride)
        if self.downsampling == "max_pool":
            yield self.pool_size, self.pool_size, 0


def _window_output(size: int, kernel: int, stride: int, padding: int | Literal["same"]) -> int:
    if padding == "same":
        return size
    return (size + 2 * padding - kernel) // stride + 1
