"""Average percentage of zeros."""

from collections.abc import Iterable, Sequence

from torch import Tensor, nn

from prudent.activations import channel_means, read_means
from prudent.batches import Batch
from prudent.couplings import Couplings, couplings
from prudent.errors import BadInput, CannotPrune
from prudent.network import Scores, prunable
from prudent.observation import needed
from prudent.surgery.chain import Link, links
from prudent.surgery.layouts import Layout

NEEDS = ("data",)
UNIT = "channel"

MAKES_ZEROS = (nn.ReLU, nn.ReLU6, nn.Hardswish)
"""Activations that answer exactly zero on a whole range of inputs."""

OPERATIONS = frozenset({"relu", "relu6", "hardswish"})
"""The same, as a traced network calls them."""


def apoz(
    model: nn.Module,
    batches: Iterable[Batch] | None = None,
    *,
    threshold: float | None = None,
    layout: Layout | None = None,
) -> Scores:
    """How often each channel's activation is not zero: 1 minus the average percentage of zeros (APoZ).

        score(c) = 1 - 1/(N M) sum_n sum_m [a_c(x_n, m) = 0]

    a is what the layer hands on after its activation function and before pooling, N the number of examples, M that of
    positions in the map (1 for linear layers): every position counts, not only maps that are zero throughout. The
    network runs in evaluation mode.

    In a traced network a is what the layers that read the channel get, after normalisation, sum, activation function
    and pooling, and a channel that several layers read has the mean over them: ours, the paper has no such networks.

    Args:
        model: a plain network, or one that was traced. Not changed.
        batches: inputs, with labels or without, of the train or validation split; read once.
        threshold: count |a| <= threshold as zero, >= 0, in the activation's units. None counts exact zeros, and
            refuses activations that make none (a GELU's would be those that rounding makes).
        layout: the units of a traced network (see prudent.granularities.layout_for); `prune` fills it in. None for
            networks that are plain.

    Returns: one float64 tensor (channels,) for each layer whose channels can be removed, or of the shape of the
    layout's units, shares in [0, 1]; higher = keep.

    Raises:
        BadInput: no data, a threshold below 0.
        CannotPrune: nothing to prune, a network that is neither plain nor traced, channels that no layer reads, or an
            activation without zeros and no threshold.

    Source: Hu et al. 2016, "Network Trimming: A Data-Driven Neuron Pruning Approach towards Efficient Deep
    Architectures", arXiv:1607.03250, equation 1. With `threshold`, ours.
    """
    prunable(model)
    if threshold is not None and not threshold >= 0:
        raise BadInput(f"score 'apoz' counts |activation| <= threshold, which is 0 or more; got {threshold}")
    limit = 0.0 if threshold is None else threshold

    def is_active(activation: Tensor) -> Tensor:
        return (activation.abs() > limit) + 0 * activation  # NaN and infinity become NaN, and are refused

    if layout is None:
        chain = links(model)
        if threshold is None:
            _check_chain(model, chain)
        return channel_means(model, chain, needed(batches, score="apoz"), is_active)
    coupled = couplings(model, layout)
    coupled.check_read("apoz")
    if threshold is None:
        _check_sources(coupled)
    return read_means(model, coupled, needed(batches, score="apoz"), is_active)


def _check_chain(model: nn.Module, chain: Sequence[Link]) -> None:
    for link in chain:
        activation = model.get_submodule(link.activation)
        if not isinstance(activation, MAKES_ZEROS):
            raise CannotPrune(
                f"score 'apoz' counts zeros; activation {link.activation!r} ({type(activation).__name__}) of layer "
                f"{link.layer!r} makes no exact ones: pass threshold=..., or use score 'activation_mean'"
            )


def _check_sources(coupled: Couplings) -> None:
    for reader in coupled.readers:
        others = sorted(reader.after - OPERATIONS)
        if others:
            raise CannotPrune(
                f"score 'apoz' counts zeros; what layer {reader.reader!r} reads comes from {others[0]!r}, which makes "
                "no exact ones: pass threshold=..., or use score 'activation_mean'"
            )
