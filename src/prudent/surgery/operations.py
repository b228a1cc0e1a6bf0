"""A network as a graph of torch's operations, however it was found."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import fx


@dataclass(frozen=True, kw_only=True, eq=False)
class Operations:
    """What a network does with its parameters and inputs.

    Args:
        graph: torch's operations; the nodes' metadata tell the module, the line and the sizes.
        parameters: name of a node -> name of the parameter that stands there.
        buffers: the same of buffers.
        answers: names of the nodes that the network returns.
    """

    graph: fx.Graph
    parameters: Mapping[str, str]
    buffers: Mapping[str, str]
    answers: frozenset[str]


def operations_in(program: torch.export.ExportedProgram) -> Operations:
    """The operations of an exported network."""
    signature = program.graph_signature
    return Operations(
        graph=program.graph,
        parameters=dict(signature.inputs_to_parameters),
        buffers=dict(signature.inputs_to_buffers),
        # buffers that the forward pass updates are outputs of the graph as well
        answers=frozenset(str(name) for name in signature.user_outputs),
    )
