"""Upper confidence bounds of a risk, from the p-values in `bounds/`."""

from collections.abc import Callable
from types import ModuleType

import numpy as np
import numpy.typing as npt
from jaxtyping import Float64

from prudent.bounds import BOUNDS
from prudent.bounds._checks import check_delta, check_range
from prudent.bounds._search import smallest_rejected
from prudent.bounds._sums import Numbers, total
from prudent.certification import Bound
from prudent.errors import BadInput

GRID = 32
"""At so many risks above its result a p-value of one's own is asked whether it really falls."""


def upper_bound(losses: Float64[np.ndarray, " n"], *, delta: float, bound: str | Bound = "binomial") -> float:
    """Upper confidence bound of a risk: with probability >= 1 - delta the risk is not above it.

        u = inf{alpha : p(losses, alpha) <= delta}, and 1 if there is none

    It is at most alpha where the p-value at alpha is at most delta, and only there: but for the last digits, a
    certificate and this bound say the same. It holds for one set of losses that was named beforehand; of the smallest
    of several it says less.

    Args:
        losses: (n,), each in [0, 1], of independent examples.
        delta: the chance that the risk is above the bound, in (0, 1).
        bound: name of a p-value in prudent.bounds, with its default options, or such a function, which must not rise
            with alpha; `functools.partial(betting, seed=3)` for other options.

    Returns: in (0, 1]. By a formula where there is one, else by bisection, which errs upwards by at most 3e-14.

    Raises:
        UnknownName: no bound of that name.
        BadInput: losses that the bound is not valid for, delta outside (0, 1), a function that rises with alpha.

    Source: Clopper, Pearson 1934 for the binomial; Bates et al. 2021, "Distribution-Free, Risk-Controlling Prediction
    Sets", arXiv:2101.02703, section 3.
    """
    return float(upper_bounds(losses[:, None], delta=delta, bound=bound)[0])


def upper_bounds(
    losses: Float64[np.ndarray, "n candidates"], *, delta: float, bound: str | Bound = "binomial"
) -> Float64[np.ndarray, " candidates"]:
    """`upper_bound` of each candidate, each by itself: the chance that all hold together is not 1 - delta.

    Args:
        losses: (n, candidates), each in [0, 1].
        delta, bound: as in `upper_bound`.

    Returns: (candidates,), each in (0, 1].
    """
    check_delta(delta)
    if 0 in losses.shape:
        raise BadInput(f"an upper bound needs at least one example and candidate; got shape {losses.shape}")
    check_range(losses)
    module = BOUNDS.module(bound) if isinstance(bound, str) else None
    formula: Callable[..., float] | None = getattr(module, "upper", None)
    if formula is not None:
        return np.array([formula(column, delta) for column in losses.T])
    p_value = BOUNDS[bound] if isinstance(bound, str) else bound
    if module is not None and hasattr(module, "of_sum"):
        return _of_sums(losses, delta, p_value, module)
    return np.array([_of_one(column, delta, p_value, trusted=module is not None) for column in losses.T])


def _of_sums(
    losses: Float64[np.ndarray, "n candidates"], delta: float, p_value: Bound, module: ModuleType
) -> Float64[np.ndarray, " candidates"]:
    """All candidates at once, for a p-value that needs of each only its sum."""
    for column in losses.T:
        p_value(column, 0.5)  # what the bound is not valid for, it refuses itself
    sums = np.array([total(column) for column in losses.T])
    return smallest_rejected(lambda alpha: module.of_sum(sums, len(losses), alpha) <= delta, sums.shape)


def _of_one(losses: Float64[np.ndarray, " n"], delta: float, p_value: Bound, *, trusted: bool) -> float:
    """One candidate, for a p-value of which nothing is known but that it falls with alpha."""

    def rejects(alpha: Numbers) -> npt.NDArray[np.bool_]:
        return np.asarray(p_value(losses, float(alpha)) <= delta)

    found = float(smallest_rejected(rejects))
    above = found + (1 - found) * np.arange(1, GRID) / GRID
    if not trusted and not all(rejects(alpha) for alpha in above[above < 1]):
        raise BadInput(
            f"an upper bound needs a p-value that does not rise with alpha; this one is at most {delta:g} at "
            f"{found:g} and more above it: use a bound of prudent.bounds"
        )
    return found
