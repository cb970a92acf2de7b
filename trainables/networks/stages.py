"""Finding the stages of a network: the parts that freeze policies refer to."""

from collections.abc import Iterator, Sequence, Set

from torch import nn

_MIN_STAGES = 3
_NORMS = (nn.modules.batchnorm._BatchNorm, nn.LayerNorm, nn.GroupNorm)


def find_stages(network: nn.Module, heads: Sequence[str]) -> dict[str, list[str]]:
    """Find the stages of any network, from input to output.

    A stage is a child module with parameters, named by its path (`layer1`), with these exceptions:

    * A normalisation layer belongs to the stage before it (ResNet's `bn1` to `conv1`).
    * Modules that contain the main head are split: each of their children is a stage.
    * While fewer than three stages precede the module that contains the main head, the one with
      the most parameters is split (`features` becomes `features.0`, `features.3`, ...).
    * Parameters that a split module itself holds (ViT's class token and position embedding) belong
      to the first stage.
    * A module that contains an auxiliary head is one stage, without that head.

    Every parameter is in exactly one stage or head.

    Args:
        network: any network.
        heads: the paths of its output layers, the main one first.

    Returns:
        The name of each stage, and the paths of the modules or parameters in it.
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
    """The parameters that split modules themselves hold, and their children with parameters."""
    for name, parameter in module.named_parameters(recurse=False):
        yield f"{prefix}{name}", parameter
    for name, child in module.named_children():
        path = f"{prefix}{name}"
        if path in opened:
            yield from _parts(child, opened, f"{path}.")
        elif _size(child):
            yield path, child


def _around(path: str) -> set[str]:
    """The paths of the modules that contain the one at this path."""
    names = path.split(".")
    return {".".join(names[:depth]) for depth in range(1, len(names))}


def _size(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())
