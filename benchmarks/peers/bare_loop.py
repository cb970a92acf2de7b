"""A training loop as one writes it by hand: plain PyTorch, float32, images ready in memory.

Nothing but the steps: no augmentation, no validation, no schedule, no metrics but the mean loss,
which is read once at the end. It is there twice: plain, and as one who knows PyTorch's performance
guide writes it, still in float32.
"""

import time

import torch
from torch import Tensor, nn
from torch.nn import functional


class BareLoop:
    """A network with Adam, on normalised float32 images_NCHW that are already in memory.

    `tuned`: network and images lie in memory with their channels last, and Adam takes its step of
    all parameters at once.
    """

    def __init__(
        self,
        network: nn.Module,
        images_NCHW: Tensor,
        labels_N: Tensor,
        batch_size: int,
        *,
        tuned: bool,
    ) -> None:
        layout = torch.channels_last if tuned else torch.contiguous_format
        self._network = network.train().to(memory_format=layout)
        self._optimizer = torch.optim.Adam(network.parameters(), lr=1e-3, fused=tuned or None)
        self._images_NCHW = images_NCHW.contiguous(memory_format=layout)
        self._labels_N = labels_N
        self._batch_size = batch_size

    def images_per_second(self) -> float:
        """Train for one epoch, in a new order."""
        started = time.perf_counter()
        order = torch.randperm(len(self._images_NCHW))
        loss_sum = torch.zeros(())
        for indices_B in torch.split(order, self._batch_size):
            images_BCHW, labels_B = self._images_NCHW[indices_B], self._labels_N[indices_B]
            self._optimizer.zero_grad()
            loss = functional.cross_entropy(self._network(images_BCHW), labels_B)
            loss.backward()  # type: ignore[no-untyped-call]
            self._optimizer.step()
            loss_sum += loss.detach() * len(indices_B)
        mean_loss = loss_sum.item() / len(order)
        assert mean_loss == mean_loss, "the peer diverged"
        return len(order) / (time.perf_counter() - started)
