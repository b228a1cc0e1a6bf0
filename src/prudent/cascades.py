"""Cascades: the small network answers where its margin is large enough, the dense one elsewhere."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from jaxtyping import Bool, Float64
from scipy.special import bdtr, betainc

from prudent.claims import same_network
from prudent.errors import BadInput, SplitMisuse
from prudent.intervals import clopper_pearson
from prudent.loss_tables import check_same_examples
from prudent.procedures.fixed_sequence import fixed_sequence
from prudent.types import Metric, Predictions
from prudent.wording import exact_percent, percent, plural

SHARES = tuple(i / 20 for i in range(1, 21))
"""Shares of examples that thresholds are chosen to serve, if none are given."""


@dataclass(frozen=True, kw_only=True)
class Thresholds:
    """Margins from which on the small network may answer, before any of them is certified.

    Args:
        values: in nats, finite, the most cautious first, falling.
        data, small, dense: fingerprints of the examples and networks that they were chosen with, "" if unknown.

    Raises:
        BadInput: no thresholds, or thresholds that are not finite or do not fall.
    """

    values: tuple[float, ...]
    data: str = ""
    small: str = ""
    dense: str = ""

    def __post_init__(self) -> None:
        v = self.values
        if not v or not all(map(math.isfinite, v)) or not all(v[i] > v[i + 1] for i in range(len(v) - 1)):
            raise BadInput(f"thresholds are finite and fall from the most cautious on, at least one; got {list(v)}")


@dataclass(frozen=True, kw_only=True, eq=False)
class ServedTable:
    """What a cascade's claim depends on, for each certification example.

    Args:
        margins: (n,) of the small network, in nats, not negative.
        differs: (n,) whether the networks decide differently.
        data, small, dense: fingerprints of the examples and networks, "" if unknown.

    Raises:
        BadInput: no examples, lengths that differ, margins that are negative or NaN.
    """

    margins: Float64[np.ndarray, " n"]
    differs: Bool[np.ndarray, " n"]
    data: str = ""
    small: str = ""
    dense: str = ""

    def __post_init__(self) -> None:
        if not len(self.margins) or not (self.margins >= 0).all() or len(self.margins) != len(self.differs):
            raise BadInput(f"margins are not negative, one for each of {len(self.differs)} examples, at least one")


@dataclass(frozen=True, kw_only=True)
class CascadeCertificate:
    """The result of testing thresholds of a cascade, selected or not.

    Args:
        alpha: tolerated share of predictions served by the small network that differ from the dense one's, in (0, 1).
        delta: tolerated chance that the claim is wrong, in (0, 1).
        n: number of certification examples.
        thresholds: in nats, in the order of testing.
        served: how many of the n examples the small network would serve at each threshold.
        disagreements: how many of those differ from the dense network.
        p_values: of H0 "the share among served is above alpha", NaN where nothing is served.
        selected: index of the boldest certified threshold, None if there is none.
        data, choice_data, small, dense: fingerprints of the examples, of those that thresholds were chosen with, and of
            the networks, "" if unknown.
    """

    alpha: float
    delta: float
    n: int
    thresholds: tuple[float, ...]
    served: tuple[int, ...]
    disagreements: tuple[int, ...]
    p_values: tuple[float, ...]
    selected: int | None
    data: str = ""
    choice_data: str = ""
    small: str = ""
    dense: str = ""

    @property
    def share_served(self) -> Metric:
        """Share of examples that the small network serves at the selected threshold; 0 if nothing was certified.

        It is estimated, not certified; its interval does not know that the threshold was selected.
        """
        if self.selected is None:
            return Metric(value=0.0, better="higher")
        k = self.served[self.selected]
        lo, hi = clopper_pearson(k, self.n)
        return Metric(value=k / self.n, lo=lo, hi=hi, interval=f"{percent(0.95)} Clopper-Pearson", better="higher")

    def cost(self, *, small: float, dense: float) -> Metric:
        """Expected multiply-accumulates of one prediction: small + (1 - share served) * dense.

        Without a certified threshold the dense network answers alone, and the small one is not run.

        Args:
            small, dense: multiply-accumulates of one prediction of each network, not negative.

        Raises:
            BadInput: negative or infinite multiply-accumulates.
        """
        if not (0 <= small < math.inf and 0 <= dense < math.inf):
            raise BadInput(f"multiply-accumulates are finite and not negative; got small={small}, dense={dense}")
        share = self.share_served
        if share.lo is None or share.hi is None:
            return Metric(value=float(dense))
        value, lo, hi = (float(small + (1 - s) * dense) for s in (share.value, share.hi, share.lo))
        return Metric(value=value, lo=lo, hi=hi, interval=share.interval)

    def sentence(self) -> str:
        """The claim in one English sentence."""
        confidence, limit = exact_percent(self.delta, complement=True), exact_percent(self.alpha)
        if self.selected is None:
            return (
                f"Nothing certified: with {self.n:,} examples, for none of {plural(len(self.thresholds), 'threshold')} "
                f"could it be shown with {confidence} confidence that at most {limit} of the predictions that the "
                "small network serves differ from the dense network."
            )
        return (
            f"With {confidence} confidence, at most {limit} of the predictions that the small network serves differ "
            f"from the dense network; it served {percent(self.share_served.value, 1)} of {self.n:,} examples."
        )


def margins(predictions: Predictions) -> Float64[np.ndarray, " n"]:
    """Logarithm of how much more probable the decided class is than the second: ln(p_1 / p_2).

    Args:
        predictions: logits (n, classes) or (members, n, classes), at least two classes; of members the mean
            probability counts.

    Returns: (n,) in nats, at least 0; higher = more decided. Unlike p_1 - p_2 it does not saturate.

    Raises:
        BadInput: a single class.
    """
    if predictions.classes < 2:
        raise BadInput("a margin lies between two classes; these predictions have one")
    logs = predictions.log_probabilities
    joined = logs if predictions.members is None else np.logaddexp.reduce(logs, axis=0)
    top = np.partition(joined, predictions.classes - 2, axis=-1)[:, -2:]
    gaps: Float64[np.ndarray, " n"] = top[:, 1] - top[:, 0]
    return gaps


def choose_thresholds(
    small: Predictions,
    dense: Predictions,
    *,
    alpha: float,
    examples: int | None = None,
    shares: Sequence[float] = SHARES,
) -> Thresholds:
    """Thresholds that serve given shares of the validation split, from the one most likely to be certified on.

        threshold of share s = the ceil(s n)-th largest margin
        first tested         = the one with the least p-value to be expected from `examples` certification examples

    A very cautious threshold serves too few examples to be certified, and testing stops at the first that is not: those
    before the most promising one are left out.

    Args:
        small, dense: predictions of both networks on the validation split.
        alpha: as for `certify_cascade`.
        examples: how many certification examples there will be; by default as many as here.
        shares: shares to be served, in (0, 1], fixed before any examples are seen, in any order.

    Returns: falling thresholds, in nats.

    Raises:
        SplitMisuse: predictions of another split.
        BadInput: predictions on different examples, a single class, alpha outside (0, 1), shares outside (0, 1] or
            none, fewer than one certification example.
    """
    _check(small, dense, alpha, split="validation", purpose="thresholds are chosen")
    if not len(shares) or not all(0 < s <= 1 for s in shares):
        raise BadInput(f"shares to be served lie in (0, 1], at least one; got {list(shares)}")
    if examples is not None and examples < 1:
        raise BadInput(f"a certificate needs at least one example; got examples={examples}")
    gaps, n = margins(small), small.n
    ranked = np.sort(gaps)[::-1]
    # in decimals: 0.55 * 200 is 110, and as floats a little more
    values = np.unique([ranked[math.ceil(Fraction(repr(float(s))) * n) - 1] for s in shares])[::-1]
    served = gaps[:, None] >= values
    scale = (n if examples is None else examples) / n
    total, lost = served.sum(axis=0) * scale, _lost(served, small, dense).sum(axis=0) * scale
    # the binomial tail, continued to counts that are not whole; where all is lost its first argument would be 0
    expected = np.where(lost < total, betainc(np.maximum(total - lost, 1e-9), lost + 1, 1 - alpha), 1.0)
    first = int(expected.argmin())
    chosen = tuple(float(v) for v in values[first:])
    return Thresholds(values=chosen, data=small.data, small=small.model, dense=dense.model)


def certify_cascade(
    thresholds: Thresholds, small: Predictions, dense: Predictions, *, alpha: float, delta: float
) -> CascadeCertificate:
    """Certify the boldest threshold at which the small network rarely differs from the dense one where it is served.

        H0 at threshold t: P(decisions differ | margin >= t) > alpha
        p_t = P(Bin(m_t, alpha) <= k_t),    m_t examples served, k_t of them differ

    Thresholds are tested in their order, each at level delta, until one fails. Given which examples are served, the
    differing ones are binomial, so each p-value is valid whatever share is served. The cascade as a whole then differs
    from the dense network at most as often.

    Args:
        thresholds: chosen on other examples, or fixed beforehand.
        small, dense: predictions of both networks on the certification split; no labels are needed.
        alpha: tolerated share of served predictions that differ, in (0, 1).
        delta: tolerated chance that the claim is wrong, in (0, 1).

    Returns: the certificate; `selected` is None if not even the first threshold passes, which is a result.

    Raises:
        SplitMisuse: predictions of another split, or on the examples that the thresholds were chosen with.
        BadInput: predictions on different examples or of other networks than the thresholds were chosen for, a single
            class, alpha or delta outside (0, 1).

    Source: Angelopoulos et al. 2021, "Learn then Test", arXiv:2110.01052 (selective classification, with one threshold
    on a confidence); Geifman, El-Yaniv 2017, "Selective Classification for Deep Neural Networks", arXiv:1705.08500,
    which bisects and pays for it with a union bound. Here the dense network is the label.
    """
    _check(small, dense, alpha, split="certification", purpose="a cascade is certified")
    if thresholds.data and thresholds.data == small.data:
        raise SplitMisuse(
            f"thresholds must be certified on other examples than they were chosen with; both are {small.data[:12]}"
        )
    for name, chosen, given in (("small", thresholds.small, small.model), ("dense", thresholds.dense, dense.model)):
        if chosen and given and not same_network(chosen, given):
            raise BadInput(f"thresholds were chosen for another {name} network: {chosen[:12]}, not {given[:12]}")
    return certify_served(thresholds, served_table(small, dense), alpha=alpha, delta=delta)


def served_table(small: Predictions, dense: Predictions) -> ServedTable:
    """All that a cascade's claim depends on of the predictions of both networks."""
    return ServedTable(
        margins=margins(small), differs=small.decisions != dense.decisions, data=small.data,
        small=small.model, dense=dense.model,
    )  # fmt: skip


