"""Which class, corruption and strangers pruning hurt most, each with a paired test, corrected for the search.

Every test asks the same: had the two networks changed places on an example, would that example have looked as likely?
Then each example's harm could as well have the other sign, and the sum over examples is compared with all sums under
other signs. Nothing is assumed about how harm is distributed, or how it goes together between what is looked at. For
errors that is exact; for strangers, whose ranks depend on all examples, it holds to first order.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float64, Int64
from scipy.special import betainc, gammaln

from prudent.detection import auroc
from prudent.errors import BadInput
from prudent.seeds import stream

Kind = Literal["class", "corruption", "strangers"]

SMALLEST = 1e-300
"""No p-value is written as 0: no finite number of examples rules anything out."""

DRAWN = 9_999
"""Draws of signs; no p-value by draws is below 1 / (1 + this)."""

ROWS = 256
"""Draws at a time."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Look:
    """One thing that was looked at, the same examples under both networks.

    Args:
        kind, name: what it is.
        harm: (n,) how much worse the pruned network does on each example, in whole units; below 0 it does better.
        dense, pruned: error rates in [0, 1], or of strangers 1 - AUROC: lower is better.
        sides: samples whose harms each add up to the whole harm: 2 for strangers and known examples. With more than
            one, signs are drawn instead of enumerated.
    """

    kind: Kind
    name: str
    harm: Int64[np.ndarray, " n"]
    dense: float
    pruned: float
    sides: int = 1


@dataclass(frozen=True, kw_only=True)
class Hit:
    """How hard one thing was hit.

    Args:
        kind, name, dense, pruned: as in `Look`.
        n: examples.
        p_value: of no harm, by itself.
        adjusted: the same, corrected for everything that was looked at with it.
    """

    kind: Kind
    name: str
    dense: float
    pruned: float
    n: int
    p_value: float
    adjusted: float

    @property
    def harm(self) -> float:
        """pruned - dense; above 0 the pruned network is worse."""
        return self.pruned - self.dense


def hits(looks: Sequence[Look], *, seed: int = 0) -> tuple[Hit, ...]:
    """Test everything that was looked at, with Holm's correction for all of it together.

    The chance that any harm is called so at adjusted <= delta, though there is none anywhere, is at most delta; about
    delta as far as strangers are among it.

    Args:
        looks: at least one.
        seed: of drawn signs.

    Returns: one for each look, in their order.

    Raises:
        BadInput: nothing was looked at.
    """
    if not looks:
        raise BadInput("at least one class, corruption or set of strangers is looked at; got none")
    p_values = [
        paired_p_value(one.harm) if one.sides == 1 else drawn_p_value(one.harm, sides=one.sides, seed=seed)
        for one in looks
    ]
    adjusted = holm_adjusted(np.array(p_values, np.float64))
    return tuple(
        Hit(kind=one.kind, name=one.name, dense=one.dense, pruned=one.pruned, n=len(one.harm), p_value=p, adjusted=a)
        for one, p, a in zip(looks, p_values, adjusted.tolist(), strict=True)
    )


def hardest(found: Sequence[Hit], kind: Kind) -> Hit | None:
    """The hit of a kind with the largest harm, the first of equals; None where nothing of that kind was hurt."""
    return max((one for one in found if one.kind == kind and one.harm > 0), key=lambda one: one.harm, default=None)


def class_looks(
    pruned: Bool[np.ndarray, " n"], dense: Bool[np.ndarray, " n"], labels: Int64[np.ndarray, " n"], names: Sequence[str]
) -> list[Look]:
    """The error on the examples of each class that occurs.

    Args:
        pruned, dense: (n,) whether each network is wrong on each example.
        labels: (n,) true classes.
        names: of the classes.
    """
    return [
        _look("class", name, [(pruned[labels == c], dense[labels == c])])
        for c, name in enumerate(names)
        if (labels == c).any()
    ]


def corruption_looks(
    wrong: Mapping[str, Sequence[tuple[Bool[np.ndarray, " n"], Bool[np.ndarray, " n"]]]],
) -> list[Look]:
    """The error under each corruption, severities together: an example's harm is the sum over them.

    Args:
        wrong: corruption -> for each severity whether the pruned and the dense network are wrong, on the same examples.
    """
    return [_look("corruption", name, pairs) for name, pairs in wrong.items()]


def stranger_look(
    name: str,
    pruned: tuple[Float64[np.ndarray, " n"], Float64[np.ndarray, " m"]],
    dense: tuple[Float64[np.ndarray, " n"], Float64[np.ndarray, " m"]],
) -> Look:
    """How much worse the strangers of a set are told from the task, by the ranks of their scores.

        harm of a stranger = known examples below it, dense - known examples below it, pruned; ties count half
        harm of a known example = strangers above it, dense - strangers above it, pruned; ties count half

    Each kind adds up to strangers x known examples x the loss of AUROC. Both kinds are there because both are samples:
    with strangers alone, what the two networks make of the known ones by luck looks like harm to every stranger. Ranks
    are within each network, so that its scale does not matter. Unlike the tests of errors this one is not exact: it
    holds to first order in what a single example changes (as DeLong's does), from about 20 of each kind on.

    Args:
        name: of the set.
        pruned, dense: OOD scores (known, strangers) of each network, higher = more OOD; the same examples.

    Returns: the harms of all strangers, then those of all known examples, in half examples.

    Source: DeLong et al. 1988, "Comparing the Areas under Two or More Correlated Receiver Operating Characteristic
    Curves: A Nonparametric Approach" (arXiv: none), for the parts; drawing their signs is ours.
    """
    each = [np.concatenate([_below(known, ood), _below(-ood, -known)]) for known, ood in (dense, pruned)]
    values = [1 - auroc(*scores) for scores in (dense, pruned)]
    return Look(kind="strangers", name=name, harm=each[0] - each[1], dense=values[0], pruned=values[1], sides=2)


