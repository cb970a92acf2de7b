"""Finding the stages of a network: the parts that freeze policies speak of."""

from collections.abc import Iterator, Sequence, Set

from torch import nn

_MIN_STAGES = 3
_NORMS = (nn.modules.batchnorm._BatchNorm, nn.LayerNorm, nn.GroupNorm)


def find_stages(network: nn.Module, heads: Sequence[str]) -> dict[str, list[str]]:
    """The stages of any network, from input to output: their names and the paths they hold.

    A stage is a child module with parameters, and has its path as its name (`layer1`). Besides:

    * A normalisation layer belongs to the stage before it (ResNet's `bn1` to `conv1`).
    * Parameters of an opened module itself (ViT's class token and position embedding) belong to
      the first stage.
    * Modules around the main head are opened: their children are stages.
    * A module around an auxiliary head is one stage, without that head.
    * While fewer than three stages lie before the module that the main head is in, the one with
      the most parameters is opened (`features` becomes `features.0`, `features.3`, ...).

    Together with the heads, the stages hold every parameter exactly once.

    Args:
        network: whose stages to find.
        heads: the paths of its output layers, the main one first.
    """
    main, *auxiliary = heads
    branches = {head.partition(".")[0] for head in auxiliary}
    opened = _around(main).union(*map(_around, auxiliary))
    while True:
        stages = _stages(network, heads, branches, opened)
        body = [name for name in stages if name.partition(".")[0] != main.partition(".")[0]]
        openable = [
            name
            for name in body
            if name not in branches and any(network.get_submodule(name).children())
        ]
        if len(body) >= _MIN_STAGES or not openable:
            return stages
        opened.add(max(openable, key=lambda name: _size(network.get_submodule(name))))


def _stages(
    network: nn.Module, heads: Sequence[str], branches: Set[str], opened: Set[str]
) -> dict[str, list[str]]:
    stages: dict[str, list[str]] = {}
    own_parameters = []
    last = ""
    for path, part in _parts(network, opened):
        if path in heads:
            continue
        if isinstance(part, nn.Parameter):
            own_parameters.append(path)
            continue
        branch = path.partition(".")[0]
        if branch in branches:
            last = branch
        elif not (stages and isinstance(part, _NORMS)):
            last = path
        stages.setdefault(last, []).append(path)
    next(iter(stages.values()))[:0] = own_parameters
    return stages


def _parts(
    module: nn.Module, opened: Set[str], prefix: str = ""
) -> Iterator[tuple[str, nn.Module | nn.Parameter]]:
    """The parameters of the opened modules themselves, and their children that have parameters."""
    for name, parameter in module.named_parameters(recurse=False):
        yield f"{prefix}{name}", parameter
    for name, child in module.named_children():
        path = f"{prefix}{name}"
        if path in opened:
            yield from _parts(child, opened, f"{path}.")
        elif _size(child):
            yield path, child


def _around(path: str) -> set[str]:
    """The paths of the modules that the one of this path is in."""
    names = path.split(".")
    return {".".join(names[:depth]) for depth in range(1, len(names))}


def _size(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())
