"""Anytime certification: each candidate is evaluated batch by batch, and only while that can still tell something."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float64
from scipy.special import betaln, logsumexp

from prudent.bounds.group_sequential import boundary
from prudent.certification import certify
from prudent.claims import Options
from prudent.eprocesses import log_beta_mixture
from prudent.errors import BadInput
from prudent.types import Certificate, Losses

Evaluate = Callable[[int, slice], Float64[np.ndarray, " k"]]
"""(candidate, examples) -> the losses of these examples, each 0 or 1."""

BOUND = "group_sequential"
"""By which bound, if none is named."""

FUTILITY = 0.005
"""Chance to be certified in the end below which a candidate is given up."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Crossing:
    """When a bound certifies, after each of n examples.

    Args:
        certifies: (counts of losses, numbers of examples seen) -> whether so few among so many are enough.
        most: the largest count among all n with which a candidate is certified in the end; -1 if none is.
    """

    certifies: Callable[[Float64[np.ndarray, " k"], Float64[np.ndarray, " k"]], Bool[np.ndarray, " k"]]
    most: int


@dataclass(frozen=True, kw_only=True, eq=False)
class Anytime:
    """What anytime certification found, and what it cost.

    Args:
        certificate: of the candidates, by the bound that was named.
        losses: of the examples that were evaluated; `certify` gives the certificate again, and `write_certificate`
            writes both.
        evaluated: (candidates,) forward examples of each.
    """

    certificate: Certificate
    losses: Losses
    evaluated: tuple[int, ...]

    @property
    def forward_examples(self) -> int:
        """How many times an example went through a candidate."""
        return sum(self.evaluated)


def certify_anytime(
    evaluate: Evaluate,
    *,
    n: int,
    sparsities: Sequence[float],
    alpha: float,
    delta: float,
    names: Sequence[str] | None = None,
    loss: str = "error",
    options: Options = (),
    bound: str = BOUND,
    batch: int = 64,
    futility: float = FUTILITY,
    data: str = "",
    models: Sequence[str] = (),
    dense: str = "",
) -> Anytime:
    """Certify the sparsest candidate that a fixed sequence reaches, with as few forward examples as it takes.

    Candidates are tested from the densest on. Each is evaluated batch by batch, and is certified as soon as its losses
    are few enough: the chance that this ever happens to one whose risk is above alpha is at most delta. What is few
    enough, the bound says. "group_sequential" looks every so often among n planned examples, with the chance to pass at
    any look summed exactly; it comes closest to evaluating everything. "beta_mixture" looks after every example, by
    Ville's inequality, and stops earlier, but certifies less of what is hard to show; it alone would stay valid with
    more examples than were planned. A candidate that will hardly get there ends the walk:

        P(k_n <= k_max | k_t, t) < futility,    k_n - k_t ~ BetaBinomial(n - t, k_t + 1/2, t - k_t + 1/2)

    Giving up early can only lose power, never validity. The same examples serve every candidate.

    Args:
        evaluate: (candidate, examples) -> losses of 0 and 1. Examples 0 .. n - 1 come in an order that was fixed, at
            random, before any loss was seen. Called for one candidate after the other, examples in order.
        n: number of certification examples, the most that any candidate is evaluated on.
        sparsities: (candidates,) not decreasing.
        alpha, delta: as in `certify`.
        names: of the candidates; by default their sparsities.
        loss, options: what is lost, as in `Losses`.
        bound: "group_sequential" or "beta_mixture".
        batch: examples of one call, 1 or more.
        futility: in [0, 1); a candidate whose chance to be certified after all n examples is lower ends the walk. 0
            gives up only where it is impossible.
        data, models, dense: fingerprints, as in `Losses`.

    Returns: the certificate with its losses; every candidate after the one where the walk ended has p-value 1.

    Raises:
        BadInput: no examples or candidates, alpha, delta or futility outside their ranges, another bound, losses other
            than 0 and 1, what `Losses` and `certify` refuse.

    Source: as `prudent.bounds.group_sequential` and `prudent.bounds.beta_mixture`; fixed sequences as in `certify`. The
    rule for giving up is predictive power as in Spiegelhalter et al. 1986, "Monitoring clinical trials".
    """
    _check(n, sparsities, alpha, delta, batch, futility)
    candidates = len(sparsities)
    values, counted = np.zeros((n, candidates)), np.zeros((n, candidates), bool)
    empty = Losses(
        values=values,
        names=tuple(names) if names is not None else tuple(f"{s:g}" for s in sparsities),
        sparsities=tuple(float(s) for s in sparsities),
        loss=loss,
        split="certification",
        data=data,
        models=tuple(models),
        dense=dense,
        counted=counted,
        options=tuple(sorted(options)),
        stopped=True,
    )
    rule = crossing_rule(n, alpha=alpha, delta=delta, bound=bound)
    certify(empty, alpha=alpha, delta=delta, bound=bound)  # what it refuses, it refuses before anything is evaluated
    evaluated = [0] * candidates
    for j in range(candidates):
        used, seen, passed = _walk(evaluate, j, values[:, j], rule, batch, futility)
        counted[:used, j], evaluated[j] = True, seen
        values[used:, j] = 0.0
        if not passed:
            break
    losses = replace(empty, values=values, counted=counted)
    certificate = certify(losses, alpha=alpha, delta=delta, bound=bound)
    return Anytime(certificate=certificate, losses=losses, evaluated=tuple(evaluated))