def paired_p_value(harm: Int64[np.ndarray, " n"]) -> float:
    """Chance of at least so much harm in total, were the sign of each example's harm a fair coin: exact.

        P(sum of s_i |h_i| >= sum of h_i),    s_i = +1 or -1 with chance 1/2 each

    For harm of -1, 0 and 1 it is McNemar's exact test, one-sided: P(Binomial(b + c, 1/2) >= b).

    Args:
        harm: (n,) whole numbers; the work grows with the sum of their sizes.

    Returns: in (0, 1]; lower = stronger evidence of harm.

    Source: McNemar 1947; Fisher 1935, "The Design of Experiments", section 21 (arXiv: none).
    """
    sizes, counts = np.unique(np.abs(harm[harm != 0]), return_counts=True)
    # what falls on the harmful side: the sum of sizes whose sign is +
    reached = int(harm[harm > 0].sum())
    if len(sizes) == 1:
        k, n = reached // int(sizes[0]), int(counts[0])
        return 1.0 if k == 0 else max(SMALLEST, float(betainc(k, n - k + 1, 0.5)))
    chances = np.ones(1)
    for size, count in zip(sizes.tolist(), counts.tolist(), strict=True):
        own = np.zeros(size * count + 1)
        own[::size] = _fair_coins(count)
        chances = np.convolve(chances, own)
    # a sum of many positive numbers may end a rounding above 1
    return min(1.0, max(SMALLEST, float(chances[reached:].sum())))


def drawn_p_value(harm: Int64[np.ndarray, " n"], *, draws: int = DRAWN, sides: int = 1, seed: int = 0) -> float:
    """`paired_p_value` by drawing signs: valid at any number of draws, for harm of any size.

        (1 + draws that reach the total harm / sides) / (1 + draws)

    Args:
        harm: (n,) whole numbers.
        draws: >= 1; no p-value is below 1 / (1 + draws).
        sides: samples whose harms each add up to the harm that is tested, as in `Look`; above 1 the p-value holds to
            first order only.
        seed: of the draws.

    Raises:
        BadInput: draws < 1, sides < 1.

    Source: Phipson, Smyth 2010, "Permutation P-values Should Never Be Zero", arXiv:1603.05766.
    """
    if draws < 1:
        raise BadInput(f"at least one draw of signs is needed; got draws={draws}")
    if sides < 1:
        raise BadInput(f"harms are of at least one sample; got sides={sides}")
    own = harm[harm != 0].astype(np.float64)  # sums of whole numbers below 2^53 are exact
    generator = np.random.default_rng(stream("signs of harm", seed))
    # the sum under drawn signs is twice what falls on the harmful side, less all of it
    sizes, reached, least = np.abs(own), 0, (own.sum() / sides + np.abs(own).sum()) / 2
    for start in range(0, draws, ROWS):
        rows = min(ROWS, draws - start)
        bits = np.frombuffer(generator.bytes(rows * (len(own) // 8 + 1)), np.uint8).reshape(rows, -1)
        harmful = np.unpackbits(bits, axis=1, count=len(own))
        reached += int(np.count_nonzero(harmful.astype(np.float64) @ sizes >= least))
    return (1 + reached) / (1 + draws)


def holm_adjusted(p_values: Float64[np.ndarray, " m"]) -> Float64[np.ndarray, " m"]:
    """The smallest delta at which Holm's procedure rejects each: (m,), in [0, 1].

        of the j-th smallest:    max over i <= j of min(1, (m - i + 1) p_(i))

    Source: Holm 1979, "A Simple Sequentially Rejective Multiple Test Procedure" (arXiv: none).
    """
    order = np.argsort(p_values, kind="stable")
    scaled = np.minimum(1.0, np.arange(len(order), 0, -1) * p_values[order])
    adjusted = np.empty(len(order))
    adjusted[order] = np.maximum.accumulate(scaled)
    return adjusted


def _fair_coins(count: int) -> Float64[np.ndarray, " heads"]:
    """Chance of 0, 1 .. `count` heads."""
    heads = np.arange(count + 1.0)
    ways = gammaln(count + 1) - gammaln(heads + 1) - gammaln(count - heads + 1)
    chances: Float64[np.ndarray, " heads"] = np.exp(ways - count * np.log(2))
    return chances


def _look(kind: Kind, name: str, pairs: Sequence[tuple[np.ndarray, np.ndarray]]) -> Look:
    pruned, dense = (np.stack(side).astype(np.int64) for side in zip(*pairs, strict=True))
    harm: Int64[np.ndarray, " n"] = (pruned - dense).sum(axis=0)
    return Look(kind=kind, name=name, harm=harm, dense=float(dense.mean()), pruned=float(pruned.mean()))


def _below(known: Float64[np.ndarray, " n"], ood: Float64[np.ndarray, " m"]) -> Int64[np.ndarray, " m"]:
    """Of each of `ood` twice the number of `known` with a lower score, those that tie counted once."""
    ranked = np.sort(known)
    both: Int64[np.ndarray, " m"] = (
        np.searchsorted(ranked, ood, "left") + np.searchsorted(ranked, ood, "right")
    ).astype(np.int64)
    return both
