"""How well a network does on labelled examples, while networks are still being made.

What is reported about a finished network comes from its saved predictions (prudent.evaluation), not from here.
"""

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from prudent.batches import Batch
from prudent.errors import BadInput
from prudent.network import evaluating
from prudent.observation import device_of


def loss_and_error(model: nn.Module, batches: Iterable[Batch]) -> tuple[float, float]:
    """Mean cross-entropy (nats) and share of wrong decisions of a network in evaluation mode, over all examples.

    Args:
        model: maps inputs (batch, ...) to logits (batch, classes). Not changed.
        batches: inputs and labels, of any split that the caller may look at.

    Raises:
        BadInput: no batches, or batches without labels.
    """
    device = device_of(model)
    # summed in float64, so that the size of the batches hardly matters
    loss = torch.zeros((), dtype=torch.float64, device=device)
    wrong, seen = torch.zeros((), dtype=torch.int64, device=device), 0
    with torch.no_grad(), evaluating(model):
        for batch in batches:
            if not isinstance(batch, (tuple, list)):
                raise BadInput("a loss needs labels: batches of (inputs, labels)")
            labels = batch[1].to(device)
            logits = model(batch[0].to(device))
            check_labels(labels, logits)
            loss += cross_entropy(logits.double(), labels, reduction="sum")
            wrong += (logits.argmax(dim=1) != labels).sum()
            seen += len(labels)
    if seen == 0:
        raise BadInput("a loss needs examples; the batches are empty")
    return float(loss) / seen, int(wrong) / seen


def check_labels(labels: Tensor, logits: Tensor) -> None:
    """Refuse logits that are not (batch, classes), and labels that are not int64 or outside of 0 .. classes - 1."""
    if logits.ndim != 2 or len(logits) != len(labels):
        shape = tuple(logits.shape)
        raise BadInput(f"a network answers logits (batch, classes), here ({len(labels)}, classes); got shape {shape}")
    if labels.ndim != 1 or labels.dtype != torch.int64:
        raise BadInput(f"labels are int64 of shape (batch,); got {labels.dtype} of shape {tuple(labels.shape)}")
    # on a GPU the comparison would stall every step, and there cross_entropy refuses by itself
    if labels.device.type == "cpu" and (int(labels.min()) < 0 or int(labels.max()) >= logits.shape[1]):
        raise BadInput(
            f"labels lie in 0 .. {logits.shape[1] - 1} for {logits.shape[1]} logits; "
            f"got {int(labels.min())} .. {int(labels.max())}"
        )
