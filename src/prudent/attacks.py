"""Inputs changed on purpose, so that a network errs: FGSM, PGD and random perturbations within a ball."""

import math
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from prudent.draws import Draws, draws_of
from prudent.errors import BadInput
from prudent.network import evaluating, logits_of

Norm = Literal["linf", "l2"]
Box = tuple[float, float]


@dataclass(frozen=True, kw_only=True, eq=False)
class Attacked:
    """What an attack found.

    Args:
        inputs: (n, ...) the perturbed inputs.
        margins: (n,) largest logit of another class minus that of the true class; above 0 the network errs.
    """

    inputs: Tensor
    margins: Float[Tensor, " n"]


def fgsm(
    model: nn.Module,
    inputs: Tensor,
    labels: Tensor,
    *,
    radius: float = 8 / 255,
    norm: Norm = "linf",
    box: Box | None = (0.0, 1.0),
) -> Attacked:
    """One step along the gradient of the loss, to the edge of the ball (fast gradient sign method).

        linf: x + radius * sign(g),    l2: x + radius * g / |g|,    g = gradient of the cross-entropy, cut to the box

    Args:
        model: answers logits (n, classes); run in evaluation mode. Not changed, nor its gradients.
        inputs: (n, ...) floating point, within the box.
        labels: (n,) true classes.
        radius: of the ball, >= 0, in the units of the inputs.
        norm: largest absolute change of a value, or Euclidean length of the change.
        box: smallest and largest value that an input may have; None for no limit (normalised inputs).

    Returns: the perturbed inputs and the margins there.

    Raises:
        BadInput: inputs outside of the box or not floating point, labels of another length, a negative radius, no such
            norm, a network that does not run on the inputs.

    Source: Goodfellow et al. 2015, "Explaining and Harnessing Adversarial Examples", arXiv:1412.6572; the step for l2
    as in Madry et al. 2018.
    """
    check_attack(inputs, labels, radius, norm, box)
    inputs = inputs.detach()
    with evaluating(model):
        _, gradient = _margin_and_gradient(model, inputs, labels)
        there = into_ball(inputs, radius * steepest(gradient, norm), radius, norm, box)
        margins, _ = _margin_and_gradient(model, there, labels)
    return Attacked(inputs=there, margins=margins)


def pgd(
    model: nn.Module,
    inputs: Tensor,
    labels: Tensor,
    *,
    radius: float = 8 / 255,
    norm: Norm = "linf",
    steps: int = 20,
    step: float | None = None,
    restarts: int = 1,
    box: Box | None = (0.0, 1.0),
    seed: int = 0,
    ids: Tensor | None = None,
) -> Attacked:
    """Steps along the gradient of the loss, each projected back into the ball (projected gradient descent).

    From `restarts` random points of the ball. Of all points that are visited, the given inputs and the random ones
    among them, each example keeps the one with the largest margin. So more steps or restarts never find less, and
    with steps=0 these are random perturbations alone: what they find, any number of steps finds too.

    Args:
        model, inputs, labels, radius, norm, box: as for `fgsm`.
        steps: >= 0 from each random point.
        step: length of a step; None for 2.5 * radius / steps.
        restarts: random points, >= 1.
        seed: of the random points.
        ids: (n,) integers >= 0, which examples these are, for random points that do not depend on the batch; None for
            0, 1, ...

    Returns: the perturbed inputs and the margins there.

    Raises:
        BadInput: as `fgsm`; steps < 0, restarts < 1, a step that is not positive, ids of another length.

    Source: Madry et al. 2018, "Towards Deep Learning Models Resistant to Adversarial Attacks", arXiv:1706.06083; there
    the last point counts, here the best.
    """
    check_attack(inputs, labels, radius, norm, box)
    if steps < 0 or restarts < 1 or (step is not None and not step > 0):
        raise BadInput(
            f"PGD needs steps >= 0, restarts >= 1 and a step above 0; got steps={steps}, restarts={restarts} and "
            f"step={step}"
        )
    inputs = inputs.detach()
    numbers = torch.arange(len(inputs)) if ids is None else ids
    if numbers.shape != inputs.shape[:1]:
        raise BadInput(f"{len(inputs)} inputs need as many ids; got shape {tuple(numbers.shape)}")
    draws = draws_of(f"random points of a ball, {norm}", seed, numbers, inputs)
    length = 2.5 * radius / max(1, steps) if step is None else step
    with evaluating(model):
        margins, _ = _margin_and_gradient(model, inputs, labels)
        best = Attacked(inputs=inputs, margins=margins)
        for _ in range(restarts):
            here = into_ball(inputs, points_of_ball(draws, inputs, radius, norm), radius, norm, box)
            for turn in range(steps + 1):
                margins, gradient = _margin_and_gradient(model, here, labels)
                best = better_of(best, here, margins)
                if turn < steps:
                    change = here + length * steepest(gradient, norm) - inputs
                    here = into_ball(inputs, change, radius, norm, box)
    return best


