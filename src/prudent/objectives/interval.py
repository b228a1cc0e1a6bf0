"""Interval bound propagation training."""

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from prudent.enclosures import ball, check_ball, layers_of, margins_within
from prudent.errors import BadInput
from prudent.passes import Objective, Pass


def interval(
    *,
    radius: float,
    kappa: float = 0.5,
    warm_up: float = 1 / 30,
    ramp: float = 1 / 6,
    box: tuple[float, float] | None = (0.0, 1.0),
) -> Objective:
    """Cross-entropy of the logits, mixed with that of the worst logits that intervals allow within a radius.

        L = k * CE(z, y) + (1 - k) * CE(z_worst, y),    z_worst_j - z_worst_y = upper end of logit_j - logit_y
        share of the steps done <= warm_up: k = 1, r = 0;  then over `ramp` of the steps k -> kappa, r -> radius

    The differences are taken in the last linear layer, as by `proved_margins`. Batch normalisation goes into the
    intervals as it is in evaluation, with its running statistics, and dropout does not.

    Args:
        radius: largest change of a value (L-infinity) that the network shall withstand, > 0.
        kappa: weight of the plain cross-entropy in the end, in [0, 1].
        warm_up: share of the steps before the first with intervals, in [0, 1].
        ramp: share of the steps until radius and kappa are reached, in [0, 1].
        box: smallest and largest value that an input may have; None for no limit (normalised inputs).

    Returns: an objective for `train`, in nats.

    Raises:
        BadInput: a number outside its range; in training: a network that is not layers in a row with a linear one last
            (see `prudent.enclosures.enclose`), or inputs outside of the box.

    Source: Gowal et al. 2018, "On the Effectiveness of Interval Bound Propagation for Training Verifiably Robust
    Models", arXiv:1810.12715, equation 11 and section 4; its schedules for MNIST (2,000 and 10,000 of 60,000 steps) are
    the defaults, as shares.
    """
    if not 0 < radius < float("inf"):
        raise BadInput(f"objective 'interval' needs a radius above 0, and finite; got {radius}")
    for name, value in (("kappa", kappa), ("warm_up", warm_up), ("ramp", ramp)):
        if not 0 <= value <= 1:
            raise BadInput(f"{name} of objective 'interval' is in [0, 1]; got {value}")

    def objective(now: Pass) -> Tensor:
        plain = cross_entropy(now.logits, now.labels)
        reached = progress(now.index, now.total, warm_up, ramp)
        share = 1 - reached * (1 - kappa)
        own = reached * radius
        check_ball(now.inputs, now.labels, own, box)
        layers = layers_of(now.model)
        if share == 1:
            return plain
        with torch.autocast(now.inputs.device.type, enabled=False):
            worst = -margins_within(layers, *ball(now.inputs, own, box), now.labels)
            return share * plain + (1 - share) * cross_entropy(worst, now.labels)

    return objective


def progress(index: int, total: int, warm_up: float, ramp: float) -> float:
    """How far along the ramp a step is: 0 in the warm-up, 1 from its end on."""
    done = index / total - warm_up
    if done < 0:
        return 0.0
    return 1.0 if ramp == 0 else min(1.0, done / ramp)
