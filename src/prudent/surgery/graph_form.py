"""A network as a graph of operations that owns its parameters, called like the network that it was traced from."""

import warnings
from typing import Any

from torch import fx


class GraphForm(fx.GraphModule):
    """torch's graph module, copied without the warnings that torch gives about its own description of the inputs."""

    def __deepcopy__(self, memo: dict[int, Any]) -> fx.GraphModule:
        """A copy with parameters of its own, called as this one."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            copied = super().__deepcopy__(memo)
        type(copied).__name__ = type(self).__name__  # each graph module of fx has a class of its own
        return copied
