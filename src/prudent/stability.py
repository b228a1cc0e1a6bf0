"""How far the channels of a network are from switching their ReLU on or off under small changes of its input."""

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn

from prudent.batches import Batch
from prudent.ends import ends_of, sides
from prudent.errors import BadInput
from prudent.network import evaluating
from prudent.observation import unlabelled


def channel_stability(
    model: nn.Module, batches: Iterable[Batch], norms: Mapping[str, nn.Module], *, radius: float
) -> dict[str, Tensor]:
    """Mean stability of what each channel of batch normalisations becomes, by interval bound propagation.

        stability(c) = mean over examples and places of    tanh(1 + l * u / gamma_c ** 2)

    l and u are the ends of what comes out of the normalisation if every value of the input changes by up to `radius`,
    and gamma its scale, without gradients. A ReLU on it is stable where l * u >= 0, where the summand is at least
    tanh(1) = 0.76; the more of the interval lies on both sides of 0, the closer it is to -1.

    Args:
        model: linear, convolution, normalisation and pooling layers with ReLU, sums and reshaping. Run in evaluation
            mode; not changed, and gradients flow unless they are off.
        batches: inputs (batch, ...), labels are not needed. Read once.
        norms: name -> batch normalisation within `model`.
        radius: largest change of a value of the input (L-infinity), > 0.

    Returns: name -> (channels,) in [-1, 1], without unit; higher = more stable.

    Raises:
        BadInput: a radius that is not positive and finite, no examples, a network that intervals cannot be sent
            through.

    Source: Li et al. 2022, "Can pruning improve certified robustness of neural networks?", arXiv:2206.07311 (NRSLoss,
    whose value is minus the mean of this), after Xiao et al. 2019, arXiv:1809.03008.
    """
    if not 0 < radius < float("inf"):
        raise BadInput(f"stability is asked for at a radius above 0, and finite; got {radius}")
    totals: dict[str, Tensor] = {}
    seen: dict[str, int] = dict.fromkeys(norms, 0)

    def add(name: str, norm: nn.Module, answer: Tensor) -> None:
        low, high = sides(answer)
        gamma = getattr(norm, "weight", None)
        square = torch.ones_like(low[0, :1]) if gamma is None else gamma.detach() ** 2
        square = square.clamp(min=torch.finfo(low.dtype).tiny).reshape(1, -1, *[1] * (low.ndim - 2))
        # divided one by one, since the product of wide intervals overflows before it is divided
        stable = torch.tanh(1 + (low / square.sqrt()) * (high / square.sqrt()))
        totals[name] = totals.get(name, 0) + stable.transpose(0, 1).flatten(1).sum(1)
        seen[name] += stable[:, 0].numel()

    handles = [
        norm.register_forward_hook(lambda module, _, answer, name=name: add(name, module, answer))
        for name, norm in norms.items()
    ]
    empty = True
    try:
        with evaluating(model):
            for inputs in unlabelled(batches, model):
                empty = False
                model(ends_of(inputs - radius, inputs + radius))
    finally:
        for handle in handles:
            handle.remove()
    if empty:
        raise BadInput("data are needed; the batches were empty")
    return {name: totals[name] / seen[name] for name in norms if name in totals}