def check_attack(inputs: Tensor, labels: Tensor, radius: float, norm: str, box: Box | None) -> None:
    """Refuse what an attack cannot start from; what it wants stands at `fgsm`."""
    if norm not in ("linf", "l2"):
        raise BadInput(f"the norm of an attack is 'linf' or 'l2'; got {norm!r}")
    if not 0 <= radius < math.inf:
        raise BadInput(f"the radius of an attack is a finite number >= 0; got {radius}")
    if inputs.ndim < 2 or len(inputs) == 0 or not inputs.is_floating_point():
        raise BadInput(
            f"an attack needs floating point inputs (n, ...); got {inputs.dtype} of shape {tuple(inputs.shape)}"
        )
    if labels.shape != inputs.shape[:1] or labels.is_floating_point():
        raise BadInput(
            f"{len(inputs)} inputs need as many integer labels; got {labels.dtype} of shape {tuple(labels.shape)}"
        )
    low, high = (float(end) for end in inputs.detach().aminmax())
    limits = (-math.inf, math.inf) if box is None else box
    if not (limits[0] <= low and high <= limits[1]):
        raise BadInput(
            f"inputs lie in the box {box}; got values from {low:.4g} to {high:.4g}: give box=None for normalised inputs"
        )


def _margin_and_gradient(model: nn.Module, inputs: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Margins (n,), and the gradient of each example's loss at its own input."""
    here = inputs.detach().requires_grad_()
    with torch.enable_grad():
        logits = logits_of(model, here)
        (gradient,) = torch.autograd.grad(cross_entropy(logits, labels, reduction="sum"), here)
    return margins_of(logits.detach(), labels), gradient


def margins_of(logits: Float[Tensor, "n classes"], labels: Tensor) -> Float[Tensor, " n"]:
    """Largest logit of another class minus that of the true class: (n,), above 0 where the network errs."""
    own = logits.gather(1, labels[:, None])
    return (logits.scatter(1, labels[:, None], -math.inf).amax(1, keepdim=True) - own).squeeze(1)


def _lengths(values: Tensor) -> Tensor:
    lengths: Tensor = torch.linalg.vector_norm(values.flatten(1), dim=1)
    return lengths.reshape(-1, *[1] * (values.ndim - 1))


def steepest(gradient: Tensor, norm: str) -> Tensor:
    """The change of length 1 in the norm along which the loss rises most; 0 where the gradient is."""
    if norm == "linf":
        return gradient.sign()
    # divided twice, since the square of a small gradient is 0
    largest = gradient.flatten(1).abs().amax(1).reshape(-1, *[1] * (gradient.ndim - 1))
    scaled = gradient / largest.masked_fill(largest == 0, 1.0)
    return scaled / _lengths(scaled).masked_fill(largest == 0, 1.0)


def into_ball(inputs: Tensor, change: Tensor, radius: float, norm: str, box: Box | None) -> Tensor:
    """The nearest allowed change, added. Cutting to the box cannot leave the ball, since the inputs are in the box."""
    if norm == "linf":
        change = change.clamp(-radius, radius)
    else:
        lengths = _lengths(change)
        change = change * (radius / lengths.clamp(min=max(radius, torch.finfo(change.dtype).tiny)))
    return inputs + change if box is None else (inputs + change).clamp(*box)


def points_of_ball(draws: Draws, inputs: Tensor, radius: float, norm: str) -> Tensor:
    """Uniformly distributed points of the ball."""
    shape = inputs.shape[1:]
    if norm == "linf":
        return radius * (2 * draws.uniform(*shape) - 1)
    outward = draws.normal(*shape)
    # in d dimensions the share of the ball within r is r^d
    reach = draws.uniform(*[1] * len(shape)) ** (1 / math.prod(shape))
    return radius * reach * outward / _lengths(outward)


def better_of(best: Attacked, inputs: Tensor, margins: Tensor) -> Attacked:
    """Of each example the one of two perturbed inputs whose margin is larger, the first if they are equal."""
    more = margins > best.margins
    wide = more.reshape(-1, *[1] * (inputs.ndim - 1))
    return Attacked(
        inputs=torch.where(wide, inputs, best.inputs), margins=torch.where(more, margins, best.margins)
    )  # fmt: skip
