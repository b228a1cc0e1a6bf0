"""Tighter than intervals: linear bounds of a network over a box, pulled back from its answers to its inputs (CROWN)."""

import copy
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from prudent.enclosures import Enclosure, after, ball, check_ball, layers_of
from prudent.errors import BadInput
from prudent.scopes import check_choice

Inner = Literal["crown", "interval"]

AFFINE = (
    nn.Linear, nn.Conv1d, nn.Conv2d, nn.BatchNorm1d, nn.BatchNorm2d, nn.AvgPool1d, nn.AvgPool2d, nn.AdaptiveAvgPool1d,
    nn.AdaptiveAvgPool2d, nn.Flatten,
)  # fmt: skip
"""Layers that are a linear map and a shift, in evaluation: coefficients are pulled back through them as gradients."""

PART = 2**22
"""Coefficients that are worked on at a time, so that memory does not grow with the number of neurons."""

Ends = list[tuple[Tensor, Tensor]]


def enclose_linearly(model: nn.Module, low: Tensor, high: Tensor, *, inner: Inner = "crown") -> Enclosure:
    """Intervals for the answers of a network to all inputs between `low` and `high`, by linear relaxation.

        relu of x in [l, u], l < 0 < u:    a * x <= relu(x) <= u * (x - l) / (u - l),    a = 1 if u > -l else 0
        A f(x) + b >= A' x + b' for all x of the box, hence >= its least value there

    The least value is taken at every layer on the way back, not only at the inputs, and the best one counts: so no end
    is looser than that of `enclose`. Max pooling is not relaxed: there the way back ends.

    Args:
        model: as for `enclose`.
        low, high: (n, ...) ends of the box of each input, low <= high.
        inner: where the bounds of ReLU inputs come from: "crown" pulls each neuron back that is unstable by intervals,
            which takes as many passes as there are such neurons; "interval" takes the intervals (CROWN-IBP).

    Returns: (n, classes) intervals in float64, in exact arithmetic as for `enclose`, and the unstable fractions that
    are left.

    Raises:
        BadInput: as `enclose`.
        UnknownName: no such `inner`.

    Source: Zhang et al. 2018, "Efficient Neural Network Robustness Certification with General Activation Functions",
    arXiv:1811.00866; CROWN-IBP: Zhang et al. 2020, arXiv:1906.06316. The best of several depths is ours.
    """
    check_choice("inner", inner, Inner)
    layers = _copies(model)
    ends = _all_ends(layers, low, high, inner)
    answer = ends[-1]
    identity = torch.eye(answer[0][0].numel(), dtype=torch.float64, device=low.device)
    coefficients = identity.reshape(1, -1, *answer[0].shape[1:]).expand(len(low), *[-1] * answer[0].ndim)
    least = _least(layers, ends, torch.cat([coefficients, -coefficients], dim=1))
    first, second = least.chunk(2, dim=1)
    tight = _meet(answer, first.reshape(answer[0].shape), -second.reshape(answer[0].shape))
    relus = [own for own, layer in zip(ends, layers, strict=False) if isinstance(layer, nn.ReLU)]
    unstable = tuple(float(((a < 0) & (b > 0)).double().mean()) for a, b in relus)
    return Enclosure(low=tight[0], high=tight[1], unstable=unstable)


def relaxed_margins(
    model: nn.Module,
    inputs: Tensor,
    labels: Tensor,
    *,
    radius: float,
    box: tuple[float, float] | None = (0.0, 1.0),
    inner: Inner = "crown",
) -> Float[Tensor, " n"]:
    """How far the true class stays ahead of every other one, at least: as `proved_margins`, and never looser.

        min over classes j other than y of a lower end of    logit_y - logit_j

    The differences themselves are pulled back, which is tighter than comparing two intervals.

    Args:
        model, inputs, labels, radius, box: as for `proved_margins`; the last layer may be any.
        inner: as for `enclose_linearly`.

    Returns: (n,) float64; above 0 the example is certified. Their share is the certified accuracy, and one minus it is
    at least the error that any attack within the radius can cause.

    Raises:
        BadInput: as `proved_margins`.
        UnknownName: no such `inner`.

    Source: Zhang et al. 2018, arXiv:1811.00866, section 3.
    """
    check_choice("inner", inner, Inner)
    check_ball(inputs, labels, radius, box)
    layers = _copies(model)
    ends = _all_ends(layers, *ball(inputs.double(), radius, box), inner)
    if ends[-1][0].ndim != 2:
        raise BadInput(f"margins need logits (n, classes); the network answers {tuple(ends[-1][0].shape)}")
    identity = torch.eye(ends[-1][0].shape[1], dtype=torch.float64, device=inputs.device)
    least = _least(layers, ends, identity[labels][:, None] - identity)
    return least.scatter(1, labels[:, None], float("inf")).amin(1)


def _copies(model: nn.Module) -> tuple[nn.Module, ...]:
    """The layers in float64 and evaluation mode, without gradients of their own."""
    return tuple(copy.deepcopy(layer).double().eval().requires_grad_(requires_grad=False) for layer in layers_of(model))


