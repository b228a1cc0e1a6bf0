"""Statistics of batch normalisations, estimated anew: those of the dense network are wrong for a pruned one."""

import copy
from collections.abc import Iterable

import torch
from torch import nn

from prudent.batches import Batch, check_purpose
from prudent.errors import BadInput, CannotPrune


def reestimate(model: nn.Module, batches: Iterable[Batch]) -> nn.Module:
    """A copy of a network whose batch normalisations have the mean and variance of these examples. No weight changes.

        mean = average over batches of the batch's mean;    variance = average of the batch's unbiased variance

    Args:
        model: with batch normalisations that keep running statistics. Not changed.
        batches: inputs (batch, ...) and labels, of the train or validation split. Read once, in order; every batch
            counts alike, so batches of one size are best.

    Returns: the copy, in the modes that the original is in.

    Raises:
        CannotPrune: it has no batch normalisation with running statistics.
        BadInput: no batch.
        SplitMisuse: examples that are kept for the certificate or for reporting.

    Source: Li et al. 2020, "EagleEye: Fast Sub-net Evaluation for Efficient Neural Network Pruning", arXiv:2007.02491,
    section 3.3, on pruned networks.
    """
    check_purpose(batches, purpose="batch normalisation", allowed=("train", "validation"))
    fresh = copy.deepcopy(model)
    norms = [m for m in fresh.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm) and m.track_running_stats]
    if not norms:
        raise CannotPrune(
            "the network has no batch normalisation with running statistics, so there is nothing to estimate"
        )
    modes = {module: module.training for module in fresh.modules()}
    momenta = {norm: norm.momentum for norm in norms}
    fresh.eval()
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # torch's word for the average of all batches
        norm.train()
    seen = 0
    with torch.no_grad():
        for inputs, _ in batches:
            fresh(inputs)
            seen += 1
    if not seen:
        raise BadInput("statistics are estimated from at least one batch; `batches` was empty")
    for module, training in modes.items():
        module.training = training
    for norm, momentum in momenta.items():
        norm.momentum = momentum
    return fresh
