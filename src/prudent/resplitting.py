"""Many certificates from one pool of examples: how often is one wrong, how far does it reach, and what does it take?"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Int64, UInt8

from prudent.anytime import BOUND, FUTILITY
from prudent.errors import BadInput
from prudent.intervals import clopper_pearson
from prudent.planning import most_losses
from prudent.seeds import stream
from prudent.stopping import StoppingRule, stopping_rule, walked
from prudent.types import Losses

ANYTIME = "anytime"
"""Beside the names of bounds: the walk that evaluates batch by batch and stops early, as `certify_anytime` does."""

WALKS = {ANYTIME: BOUND, "anytime_mixture": "beta_mixture"}
"""Such walks, and the bounds by which they stop."""

COMPARED = "binomial"
"""The bound that the anytime walk is compared with, on the very same examples."""

Selected = Int64[np.ndarray, " resplits"]


@dataclass(frozen=True, kw_only=True)
class Resplit:
    """What the certificates of one bound at one alpha came to, over all resplits.

    Args:
        bound: name of the p-value, or of a walk.
        alpha: tolerated risk.
        violated: how many certified a candidate whose risk over the whole pool exceeds alpha.
        violated_lo, violated_hi: 95 % Clopper-Pearson limits of the chance of that.
        nothing: how many certified no candidate.
        mean: mean certified sparsity, 0 where nothing was certified.
        low, median, high: the 5 %, 50 % and 95 % quantiles of the certified sparsity, each one that occurred.
        examples: mean number of forward examples until the walk stopped, over all candidates together.
    """

    bound: str
    alpha: float
    violated: int
    violated_lo: float
    violated_hi: float
    nothing: int
    mean: float
    low: float
    median: float
    high: float
    examples: float


@dataclass(frozen=True, kw_only=True)
class Frugality:
    """The anytime walk beside the full evaluation by the binomial bound, on the same examples.

    Args:
        alpha: tolerated risk.
        examples: mean number of forward examples of the anytime walk.
        examples_high: its 95 % quantile.
        walked: the same mean where candidates are evaluated on all n examples, but none after the walk stopped.
        behind: mean number of grid steps (candidates) by which it certifies less; negative if more.
        behind_most: the most in any resplit.
        within_one: share of resplits in which it certifies at most one grid step less.
    """

    alpha: float
    examples: float
    examples_high: int
    walked: float
    behind: float
    behind_most: int
    within_one: float


@dataclass(frozen=True, kw_only=True)
class Resplits:
    """All that was found, and how.

    Args:
        n: certification examples of each resplit.
        pool: examples that they are drawn from.
        candidates: number of candidates.
        resplits: how often.
        delta: tolerated chance that a certificate is wrong.
        replacement: whether examples were drawn independently, so that one may be drawn twice.
        seed: of the drawing.
        rows: one for each bound and alpha.
        reachable: (alpha, sparsity) of the last candidate before the first whose risk over the pool exceeds alpha: what
            a walk that knew the pool would certify. None if not even the densest is within alpha.
        frugality: one for each alpha; empty unless "anytime" is among the bounds.
    """

    n: int
    pool: int
    candidates: int
    resplits: int
    delta: float
    replacement: bool
    seed: int
    rows: tuple[Resplit, ...]
    reachable: tuple[tuple[float, float | None], ...]
    frugality: tuple[Frugality, ...]


def resplit(
    losses: Losses,
    *,
    n: int,
    alphas: Sequence[float],
    delta: float,
    bounds: Sequence[str] = (COMPARED, ANYTIME),
    resplits: int = 1000,
    replacement: bool = False,
    batch: int = 64,
    futility: float = FUTILITY,
    seed: int = 0,
) -> Resplits:
    """Draw n certification examples from a pool many times, certify each time, and compare with the whole pool.

        violated  <=>  mean of the selected candidate's losses over the whole pool > alpha

    The pool is a finite population whose risks are known exactly. Without replacement n of N are drawn from it: their
    mean varies less than that of independent examples, by (N - n) / (N - 1) in variance, so violations are rarer than
    the bound allows for. With replacement the examples are independent, as the certificate assumes, and the chance of a
    violation may come close to delta. Every bound and alpha sees the same draws.

    Args:
        losses: of all candidates on the pool, each 0 or 1; the split does not matter, since nothing is claimed here.
        n: examples of each certificate, 1 .. N (N - 1 without replacement).
        alphas: tolerated risks, in (0, 1).
        delta: tolerated chance of a wrong certificate, in (0, 1).
        bounds: names in prudent.bounds that depend on the number of losses alone, "anytime" for the walk that stops
            early, or "anytime_mixture" for that by the bound "beta_mixture".
        resplits: how often, 1 or more.
        replacement: draw independently.
        batch, futility: of the anytime walk, as in `certify_anytime`.
        seed: of the draws.

    Returns: shares of violated certificates, certified sparsities and forward examples, as plain numbers.

    Raises:
        BadInput: losses other than 0 and 1 about all examples, n that leaves no rest, alpha or delta outside (0, 1), no
            or repeated alphas or bounds, a bound that depends on the order of losses, no resplits.
        UnknownName: no bound of that name.

    Source: the certificates as in `certify` and `certify_anytime`, procedure "fixed_sequence". Serfling 1974,
    "Probability Inequalities for the Sum in Sampling without Replacement", on why draws without replacement err less.
    """
    _check(losses, n, alphas, bounds, resplits, replacement=replacement)
    table: UInt8[np.ndarray, "candidates pool"] = np.ascontiguousarray(losses.values.T.astype(np.uint8))
    limits = {
        (bound, alpha): _most(n, alpha, delta, bound)
        for bound in dict.fromkeys([*bounds, COMPARED])
        for alpha in alphas
        if bound not in WALKS
    }
    rules = {
        (walk, a): stopping_rule(n, alpha=a, delta=delta, bound=WALKS[walk], batch=batch, futility=futility)
        for walk in WALKS
        if walk in bounds
        for a in alphas
    }
    certified, taken = _certified(table, n, limits, rules, resplits, replacement=replacement, seed=seed)
    risks = np.count_nonzero(table, axis=1) / losses.n
    rows = [
        _row(bound, a, certified[bound, a], taken[bound, a], losses.sparsities, risks)
        for bound in bounds
        for a in alphas
    ]
    return Resplits(
        n=n,
        pool=losses.n,
        candidates=len(losses.names),
        resplits=resplits,
        delta=delta,
        replacement=replacement,
        seed=seed,
        rows=tuple(rows),
        reachable=tuple((float(a), _sparsity(int(_leading((risks <= a)[None])[0]), losses.sparsities)) for a in alphas),
        frugality=tuple(_frugality(a, certified, taken) for walk, a in rules if walk == ANYTIME),
    )


Key = tuple[str, float]


def _certified(
    table: UInt8[np.ndarray, "candidates pool"],
    n: int,
    limits: Mapping[Key, int],
    rules: Mapping[Key, StoppingRule],
    resplits: int,
    *,
    replacement: bool,
    seed: int,
) -> tuple[dict[Key, Selected], dict[Key, Selected]]:
    """How many candidates are certified in each resplit, and how many forward examples that took."""
    rng = np.random.default_rng(stream("resplits", seed))
    candidates, pool = table.shape
    counts = np.empty((resplits, candidates), np.int64)
    certified = {key: np.empty(resplits, np.int64) for key in rules}
    taken = {key: np.empty(resplits, np.int64) for key in certified}
    for r in range(resplits):
        drawn = rng.integers(pool, size=n) if replacement else rng.permutation(pool)[:n]
        lost = np.cumsum(table[:, drawn], axis=1, dtype=np.int32)
        counts[r] = lost[:, -1]
        for key, rule in rules.items():
            certified[key][r], taken[key][r] = walked(rule, lost)
    for key, most in limits.items():
        certified[key] = _leading(counts <= most)
        taken[key] = n * np.minimum(certified[key] + 1, candidates)
    return certified, taken


def _leading(passed: Bool[np.ndarray, "resplits candidates"]) -> Selected:
    """How many candidates pass before the first that does not, in each resplit."""
    found: Selected = np.cumprod(passed, axis=1, dtype=np.int64).sum(axis=1)
    return found


def _most(n: int, alpha: float, delta: float, bound: str) -> int:
    """The largest count of losses with which a candidate passes, -1 if not even 0 does."""
    most = most_losses(n, alpha=alpha, delta=delta, bound=bound)
    return -1 if most is None else most


def _row(
    bound: str, alpha: float, certified: Selected, taken: Selected, sparsities: Sequence[float], risks: np.ndarray
) -> Resplit:
    some = certified > 0
    violated = int(np.count_nonzero(some & (risks[certified - 1] > alpha)))
    lo, hi = clopper_pearson(violated, len(certified))
    reached = np.where(some, np.asarray(sparsities)[certified - 1], 0.0)
    low, median, high = np.quantile(reached, [0.05, 0.5, 0.95], method="inverted_cdf").tolist()
    return Resplit(
        bound=bound,
        alpha=float(alpha),
        violated=violated,
        violated_lo=lo,
        violated_hi=hi,
        nothing=int(np.count_nonzero(~some)),
        mean=float(reached.mean()),
        low=low,
        median=median,
        high=high,
        examples=float(taken.mean()),
    )


def _frugality(alpha: float, certified: Mapping[Key, Selected], taken: Mapping[Key, Selected]) -> Frugality:
    behind = certified[COMPARED, alpha] - certified[ANYTIME, alpha]
    used = taken[ANYTIME, alpha]
    return Frugality(
        alpha=float(alpha),
        examples=float(used.mean()),
        examples_high=int(np.quantile(used, 0.95, method="inverted_cdf")),
        walked=float(taken[COMPARED, alpha].mean()),
        behind=float(behind.mean()),
        behind_most=int(behind.max()),
        within_one=float(np.count_nonzero(behind <= 1) / len(behind)),
    )


def _sparsity(certified: int, sparsities: Sequence[float]) -> float | None:
    return float(sparsities[certified - 1]) if certified else None


def _check(
    losses: Losses, n: int, alphas: Sequence[float], bounds: Sequence[str], resplits: int, *, replacement: bool
) -> None:
    if losses.counts is None or losses.counted is not None:
        raise BadInput(f"resplits need losses of 0 and 1 about all examples; {losses.loss!r} is none of that kind")
    if not 1 <= n <= losses.n - (not replacement):
        raise BadInput(
            f"resplits draw n examples of a pool that is larger; got n = {n} of {losses.n}: take fewer, or more losses"
        )
    for what, given in (("alphas", alphas), ("bounds", bounds)):
        if not len(given) or len(set(given)) < len(given):
            raise BadInput(f"resplits need {what}, each once; got {list(given)}")
    if resplits < 1:
        raise BadInput(f"at least one resplit is needed; got {resplits}")
