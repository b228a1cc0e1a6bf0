"""What can be certified with how many examples, for losses of 0 and 1."""

import math
from collections.abc import Callable

import numpy as np
from scipy.special import bdtr

from prudent.bounds import BOUNDS
from prudent.errors import BadInput
from prudent.types import Certificate
from prudent.wording import exact_percent, percent, plural

ANYTIME = frozenset({"beta_mixture", "fixed_bet", "group_sequential"})
"""Bounds that stay valid when it was decided by looking at the losses how many examples to use."""

LIMIT = 10**9
"""More examples than this are not searched for."""


def most_losses(n: int, *, alpha: float, delta: float, bound: str = "binomial") -> int | None:
    """The largest number of losses among `n` examples that still certifies "risk <= alpha", None if not even 0 does.

    Args:
        n: number of examples.
        alpha, delta: as in `certify`.
        bound: name of the p-value, which must not fall when a loss is added.

    Raises:
        UnknownName: no such bound.
        BadInput: a bound whose p-value depends on the order of the losses too, such as betting.
    """
    _check(alpha, delta)
    p_value = _of_counts(bound)
    low, high = -1, n  # p(low) <= delta < p(high) = 1 throughout
    while high - low > 1:
        middle = (low + high) // 2
        if p_value(middle, n, alpha) <= delta:
            low = middle
        else:
            high = middle
    return None if low < 0 else low


def examples_needed(
    rate: float, *, alpha: float, delta: float, power: float = 0.8, bound: str = "binomial"
) -> int | None:
    """How many examples certify a network of this true risk with probability about `power`.

    The first n on a grid 1 % apart at which the chance to pass is at least `power`. The chance does not rise steadily
    with n, since one more loss is allowed only every so many examples: a little above n it may lie below `power`.

    Args:
        rate: the network's true risk, in [0, 1].
        alpha, delta: as in `certify`.
        power: wanted probability to pass, in (0, 1).
        bound: as in `most_losses`.

    Returns: n, or None if rate >= alpha (no number of examples will do) or more than 1e9 would be needed.

    Raises:
        UnknownName, BadInput: as in `most_losses`.
    """
    _check(alpha, delta)
    _of_counts(bound)
    if rate >= alpha:
        return None
    n = least_examples(alpha=alpha, delta=delta)
    if bound != "binomial":
        # no valid p-value of a count is below the binomial one, so no other bound passes with fewer
        n = examples_needed(rate, alpha=alpha, delta=delta, power=power)
    while n is not None and n <= LIMIT:
        k = most_losses(n, alpha=alpha, delta=delta, bound=bound)
        if k is not None and bdtr(k, n, rate) >= power:
            return n
        n = max(n + 1, math.ceil(n * 1.01))
    return None


def least_examples(*, alpha: float, delta: float, bound: str = "binomial") -> int | None:
    """With how many examples zero losses certify "risk <= alpha": least n with (1 - alpha)^n <= delta, or by `bound`.

    Returns: n; for another bound than the binomial None, if more than 1e9 would be needed.

    Raises:
        UnknownName, BadInput: as in `most_losses`.
    """
    _check(alpha, delta)
    p_value = _of_counts(bound)
    n = max(1, math.ceil(math.log(delta) / math.log1p(-alpha)))
    # the quotient of two rounded logarithms may be one off where it is an integer
    n = n - 1 if n > 1 and bdtr(0, n - 1, alpha) <= delta else n
    low, high = n - 1, n
    while p_value(0, high, alpha) > delta:
        low, high = high, 2 * high
        if high > LIMIT:
            return None
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if p_value(0, middle, alpha) <= delta else (middle, high)
    return high


def needed(certificate: Certificate, *, earlier: bool = False) -> str:
    """In words, what it would take to certify the first candidate that did not pass; "" if all passed.

    With `earlier`, in those of earlier versions, whose certificates are still read.
    """
    at = next((i for i, state in enumerate(certificate.states) if state != "passed"), None)
    if at is None:
        return ""
    if certificate.parts:
        binds = certificate.binds(at, earlier=earlier)
        return f"More examples, or a candidate with a lower risk, are needed; what binds is {binds}."
    bound, n = certificate.bound, certificate.examples(at)
    counted = certificate.counts is not None and bound in BOUNDS and not BOUNDS.constant(bound, "ORDERED")
    if certificate.sizes and certificate.bound in ANYTIME and certificate.counts is not None and n:
        lost = f"{(certificate.counts or ())[at]:,} of {n:,} examples lost"
        return f"{certificate.names[at]!r} was given up with {lost}: it would hardly have been certified."
    # only a walk tests each candidate at the whole of delta
    if not counted or n == 0 or certificate.procedure != "fixed_sequence":
        return "More examples, or a candidate with a lower risk, are needed."
    k, alpha, delta = (certificate.counts or ())[at], certificate.alpha, certificate.delta
    allowed = most_losses(n, alpha=alpha, delta=delta, bound=bound)
    # a file does not say how sparse it is, and has a name instead
    named = not any(certificate.sparsities) and not earlier
    who = repr(certificate.names[at]) if named else f"the candidate at {percent(certificate.sparsities[at])} sparsity"
    if allowed is None:
        least = least_examples(alpha=alpha, delta=delta, bound=bound)
        enough = f"more than {LIMIT:,}" if least is None else f"at least {least:,}"
        first = f"{n:,} examples cannot certify {exact_percent(alpha)} at all: {enough} are needed"
    else:
        first = f"{who[0].upper() + who[1:]} loses {k:,} of {n:,}; at most {allowed:,} may be lost"
    if bound != "binomial":
        return f"{first}. The binomial bound needs fewer examples for such losses."
    more = examples_needed(k / n, alpha=alpha, delta=delta)
    if more is None:
        return f"{first}. If {percent(k / n)} is its true rate, no number of examples will certify it."
    about = plural(_round(more), "example")
    return f"{first}. If {percent(k / n)} is its true rate, about {about} would pass 8 times in 10."


def _of_counts(bound: str) -> Callable[[int, int, float], float]:
    """The p-value of k losses among n: by its formula where the bound has one, else from k ones and n - k zeros."""
    module = BOUNDS.module(bound)
    if getattr(module, "ORDERED", False):
        raise BadInput(f"{bound} depends on the order of losses, not on their number alone: plan with another bound")
    formula = getattr(module, "of_count", None) or getattr(module, "of_sum", None)
    if formula is not None:
        return lambda k, n, alpha: float(formula(float(k), n, alpha))
    return lambda k, n, alpha: float(BOUNDS[bound](np.repeat([1.0, 0.0], [k, n - k]), alpha))


def _round(n: int) -> int:
    """Two significant digits, upwards: the grid is no finer."""
    step: int = 10 ** max(0, len(str(n)) - 2)
    return -(-n // step) * step


def _check(alpha: float, delta: float) -> None:
    if not (0 < alpha < 1 and 0 < delta < 1):
        raise BadInput(f"alpha and delta lie in (0, 1); got alpha={alpha}, delta={delta}")