def _all_ends(layers: tuple[nn.Module, ...], low: Tensor, high: Tensor, inner: Inner) -> Ends:
    """The ends before each layer, and after the last one."""
    if low.shape != high.shape or low.ndim < 2 or not bool((low <= high).all()):
        raise BadInput(
            f"a box needs two ends of one shape (n, ...), low <= high; got {tuple(low.shape)} and {tuple(high.shape)}"
        )
    ends: Ends = [(low.double(), high.double())]
    with torch.no_grad():
        for i, layer in enumerate(layers):
            if inner == "crown" and isinstance(layer, nn.ReLU) and not _exact(layers[:i]):
                ends[-1] = _tightened(layers[:i], ends)
            ends.append(after(layer, *ends[-1]))
    return ends


def _exact(layers: tuple[nn.Module, ...]) -> bool:
    """Whether intervals are exact behind these layers: one linear map of a box, and scalings of single values."""
    mixing = [layer for layer in layers if not isinstance(layer, (nn.BatchNorm1d, nn.BatchNorm2d, nn.Flatten))]
    return len(mixing) <= 1 and all(isinstance(layer, AFFINE) for layer in mixing)


def _tightened(layers: tuple[nn.Module, ...], ends: Ends) -> tuple[Tensor, Tensor]:
    """The ends before a ReLU, with those of its unstable neurons pulled back."""
    low, high = ends[-1]
    flat_low, flat_high = low.flatten(1).clone(), high.flatten(1).clone()
    waiting = ((flat_low < 0) & (flat_high > 0)).any(0).nonzero().squeeze(1)
    widest = max(one[0].numel() for one, _ in ends)
    for part in torch.split(waiting, max(1, PART // (2 * len(low) * widest))):
        chosen = flat_low.new_zeros(len(part), flat_low.shape[1])
        chosen[torch.arange(len(part)), part] = 1
        coefficients = torch.cat([chosen, -chosen]).reshape(1, -1, *low.shape[1:]).expand(len(low), *[-1] * low.ndim)
        first, second = _least(layers, ends, coefficients).chunk(2, dim=1)
        own = flat_low[:, part], flat_high[:, part]
        # of each example its own unstable neurons only: what others are in the batch must not matter
        unstable = (own[0] < 0) & (own[1] > 0)
        met = _meet(own, first, -second)
        flat_low[:, part], flat_high[:, part] = (torch.where(unstable, m, o) for m, o in zip(met, own, strict=True))
    return flat_low.reshape(low.shape), flat_high.reshape(high.shape)


def _meet(ends: tuple[Tensor, Tensor], low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
    """What lies in both intervals; of a single point, where rounding may have parted them, the span of the two."""
    low, high = torch.maximum(ends[0], low), torch.minimum(ends[1], high)
    return torch.minimum(low, high), torch.maximum(low, high)


def _least(layers: tuple[nn.Module, ...], ends: Ends, coefficients: Tensor) -> Tensor:
    """Lower bounds (n, k) of k linear functions of what comes out of `layers`: coefficients (n, k, ...)."""
    constant = coefficients.new_zeros(coefficients.shape[:2])
    best = _at(ends[len(layers)], coefficients)
    with torch.no_grad():
        for i in range(len(layers) - 1, -1, -1):
            layer = layers[i]
            if isinstance(layer, nn.ReLU):
                coefficients, shift = _behind_relu(coefficients, *ends[i])
            elif isinstance(layer, AFFINE):
                coefficients, shift = _behind_affine(layer, coefficients, ends[i][0])
            else:
                break
            constant = constant + shift
            best = torch.maximum(best, _at(ends[i], coefficients) + constant)
    return best


def _at(ends: tuple[Tensor, Tensor], coefficients: Tensor) -> Tensor:
    """The least value of linear functions on a box."""
    middle, spread = (ends[1] + ends[0]) / 2, (ends[1] - ends[0]) / 2
    least = torch.einsum("nki,ni->nk", coefficients.flatten(2), middle.flatten(1))
    return least - torch.einsum("nki,ni->nk", coefficients.flatten(2).abs(), spread.flatten(1))


def _behind_relu(coefficients: Tensor, low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
    """Coefficients of the input of a ReLU, and the constant of a lower bound."""
    on, off = (low >= 0).double(), (high <= 0) & (low < 0)
    unstable = (low < 0) & (high > 0)
    chord = torch.where(unstable, high / (high - low).masked_fill(~unstable, 1), on)
    under = torch.where(unstable, (high > -low).double(), on).masked_fill(off, 0)
    positive, negative = coefficients.clamp(min=0), coefficients.clamp(max=0)
    shift = (-chord * low).masked_fill(~unstable, 0)
    return (
        positive * under[:, None] + negative * chord[:, None],
        torch.einsum("nki,ni->nk", negative.flatten(2), shift.flatten(1)),
    )


def _behind_affine(layer: nn.Module, coefficients: Tensor, like: Tensor) -> tuple[Tensor, Tensor]:
    """Coefficients of the input of an affine layer, and what its shift adds."""
    n, k = coefficients.shape[:2]
    with torch.enable_grad():
        origin = like.new_zeros(n * k, *like.shape[1:]).requires_grad_()
        answer = layer(origin)
        parts = coefficients.reshape(answer.shape)
        (gradient,) = torch.autograd.grad(answer, origin, parts)
    constant = (parts * answer.detach()).flatten(1).sum(1).reshape(n, k)
    return gradient.reshape(n, k, *like.shape[1:]), constant
