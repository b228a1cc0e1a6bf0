"""Wrong labels on purpose: how much of what a network can do survives them."""

import torch
from jaxtyping import Int64
from torch import Tensor

from prudent.errors import BadInput
from prudent.seeds import stream


def relabelled(
    labels: Int64[Tensor, " n"], *, share: float, classes: int | None = None, seed: int = 0
) -> Int64[Tensor, " n"]:
    """Labels of which a share is replaced by another class, each other class equally likely (symmetric noise).

        round(share * n) examples, drawn without replacement:    y' = y + U{1, ..., classes - 1}  modulo classes

    With the same seed a larger share replaces the same labels and more.

    Args:
        labels: (n,) true classes, from 0. Not changed.
        share: of the examples whose label becomes wrong, in [0, 1).
        classes: how many there are, >= 2; None for one more than the largest label.
        seed: which labels, and what they become.

    Returns: (n,) labels.

    Raises:
        BadInput: a share outside [0, 1), fewer than two classes, a label that is no class.

    Source: Zhang et al. 2017, "Understanding deep learning requires rethinking generalization", arXiv:1611.03530,
    section 2 (partially corrupted labels); there each label is drawn anew with a given chance and may stay what it
    was, here exactly this share is wrong.
    """
    check_share(share)
    known = int(labels.max()) + 1 if classes is None else classes
    if known < 2 or int(labels.min()) < 0 or int(labels.max()) >= known:
        raise BadInput(
            f"labels are classes 0 .. {known - 1}, of two classes or more; got {int(labels.min())} to "
            f"{int(labels.max())}"
        )
    generator = torch.Generator().manual_seed(stream("label noise", seed))
    order = torch.randperm(len(labels), generator=generator)
    steps = torch.randint(1, known, (len(labels),), generator=generator)
    wrong = order[: round(share * len(labels))]
    noisy = labels.clone()
    noisy[wrong] = (labels[wrong] + steps[wrong].to(labels.device)) % known
    return noisy


def check_share(share: float) -> None:
    """Refuse a share of wrong labels outside [0, 1)."""
    if not 0 <= share < 1:
        raise BadInput(f"label noise is the share of labels that become wrong, in [0, 1); got {share}")
