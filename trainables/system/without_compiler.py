"""Optimizers that do not import torch's compiler.

torch.optim wraps some methods to mark them for `torch.compile`, and the first call of one of them
imports the whole compiler (`torch._dynamo`): seconds of CPU time in each process. Trials compile
nothing, so the wrapped methods can be used directly.
"""

import torch
from torch.optim import Optimizer

_MARKED = ("state_dict", "load_state_dict", "zero_grad", "add_param_group")


def leave_compiler_out() -> None:
    """Unwrap the methods of all torch optimizers, for the rest of this process.

    To be called before the first optimizer is created, which wraps its class's `step` once more.
    """
    for name in _MARKED:
        method = getattr(Optimizer, name)
        setattr(Optimizer, name, getattr(method, "__wrapped__", method))
    for optimizer in Optimizer.__subclasses__():
        step = getattr(optimizer.step, "__wrapped__", None)
        if step is not None and optimizer.__module__.startswith("torch.optim."):
            # The wrapper also kept the update out of autograd.
            optimizer.step = torch.no_grad()(step)  # type: ignore[method-assign]
