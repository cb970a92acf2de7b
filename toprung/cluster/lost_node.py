"""What Ray says of a process that is gone because its node is."""

import re

_SAYS_SO = re.compile(r"node has died|node was terminated|The actor is temporarily unavailable")


def is_node_lost(text: str) -> bool:
    """Whether an actor's death was its node's: the machine's fault, or the network's."""
    return _SAYS_SO.search(text) is not None
