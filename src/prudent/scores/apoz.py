"""Average percentage of zeros."""

from collections.abc import Iterable

from torch import Tensor, nn

from prudent.activations import channel_means
from prudent.batches import Batch
from prudent.errors import BadInput, CannotPrune
from prudent.network import Scores, prunable
from prudent.observation import needed
from prudent.surgery.chain import links

NEEDS = ("data",)
UNIT = "channel"

MAKES_ZEROS = (nn.ReLU, nn.ReLU6, nn.Hardswish)
"""Activations that answer exactly zero on a whole range of inputs."""


def apoz(model: nn.Module, batches: Iterable[Batch] | None = None, *, threshold: float | None = None) -> Scores:
    """How often each channel's activation is not zero: 1 minus the average percentage of zeros (APoZ).

        score(c) = 1 - 1/(N M) sum_n sum_m [a_c(x_n, m) = 0]

    a is what the layer hands on after its activation function and before pooling, N the number of examples, M that of
    positions in the map (1 for linear layers): every position counts, not only maps that are zero throughout. The
    network runs in evaluation mode.

    Args:
        model: a plain network. Not changed.
        batches: inputs, with labels or without, of the train or validation split; read once.
        threshold: count |a| <= threshold as zero, >= 0, in the activation's units. None counts exact zeros, and
            refuses activations that make none (a GELU's would be those that rounding makes).

    Returns: one float64 tensor (channels,) for each layer whose channels can be removed, shares in [0, 1];
    higher = keep.

    Raises:
        BadInput: no data, a threshold below 0.
        CannotPrune: nothing to prune, a network that is not plain, or an activation without zeros and no threshold.

    Source: Hu et al. 2016, "Network Trimming: A Data-Driven Neuron Pruning Approach towards Efficient Deep
    Architectures", arXiv:1607.03250, equation 1. With `threshold`, ours.
    """
    prunable(model)
    chain = links(model)
    if threshold is None:
        modules = dict(model.named_modules())
        for link in chain:
            if not isinstance(modules[link.activation], MAKES_ZEROS):
                raise CannotPrune(
                    f"score 'apoz' counts zeros; activation {link.activation!r} "
                    f"({type(modules[link.activation]).__name__}) of layer {link.layer!r} makes no exact ones: pass "
                    "threshold=..., or use score 'activation_mean'"
                )
    elif not threshold >= 0:
        raise BadInput(f"score 'apoz' counts |activation| <= threshold, which is 0 or more; got {threshold}")
    limit = 0.0 if threshold is None else threshold

    def is_active(activation: Tensor) -> Tensor:
        return (activation.abs() > limit) + 0 * activation  # NaN and infinity become NaN, and are refused

    return channel_means(model, chain, needed(batches, score="apoz"), is_active)