def crossing_rule(n: int, *, alpha: float, delta: float, bound: str = BOUND) -> Crossing:
    """When "risk <= alpha" is certified at level delta, among n planned examples, by one of the two bounds.

    Raises:
        BadInput: another bound; alpha or delta outside (0, 1).
    """
    if bound == "beta_mixture":
        at = np.arange(n + 1.0)
        enough = log_beta_mixture(at, np.full(n + 1, float(n)), alpha) >= -np.log(delta)
        # evidence falls with the count
        return Crossing(certifies=lambda lost, seen: log_beta_mixture(lost, seen, alpha) >= -np.log(delta),
                        most=int(np.count_nonzero(enough)) - 1)  # fmt: skip
    if bound != BOUND:
        raise BadInput(f"anytime certification is by group_sequential or beta_mixture; got bound={bound!r}")
    looks, most = boundary(n, alpha=alpha, delta=delta)
    limits = np.full(n + 1, -1.0)
    limits[looks] = most
    return Crossing(certifies=lambda lost, seen: lost <= limits[seen.astype(np.int64)], most=int(most[-1]))


def _walk(
    evaluate: Evaluate,
    candidate: int,
    values: Float64[np.ndarray, " n"],
    rule: Crossing,
    batch: int,
    futility: float,
) -> tuple[int, int, bool]:
    """Fill in the losses of one candidate. How many count, how many were evaluated, and whether it is certified."""
    n, seen, lost = len(values), 0, 0
    while seen < n:
        examples = slice(seen, min(n, seen + batch))
        found = _binary(evaluate(candidate, examples), examples)
        values[examples] = found
        counts = lost + np.cumsum(found)
        crossed = rule.certifies(counts, np.arange(seen + 1.0, examples.stop + 1))
        if crossed.any():
            # the rest of the batch was seen too late to count
            return seen + int(crossed.argmax()) + 1, examples.stop, True
        seen, lost = examples.stop, int(counts[-1])
        if chance_to_pass(seen, lost, n, rule.most) < futility or lost > rule.most:
            break
    return seen, seen, False


def chance_to_pass(seen: int, lost: int, n: int, most: int) -> float:
    """Predictive chance that at most `most` of n examples are lost, given the first ones."""
    if seen == n or lost > most:
        return float(lost <= most)
    return float(np.exp(log_beta_binomial(most - lost, n - seen, lost + 0.5, seen - lost + 0.5)))


def log_beta_binomial(k: int, n: int, a: float, b: float) -> float:
    """ln P(K <= k), K ~ BetaBinomial(n, a, b); 0 <= k <= n. (scipy.stats has it, but takes long to import.)"""
    at = np.arange(min(k, n) + 1.0)
    choose = -np.log(n + 1.0) - betaln(n - at + 1, at + 1)
    return min(0.0, float(logsumexp(choose + betaln(at + a, n - at + b) - betaln(a, b))))


def _binary(found: object, examples: slice) -> Float64[np.ndarray, " k"]:
    values: Float64[np.ndarray, " k"] = np.asarray(found, dtype=np.float64)
    wanted = (examples.stop - examples.start,)
    if values.shape != wanted or not ((values == 0) | (values == 1)).all():
        raise BadInput(f"anytime certification needs losses of 0 and 1, shape {wanted}; got shape {values.shape}")
    return values


def _check(n: int, sparsities: Sequence[float], alpha: float, delta: float, batch: int, futility: float) -> None:
    whole = isinstance(n, int | np.integer) and isinstance(batch, int | np.integer)
    if not whole or n < 1 or not len(sparsities) or batch < 1:
        raise BadInput(
            f"at least one example, candidate and batch size, whole numbers; got {n}, {len(sparsities)}, {batch}"
        )
    for name, value in (("alpha", alpha), ("delta", delta)):
        if not 0 < value < 1:
            raise BadInput(f"{name} lies in (0, 1); got {value}")
    if not 0 <= futility < 1:
        raise BadInput(f"futility lies in [0, 1); got {futility}")
