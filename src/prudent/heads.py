"""The head of a network: the linear layer that answers its logits, found by watching the network run."""

import torch
from torch import Tensor, nn

from prudent.errors import BadInput
from prudent.network import evaluating, logits_of


def head_of(model: nn.Module, example: Tensor) -> tuple[str, nn.Linear]:
    """Name and module of the linear layer whose output is what the network answers.

    Args:
        model: not changed.
        example: inputs (n, ...).

    Raises:
        BadInput: the network does not run, or its logits are not what a linear layer says.
    """
    names = {module: name for name, module in model.named_modules() if isinstance(module, nn.Linear)}
    found: list[tuple[nn.Linear, Tensor]] = []
    handles = [
        module.register_forward_hook(lambda module, _, output: found.append((module, output))) for module in names
    ]
    try:
        with torch.no_grad(), evaluating(model):
            answer = logits_of(model, example)
    finally:
        for handle in handles:
            handle.remove()
    for module, output in reversed(found):
        # code that ends in a reshape answers another tensor of the same numbers
        if output is answer or (output.shape == answer.shape and torch.equal(output, answer)):
            return names[module], module
    raise BadInput(
        f"the logits of {type(model).__name__} are not what a linear layer says, so it is not known which layer is its "
        "head: name one, or add one"
    )
