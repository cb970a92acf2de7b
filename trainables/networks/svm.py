"""A support vector machine as a torch module, on the features of a frozen network.

Shape letters: B batch, C channels, H height, W width, F features, K classes, S support vectors,
P the K(K-1)/2 pairs of classes, in the order (0, 1), (0, 2), ..., (1, 2), ...
"""

from typing import Any

import torch
from torch import Tensor, nn

from toprung.trainables.networks import torchvision
from toprung.trainables.networks.classifier import Classifier
from toprung.trainables.networks.limits import check_size
from toprung.trainables.networks.svm_settings import SvmSettings

_HEAD = "svm"


class SvmHead(nn.Module):
    """features_BF → scores_BK: the `decision_function` of a fitted scikit-learn `SVC`.

    A machine for each pair of classes votes for one of them; a class's score is its number of
    votes, plus a tie-breaker below 1/3 that grows with the sum of its machines' outputs
    (scikit-learn's `decision_function_shape="ovr"`). With two classes the scores are the one
    machine's output and its negative. The arithmetic is in double precision.

    Buffers: `offset` and `scale` (F), by which features are scaled; `support_features` (S, F), the
    support vectors before scaling, class by class; `support_counts` (K), how many each class has;
    `dual_coefficients` (K-1, S), `intercepts` (P) and `gamma`. Loading a state dict resizes the
    buffers to its number of support vectors.
    """

    offset: Tensor
    scale: Tensor
    support_features: Tensor
    support_counts: Tensor
    dual_coefficients: Tensor
    intercepts: Tensor
    gamma: Tensor

    def __init__(self, kernel: str, degree: int, num_features: int, num_classes: int) -> None:
        super().__init__()
        self.kernel = kernel
        self.degree = degree
        num_pairs = num_classes * (num_classes - 1) // 2
        buffers = {
            "offset": torch.zeros(num_features, dtype=torch.float64),
            "scale": torch.ones(num_features, dtype=torch.float64),
            "support_features": torch.zeros(0, num_features),
            "support_counts": torch.zeros(num_classes, dtype=torch.int64),
            "dual_coefficients": torch.zeros(num_classes - 1, 0, dtype=torch.float64),
            "intercepts": torch.zeros(num_pairs, dtype=torch.float64),
            "gamma": torch.ones((), dtype=torch.float64),
        }
        for name, tensor in buffers.items():
            self.register_buffer(name, tensor)

    def forward(self, features_BF: Tensor) -> Tensor:
        """The scores_BK of a batch of features, in the data type of the features."""
        num_classes = len(self.support_counts)
        outputs_BP = self._pair_outputs(self._kernel(features_BF))
        first_P, second_P = torch.triu_indices(
            num_classes, num_classes, 1, device=outputs_BP.device
        )
        # shape[0], not len(): an export to ONNX would fix the batch size.
        zeros_BK = outputs_BP.new_zeros(outputs_BP.shape[0], num_classes)
        sums_BK = zeros_BK.index_add(1, first_P, outputs_BP).index_add(1, second_P, -outputs_BP)
        if num_classes == 2:
            return sums_BK.to(features_BF.dtype)
        won_BP = (outputs_BP >= 0).double()
        votes_BK = zeros_BK.index_add(1, first_P, won_BP).index_add(1, second_P, 1 - won_BP)
        return (votes_BK + sums_BK / (3 * (sums_BK.abs() + 1))).to(features_BF.dtype)

    def _kernel(self, features_BF: Tensor) -> Tensor:
        x_BF = (features_BF.double() - self.offset) * self.scale
        y_SF = (self.support_features.double() - self.offset) * self.scale
        products_BS = x_BF @ y_SF.T
        match self.kernel:
            case "linear":
                return products_BS
            case "poly":
                return (self.gamma * products_BS) ** self.degree
        squares_BS = x_BF.square().sum(1, keepdim=True) + y_SF.square().sum(1) - 2 * products_BS
        return torch.exp(-self.gamma * squares_BS)

    def _pair_outputs(self, kernel_BS: Tensor) -> Tensor:
        """outputs_BP of each pair's machine, positive for its first class.

        The coefficients of a class's support vectors against class j are in row j - 1 if j is a
        later class, in row j if it is an earlier one.
        """
        num_classes = len(self.support_counts)
        fitted = kernel_BS.shape[1] > 0
        counts = self.support_counts.tolist() if fitted else [0] * num_classes
        kernels = torch.split(kernel_BS, counts, 1)
        coefficients = torch.split(self.dual_coefficients, counts, 1)
        of_classes = zip(kernels, coefficients, strict=True)
        sums_BKR = torch.stack([kernel @ rows.T for kernel, rows in of_classes], 1)
        first_P, second_P = torch.triu_indices(num_classes, num_classes, 1, device=kernel_BS.device)
        return sums_BKR[:, first_P, second_P - 1] + sums_BKR[:, second_P, first_P] + self.intercepts

    def _load_from_state_dict(
        self, state_dict: dict[str, Any], prefix: str, *args: Any, **kwargs: Any
    ) -> None:
        count = len(state_dict.get(f"{prefix}support_features", ()))
        num_features, num_rows = len(self.offset), len(self.dual_coefficients)
        self.support_features = self.support_features.new_zeros(count, num_features)
        self.dual_coefficients = self.dual_coefficients.new_zeros(num_rows, count)
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)


class SvmNetwork(nn.Module):
    """images_BCHW → scores_BK: a backbone that computes features, and an SVM. All of it is frozen.

    It stays in evaluation mode, so that an image's features are always the same.
    """

    def __init__(self, backbone: nn.Module, svm: SvmHead) -> None:
        super().__init__()
        self.backbone = backbone
        self.svm = svm
        self.requires_grad_(False)
        self.eval()

    def forward(self, images_BCHW: Tensor) -> Tensor:
        """The scores_BK of a batch of normalised images."""
        scores_BK: Tensor = self.svm(self.backbone(images_BCHW))
        return scores_BK

    def train(self, mode: bool = True) -> "SvmNetwork":  # noqa: ARG002
        """Stay in evaluation mode, whatever `mode` is."""
        return super().train(False)


def build(
    settings: SvmSettings,
    image_shape: tuple[int, int, int],
    num_classes: int,
    *,
    with_weights: bool,
) -> Classifier:
    """Build the network (see `build_network`): an SVM replaces the backbone's output layer."""
    check_size(num_classes * (num_classes - 1) // 2)  # an intercept for each pair of classes
    backbone = torchvision.build(
        settings.backbone_settings(), image_shape, num_classes, with_weights=with_weights
    )
    num_features = backbone.num_features
    for path in backbone.heads:
        backbone.network.set_submodule(path, nn.Identity())
    head = SvmHead(settings.kernel, settings.degree, num_features, num_classes)
    network = SvmNetwork(backbone.network, head)
    stages = {
        name: [f"backbone.{path}" for path in paths] for name, paths in backbone.stages.items()
    }
    return Classifier(network, [_HEAD], stages)
