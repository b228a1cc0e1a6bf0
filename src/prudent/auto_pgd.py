"""Projected gradient descent that chooses its own steps (APGD), with a loss that large logits cannot hide from."""

import math
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from prudent.attacks import (
    Attacked,
    Box,
    Norm,
    better_of,
    check_attack,
    into_ball,
    margins_of,
    points_of_ball,
    steepest,
)
from prudent.draws import draws_of
from prudent.errors import BadInput
from prudent.network import evaluating, logits_of
from prudent.scopes import check_choice

AttackLoss = Literal["cross_entropy", "dlr"]

MOMENTUM = 0.75
"""Share of the new step; the rest is the step before."""
ENOUGH = 0.75
"""Share of the steps since the last checkpoint that must have raised the loss for the step size to stay."""


def apgd(
    model: nn.Module,
    inputs: Tensor,
    labels: Tensor,
    *,
    radius: float = 8 / 255,
    norm: Norm = "linf",
    loss: AttackLoss = "cross_entropy",
    steps: int = 50,
    restarts: int = 1,
    box: Box | None = (0.0, 1.0),
    seed: int = 0,
    ids: Tensor | None = None,
) -> Attacked:
    """Steps along the gradient with momentum, whose size each example halves by itself once it no longer helps.

        z = P(x_k + s * direction),    x_{k+1} = P(x_k + 3/4 (z - x_k) + 1/4 (x_k - x_{k-1})),    s = 2 radius at first
        at a checkpoint, if fewer than 3/4 of the steps since the last one raised the loss, or neither s nor the best
        loss changed there: s = s / 2, and on from the best point so far
        dlr: (max of the other logits - logit_y) / (largest logit - third largest): no scale of the logits changes it

    Of all points that are visited, the given inputs among them, each example keeps the one with the largest margin.

    Args:
        model, inputs, labels, radius, norm, box: as for `prudent.attacks.fgsm`.
        loss: "cross_entropy", or "dlr" for networks so sure of themselves that the cross-entropy has no gradient; it
            needs three classes or more.
        steps: >= 1 from each random point.
        restarts: random points, >= 1.
        seed, ids: as for `prudent.attacks.pgd`.

    Returns: the perturbed inputs and the margins there.

    Raises:
        BadInput: as `pgd`; dlr of fewer than three classes.
        UnknownName: no such loss.

    Source: Croce, Hein 2020, "Reliable Evaluation of Adversarial Robustness with an Ensemble of Diverse Parameter-Free
    Attacks", arXiv:2003.01690, algorithm 1 and equation 6; for dlr the denominator has 1e-12 added.
    """
    check_attack(inputs, labels, radius, norm, box)
    check_choice("loss", loss, AttackLoss)
    if steps < 1 or restarts < 1:
        raise BadInput(f"APGD needs steps >= 1 and restarts >= 1; got steps={steps} and restarts={restarts}")
    inputs = inputs.detach()
    numbers = torch.arange(len(inputs)) if ids is None else ids
    if numbers.shape != inputs.shape[:1]:
        raise BadInput(f"{len(inputs)} inputs need as many ids; got shape {tuple(numbers.shape)}")
    draws = draws_of(f"random points of a ball, {norm}", seed, numbers, inputs)
    with evaluating(model):
        margins, _, _ = _look(model, inputs, labels, loss)
        best = Attacked(inputs=inputs, margins=margins)
        for _ in range(restarts):
            start = into_ball(inputs, points_of_ball(draws, inputs, radius, norm), radius, norm, box)
            best = _climb(model, inputs, labels, start, best, radius, norm, loss, steps, box)
    return best


def checkpoints(steps: int) -> tuple[int, ...]:
    """After which steps the step size is looked at: often in the end, seldom in the beginning.

    p_0 = 0,    p_1 = 0.22,    p_{j+1} = p_j + max(p_j - p_{j-1} - 0.03, 0.06),    step ceil(p_j * steps)
    """
    shares = [0.0, 0.22]
    while shares[-1] <= 1:
        shares.append(shares[-1] + max(shares[-1] - shares[-2] - 0.03, 0.06))
    # rounded, since 0.22 * 50 is a little more than 11 in floats
    return tuple(sorted({math.ceil(round(share * steps, 9)) for share in shares[1:] if share <= 1}))


def _climb(
    model: nn.Module,
    inputs: Tensor,
    labels: Tensor,
    start: Tensor,
    best: Attacked,
    radius: float,
    norm: Norm,
    loss: AttackLoss,
    steps: int,
    box: Box | None,
) -> Attacked:
    """One run from one random point."""
    wide = (-1, *[1] * (inputs.ndim - 1))
    here, before = start, start
    margins, value, gradient = _look(model, here, labels, loss)
    best = better_of(best, here, margins)
    top, at, slope = value, here, gradient
    size = torch.full_like(value, 2 * radius)
    raised, last, kept_size, kept_top = torch.zeros_like(value), 0, size, top
    stops = checkpoints(steps)
    for step in range(1, steps + 1):
        ahead = into_ball(inputs, here + size.reshape(wide) * steepest(gradient, norm) - inputs, radius, norm, box)
        share = 1.0 if step == 1 else MOMENTUM
        change = here + share * (ahead - here) + (1 - share) * (here - before) - inputs
        before, here = here, into_ball(inputs, change, radius, norm, box)
        old = value
        margins, value, gradient = _look(model, here, labels, loss)
        best = better_of(best, here, margins)
        raised = raised + (value > old)
        higher = value > top
        top = torch.where(higher, value, top)
        at, slope = (torch.where(higher.reshape(wide), a, b) for a, b in ((here, at), (gradient, slope)))
        if step in stops:
            stuck = (raised < ENOUGH * (step - last)) | ((size == kept_size) & (top == kept_top))
            kept_size, kept_top, last, raised = size, top, step, torch.zeros_like(raised)
            size = torch.where(stuck, size / 2, size)
            value = torch.where(stuck, top, value)
            here, gradient = (torch.where(stuck.reshape(wide), a, b) for a, b in ((at, here), (slope, gradient)))
    return best


def _look(model: nn.Module, inputs: Tensor, labels: Tensor, loss: AttackLoss) -> tuple[Tensor, Tensor, Tensor]:
    """Margins (n,), the losses (n,) and the gradient of each example's loss at its own input."""
    here = inputs.detach().requires_grad_()
    with torch.enable_grad():
        logits = logits_of(model, here)
        values = cross_entropy(logits, labels, reduction="none") if loss == "cross_entropy" else _dlr(logits, labels)
        (gradient,) = torch.autograd.grad(values.sum(), here)
    return margins_of(logits.detach(), labels), values.detach(), gradient


def _dlr(logits: Tensor, labels: Tensor) -> Tensor:
    if logits.shape[1] < 3:
        raise BadInput(f"the loss 'dlr' needs three classes or more; got {logits.shape[1]}: use 'cross_entropy'")
    largest = logits.topk(3, dim=1).values
    return margins_of(logits, labels) / (largest[:, 0] - largest[:, 2] + 1e-12)
