"""Cross-entropy with a reward for ReLUs that no small change of the input switches."""

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from prudent.errors import BadInput
from prudent.passes import Objective, Pass
from prudent.stability import channel_stability

NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


def stability(*, radius: float = 2 / 255, strength: float = 0.1) -> Objective:
    """Cross-entropy minus the stability of what comes out of the batch normalisations (NRS loss).

        L = CE(z, y) - strength * mean over channels of    tanh(1 + l * u / gamma ** 2)

    l and u come from interval bound propagation through the network as it is in evaluation (`channel_stability`); they
    need no labels. A network so trained has fewer ReLUs that a verifier must split, and the score `nrs` tells which
    channels still have them.

    Args:
        radius: largest change of a value of the input (L-infinity), in its units, > 0.
        strength: weight of the stability, > 0.

    Returns: an objective for `train`, in nats.

    Raises:
        BadInput: a number that is not positive and finite; in training: a network without batch normalisation, or one
            that intervals cannot be sent through (see prudent.ends).

    Source: Li et al. 2022, "Can pruning improve certified robustness of neural networks?", arXiv:2206.07311. There the
    normalisations of the training pass count, here those of evaluation.
    """
    for name, value in (("radius", radius), ("strength", strength)):
        if not 0 < value < float("inf"):
            raise BadInput(f"{name} of objective 'stability' is above 0, and finite; got {value}")

    def objective(now: Pass) -> Tensor:
        norms = {name: module for name, module in now.model.named_modules() if isinstance(module, NORMS)}
        if not norms:
            raise BadInput("objective 'stability' needs batch normalisations, whose scale it is in; there is none")
        with torch.autocast(now.inputs.device.type, enabled=False):
            found = channel_stability(now.model, [now.inputs], norms, radius=radius)
        return cross_entropy(now.logits, now.labels) - strength * torch.cat(list(found.values())).mean()

    return objective
