"""SiPP: weights by their largest share of a neuron's value, kept or sampled."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from prudent.batches import Batch
from prudent.masks import select
from prudent.network import Reweighted, Scores, prunable
from prudent.observation import needed
from prudent.sampling import arrivals, corrections, relative_error
from prudent.scopes import check_choice, check_sparsity
from prudent.seeds import stream
from prudent.sensitivities import C, Sensitivity, weight_sensitivities

NEEDS = ("data",)
UNIT = "weight"

Mode = Literal["deterministic", "randomised", "hybrid"]


def sipp(
    model: nn.Module,
    batches: Iterable[Batch] | None = None,
    *,
    mode: Mode = "deterministic",
    delta: float = 1e-16,
    examples: int | None = None,
    sparsity: float = 0.5,
    seed: int = 0,
) -> Scores:
    """Sensitivity of each weight (deterministic), or the gain of drawing one weight more (randomised, hybrid).

        s_ij = max over examples of w_ij a_j / sum_k w_ik a_k,  over k of the same signs
        deterministic:  score = s_ij                        (mean over a convolution's positions)
        randomised:     score = l (eps_i(n - 1) - eps_i(n)) (max over positions) for the n-th distinct weight drawn,
                        with p_j = s_ij / sum_j s_ij, among the weights of one sign of filter i
        eps_i(n) = A + sqrt(A ** 2 + 6 A),  A = C ln(8 (positions + 1) kernel / delta) sum_j s_ij / (3 n),
        l = 1 / filters of the layer

    The paper minimises sum_i l_i eps_i(n_i) under sum_i n_i <= budget. eps is convex and decreasing, so the optimum has
    one threshold on the gain for all filters: keeping the highest scores under scope="global" is the optimal allocation
    in whole numbers, for every budget at once. The first weight of each filter and sign comes before all others.

    Kept weights are divided by their chance of having been drawn (see prudent.sampling), so that the new weights are
    right on average, and equal to the old ones where nothing of a filter's sign is removed. n_i depends on the
    sensitivities, not on what is drawn; this is what makes both the count exact and the average right.

    Hybrid: for each filter and sign, with the n of the global optimum at `sparsity`, whichever is smaller: eps(n), or
    the deterministic bound C sum of the s that are not among the n highest; the latter kept in order of s, unchanged.

    Args:
        model: any network of linear and convolution layers. Not changed.
        batches: inputs, with labels or without; the first `examples` of them are read.
        mode: "deterministic", "randomised" or "hybrid".
        delta: chance that the bounds fail, in (0, 1).
        examples: how many examples to use; None for ceil(3 ln(8 neurons (neurons of the largest layer) / delta)),
            or all if there are fewer.
        sparsity: for hybrid's choice alone, in [0, 1); `prune` fills it in.
        seed: of generators of its own, for the drawing.

    Returns: deterministic: sensitivities in [0, 1]; else `Reweighted` with float64 scores; of the weights' shapes,
    without unit, higher = keep. `.weights` corrects filters whose kept weights are those drawn first, and no others.

    Raises:
        BadInput: no data; delta, examples or sparsity out of range; a layer that does not run.
        UnknownName: no such mode.
        CannotPrune: nothing prunable, or a transposed convolution.

    Source: Baykal et al. 2022, "SiPPing Neural Networks: Sensitivity-informed Provable Pruning of Neural Networks",
    arXiv:1910.05422. There N draws with replacement are made so that about n distinct weights are expected, and the
    weights are multiplied by count / (N p): unbiased too, but of random size. Here n is exact, and the chance of having
    been drawn stands in the place of the count. In eps the authors' code has 3 A for 6 A (in these letters), which
    Bernstein's inequality does not give.
    """
    check_choice("mode", mode, Mode)
    check_sparsity(sparsity)
    found = weight_sensitivities(
        model,
        needed(batches, score="sipp"),
        over="mean" if mode == "deterministic" else "max",
        delta=delta,
        examples=examples,
    )
    if mode == "deterministic":
        return {name: layer.values for name, layer in found.items()}
    weights = {name: weight.detach().clone() for name, weight in prunable(model).items()}
    drawn = {
        name: _drawn(weights[name], found[name], (seed * 1_000_003 + place) % 2**63)
        for place, name in enumerate(weights)
    }
    scores = _scores(drawn, weights)
    if mode == "hybrid":
        kept = select(scores, sparsity).kept
        drawn = {name: _with_the_better(part, kept[name].to(part.times.device)) for name, part in drawn.items()}
        scores = _scores(drawn, weights)

    def new_weights(kept: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        return {name: weights[name] * _corrections(part, kept[name]).to(weights[name])
                for name, part in drawn.items()}  # fmt: skip

    return Reweighted(scores, new_weights)


@dataclass(frozen=True, eq=False)
class _Drawn:
    """The drawing of one layer. Leading axis: weights that are positive, weights that are negative.

    shares (2, filters, columns): sensitivities, 0 for weights of the other sign; times, of that shape: when each is
    drawn; total (2, filters, 1): what the bound is computed from; fixed (2, filters, 1): kept by size, not drawn.
    """

    shares: Tensor
    times: Tensor
    total: Tensor
    fixed: Tensor

    @property
    def probabilities(self) -> Tensor:
        """Chance of each weight in one draw; 0 where nothing of the sign has a share."""
        sums = self.shares.sum(dim=-1, keepdim=True)
        return torch.where(sums > 0, self.shares / sums, 0.0)


def _drawn(weight: Tensor, sensitivity: Sensitivity, seed: int) -> _Drawn:
    values = sensitivity.values.double().flatten(1)
    flat = weight.flatten(1)
    shares = torch.stack([values * (flat > 0), values * (flat < 0)])
    total = sensitivity.log_term * shares.sum(dim=-1, keepdim=True)
    drawn = _Drawn(shares, shares, total, torch.zeros_like(total, dtype=torch.bool))
    times = arrivals(drawn.probabilities, generator=torch.Generator().manual_seed(stream("sipp draws", seed)))
    return _Drawn(shares, times, total, drawn.fixed)


def _gains(drawn: _Drawn) -> tuple[Tensor, Tensor]:
    """What the bound gains by each weight, in the order in which they come, and which weights are the first."""
    order = drawn.times.argsort(dim=-1, stable=True)
    place = torch.empty_like(drawn.times).scatter_(
        -1, order, torch.arange(1, order.shape[-1] + 1, device=order.device).double().expand_as(drawn.times)
    )
    first = place == 1
    after = relative_error(place, drawn.total)
    gain = torch.where(first, after, relative_error((place - 1).clamp_min(1), drawn.total) - after)
    return gain / drawn.shares.shape[1], first


def _scores(drawn: Mapping[str, _Drawn], weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    gains = {name: _gains(part) for name, part in drawn.items()}
    # without any of a filter's weights its error is unbounded: the first ones come before all others
    top = max(float(gain.masked_fill(first, 0.0).max()) for gain, first in gains.values())
    scores = {}
    for name, (gain, first) in gains.items():
        possible = drawn[name].shares > 0
        both = torch.where(possible, gain + top * first, 0.0).sum(dim=0)
        scores[name] = both.reshape(weights[name].shape)
    return scores


def _with_the_better(drawn: _Drawn, kept: Tensor) -> _Drawn:
    """The drawing in which filters whose deterministic bound is smaller keep their highest sensitivities."""
    of_sign = drawn.shares > 0
    n = (kept.flatten(1) & of_sign).sum(dim=-1, keepdim=True)
    ordered = drawn.shares.sort(dim=-1, descending=True).values
    places = torch.arange(ordered.shape[-1], device=n.device)
    lost = C * ordered.masked_fill(places < n, 0.0).sum(dim=-1, keepdim=True)
    fixed = lost <= relative_error(n, drawn.total)
    times = torch.where(fixed, torch.where(of_sign, 1 / drawn.shares, torch.inf), drawn.times)
    return _Drawn(drawn.shares, times, drawn.total, fixed)


def _corrections(drawn: _Drawn, kept: Tensor) -> Tensor:
    """What each weight is multiplied with, of the mask's shape."""
    of_sign = drawn.shares > 0
    # weights of the other sign count as kept here: they take no part in this sign's drawing
    factors = corrections(drawn.probabilities, drawn.times, kept.flatten(1) | ~of_sign)
    return torch.where(of_sign & ~drawn.fixed, factors, 1.0).prod(dim=0).reshape(kept.shape)
