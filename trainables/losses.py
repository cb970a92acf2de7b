"""Training losses, each a settings class that builds its torch loss.

A new one: a class beside its siblings, and its name in `Loss` below.
"""

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from trainables.settings import Settings

if TYPE_CHECKING:
    import torch


class CrossEntropy(Settings):
    """Cross-entropy, with label smoothing (Szegedy et al., 2016) if asked for.

    Validation and test losses are always plain cross-entropy, so that trials with different
    smoothing compare.
    """

    name: Literal["cross_entropy"] = "cross_entropy"
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0

    def build(self) -> "torch.nn.Module":
        """The torch loss of (logits_BK, labels_B), averaged over the batch."""
        import torch

        return torch.nn.CrossEntropyLoss(label_smoothing=self.label_smoothing)


Loss = CrossEntropy
