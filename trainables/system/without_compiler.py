"""Optimizers that do not bring torch's compiler with them.

torch.optim wraps some methods to mark them for `torch.compile`, and when the first of them is
called the wrapper imports the whole compiler (`torch._dynamo`): seconds of CPU time in each
process. Nothing is compiled in a trial, so what is wrapped can be used as it is.
"""

import torch
from torch.optim import Optimizer

_MARKED = ("state_dict", "load_state_dict", "zero_grad", "add_param_group")


def leave_compiler_out() -> None:
    """Take torch's marks for its compiler off all its optimizers, in this process, for good.

    Before the first optimizer is made: it wraps its class's `step` once more.
    """
    for name in _MARKED:
        method = getattr(Optimizer, name)
        setattr(Optimizer, name, getattr(method, "__wrapped__", method))
    for optimizer in Optimizer.__subclasses__():
        step = getattr(optimizer.step, "__wrapped__", None)
        if step is not None and optimizer.__module__.startswith("torch.optim."):
            # What the mark did besides: an update is no part of what is differentiated.
            optimizer.step = torch.no_grad()(step)  # type: ignore[method-assign]