def certify_served(thresholds: Thresholds, table: ServedTable, *, alpha: float, delta: float) -> CascadeCertificate:
    """`certify_cascade` from a stored table, for whoever checks it without the networks' answers."""
    if not 0 < alpha < 1:
        raise BadInput(f"alpha lies in (0, 1); got {alpha}")
    served = table.margins[:, None] >= np.array(thresholds.values)
    m, k = served.sum(axis=0), (served & table.differs[:, None]).sum(axis=0)
    p_values = np.where(m > 0, bdtr(k, np.maximum(m, 1), alpha), np.nan)
    passed = int(np.count_nonzero(fixed_sequence(p_values, delta=delta)))
    return CascadeCertificate(
        alpha=float(alpha),
        delta=float(delta),
        n=len(table.margins),
        thresholds=thresholds.values,
        served=tuple(int(c) for c in m),
        disagreements=tuple(int(c) for c in k),
        p_values=tuple(float(p) for p in p_values),
        selected=passed - 1 if passed else None,
        data=table.data,
        choice_data=thresholds.data,
        small=table.small,
        dense=table.dense,
    )


def _lost(
    served: Bool[np.ndarray, "n thresholds"], small: Predictions, dense: Predictions
) -> Bool[np.ndarray, "n thresholds"]:
    """Which examples are served and decided otherwise than by the dense network."""
    return np.asarray(served & (small.decisions != dense.decisions)[:, None])


def _check(small: Predictions, dense: Predictions, alpha: float, *, split: str, purpose: str) -> None:
    if small.split != split:
        raise SplitMisuse(f"{purpose} on the {split} split; these predictions come from {small.split!r}")
    check_same_examples(small, dense)
    if not 0 < alpha < 1:
        raise BadInput(f"alpha lies in (0, 1); got {alpha}")
