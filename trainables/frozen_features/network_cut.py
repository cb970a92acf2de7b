"""Cutting a network where its frozen part ends.

A node of the network's graph (`torch.fx`) is constant if its inputs are, its parameters are frozen,
and it is deterministic and stateless. The boundary is where outputs of constant nodes enter nodes
that are not constant. It is found node by node, so it can be anywhere: before the head, inside a
network stage, or in several places at once.
"""

from collections.abc import Set
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.nn.modules.batchnorm import _BatchNorm

from toprung.trainables.networks.classifier import Classifier


@dataclass(frozen=True)
class Cut:
    """A network in two parts, which share its modules and follow its training mode.

    Attributes:
        prefix: normalised images_BCHW → the values at the boundary, each (B, ...).
        suffix: those values → the network's output for the images.
    """

    prefix: fx.GraphModule
    suffix: fx.GraphModule


def cut(classifier: Classifier, trains: Set[str], images_BCHW: Tensor) -> Cut | None:
    """Cut a network in training mode where its frozen part ends.

    Args:
        classifier: in the mode of `freezing.train_mode`.
        trains: the names of the parameters that train at some epoch.
        images_BCHW: some normalised images, at least two.

    Returns:
        The two parts; None if the network begins with a node that trains or is random.
    """
    root = _Root(classifier.network)
    graph = _Tracer({classifier.network.get_submodule(path) for path in classifier.heads}).trace(
        root
    )
    probe = _Probe(fx.GraphModule(root, graph), {f"{_NETWORK}.{name}" for name in trains})
    with torch.no_grad(), torch.random.fork_rng(_devices(images_BCHW)):
        probe.run(images_BCHW)
    boundary, rest = _boundary(graph, probe)
    prefix = fx.GraphModule(root, _prefix(graph, boundary))
    if not any(True for _ in prefix.parameters()):
        return None
    return Cut(prefix, fx.GraphModule(root, _suffix(graph, boundary, rest)))


_NETWORK = "network"
_CHANGES = object()
"""Sentinel: the node's output is not constant across epochs."""


class _Root(nn.Module):
    """Wraps the network, so that hooks of the network itself are traced as well."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images_BCHW: Tensor) -> Any:
        return self.network(images_BCHW)


class _Tracer(fx.Tracer):
    """Traces heads, and modules without children, as one node, which keeps its training mode."""

    def __init__(self, heads: Set[nn.Module]) -> None:
        super().__init__()
        self._heads = heads

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        is_node = m in self._heads or not any(True for _ in m.children())
        return is_node or super().is_leaf_module(m, module_qualified_name)


class _Probe(fx.Interpreter):
    """Runs the constant nodes of a graph, and no others.

    Attributes:
        fixed: the outputs of the constant nodes.
        of_images: those of the constant nodes whose outputs depend on the images.
    """

    def __init__(self, module: fx.GraphModule, trains: Set[str]) -> None:
        super().__init__(module, garbage_collect_values=False)
        self._trains = trains
        self.fixed: dict[fx.Node, Any] = {}
        self.of_images: set[fx.Node] = set()

    def run_node(self, n: fx.Node) -> Any:
        if n.op == "output":
            return None
        if self._trains_here(n) or any(node not in self.fixed for node in n.all_input_nodes):
            return _CHANGES
        before = _random_state()
        result = super().run_node(n)
        if not all(map(torch.equal, before, _random_state())):
            return _CHANGES
        self.fixed[n] = result
        if n.op == "placeholder" or not self.of_images.isdisjoint(n.all_input_nodes):
            self.of_images.add(n)
        return result

    def has_parameters(self, node: fx.Node) -> bool:
        """Whether a node is a module with parameters."""
        if node.op != "call_module":
            return False
        return any(True for _ in self.fetch_attr(str(node.target)).parameters())

    def _trains_here(self, node: fx.Node) -> bool:
        """Whether a node has parameters that train, or running statistics that are updated."""
        if node.op == "get_attr":
            return node.target in self._trains
        if node.op != "call_module":
            return False
        module = self.fetch_attr(str(node.target))
        if any(isinstance(part, _BatchNorm) and part.training for part in module.modules()):
            return True
        return any(f"{node.target}.{name}" in self._trains for name, _ in module.named_parameters())


def _boundary(graph: fx.Graph, probe: _Probe) -> tuple[list[fx.Node], set[fx.Node]]:
    """The nodes whose outputs are stored for each image, and the nodes to be run from them.

    Sizes, and values computed from parameters alone, belong to no image and are cheap: their nodes
    are run again.
    """
    (images,) = (node for node in graph.nodes if node.op == "placeholder")
    num_images = len(probe.fixed[images])
    boundary, rest = set(), set()
    waiting = [node for node in graph.nodes if node.op == "output"]
    while waiting:
        node = waiting.pop()
        if node in boundary or node in rest:
            continue
        value = probe.fixed.get(node)
        of_each_image = isinstance(value, Tensor) and value.dim() > 0 and len(value) == num_images
        if node in probe.of_images and of_each_image:
            boundary.add(node)
        else:
            rest.add(node)
            waiting += node.all_input_nodes
    for node in reversed(graph.nodes):
        inputs = node.all_input_nodes
        follows_others = node in boundary and inputs and boundary.issuperset(inputs)
        if follows_others and not probe.has_parameters(node):
            boundary.remove(node)  # such as pooling: cheaper to run again than to store
            rest.add(node)
    return [node for node in graph.nodes if node in boundary], rest


def _prefix(graph: fx.Graph, boundary: list[fx.Node]) -> fx.Graph:
    needed: set[fx.Node] = set()
    waiting = list(boundary)
    while waiting:
        node = waiting.pop()
        if node not in needed:
            needed.add(node)
            waiting += node.all_input_nodes
    prefix = fx.Graph()
    copies: dict[fx.Node, fx.Node] = {}
    for node in graph.nodes:
        if node in needed:
            copies[node] = prefix.node_copy(node, copies.__getitem__)
    prefix.output(tuple(copies[node] for node in boundary))
    return prefix


def _suffix(graph: fx.Graph, boundary: list[fx.Node], rest: set[fx.Node]) -> fx.Graph:
    suffix = fx.Graph()
    copies = {node: suffix.placeholder(f"{node.name}_kept") for node in boundary}
    for node in graph.nodes:
        if node in rest:
            copies[node] = suffix.node_copy(node, copies.__getitem__)
    return suffix


def _random_state() -> list[Tensor]:
    """Torch's random state of the CPU and of the GPUs in use."""
    on_gpu = torch.cuda.is_initialized()  # type: ignore[no-untyped-call]
    return [torch.get_rng_state(), *(torch.cuda.get_rng_state_all() if on_gpu else ())]


def _devices(tensor: Tensor) -> list[torch.device]:
    return [tensor.device] if tensor.device.type == "cuda" else []
