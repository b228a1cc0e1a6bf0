"""A graph of candidates through which the level of what is rejected flows on."""

import math
from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float64

from prudent.errors import BadInput
from prudent.procedures._checks import checked


def graphical(
    p_values: Float64[np.ndarray, " candidates"],
    *,
    delta: float,
    weights: Sequence[float] | Float64[np.ndarray, " candidates"] | None = None,
    transition: Sequence[Sequence[float]] | Float64[np.ndarray, "candidates candidates"] | None = None,
) -> Bool[np.ndarray, " candidates"]:
    """Reject a candidate whose p-value is at most its share of delta, pass the share on along a graph, and repeat.

        reject some i with p_i <= w_i delta; then for all j, k that are left
        w_j  := w_j + w_i g_ij
        g_jk := (g_jk + g_ji g_ik) / (1 - g_ji g_ij),  0 if g_ji g_ij = 1

    What is rejected does not depend on which i is taken first. Weights and graph must be fixed without the examples
    that the p-values come from. Equal weights with equal transitions are `holm`; the default is `fixed_sequence`.

    Args:
        p_values: (candidates,) of H0 "risk > alpha", in [0, 1]; NaN counts as 1.
        delta: tolerated chance of any wrong claim, in (0, 1).
        weights: (candidates,) initial shares of delta, not negative, with a sum of at most 1. By default the first
            candidate has all.
        transition: (candidates, candidates), entry (i, j) the part of i's share that j gets when i is rejected: not
            negative, rows with a sum of at most 1, diagonal 0. By default everything goes to the next candidate.

    Returns: (candidates,), True = certified.

    Raises:
        BadInput: weights or transitions of another shape or outside these limits, no candidates, p-values outside
            [0, 1], delta outside (0, 1).

    Source: Bretz, Maurer, Brannath, Posch 2009, "A graphical approach to sequentially rejective multiple test
    procedures" (arXiv: none).
    """
    p = checked(p_values, delta)
    m = len(p)
    w = _shares("weights", np.eye(m)[0] if weights is None else weights, (m,))
    g = _shares("transition", np.eye(m, k=1) if transition is None else transition, (m, m))
    if np.diagonal(g).any():
        raise BadInput(
            f"the diagonal of transition is 0: a candidate passes nothing on to itself; got {np.diagonal(g)}"
        )
    rejected = np.zeros(m, dtype=np.bool_)
    while True:
        # a p-value that underflowed to 0 must not pass without a share
        ready = np.flatnonzero(~rejected & (w > 0) & (p <= w * delta))
        if not len(ready):
            return rejected
        i = int(ready[0])
        rejected[i] = True
        w, g = _without(i, w, g)


def _without(
    i: int, w: Float64[np.ndarray, " m"], g: Float64[np.ndarray, "m m"]
) -> tuple[Float64[np.ndarray, " m"], Float64[np.ndarray, "m m"]]:
    """Weights and transitions after candidate `i` is taken out, its row and column 0."""
    shares = w + w[i] * g[i]
    back = (g[:, i] * g[i])[:, None]
    joined = np.divide(g + np.outer(g[:, i], g[i]), 1 - back, out=np.zeros_like(g), where=back < 1)
    np.fill_diagonal(joined, 0.0)
    joined[i], joined[:, i], shares[i] = 0.0, 0.0, 0.0
    # where 1 - back is nearly 0 rounding may have made more than a whole of a row
    return shares, joined / np.maximum(joined.sum(axis=1, keepdims=True), 1.0)


def _shares(name: str, given: object, shape: tuple[int, ...]) -> Float64[np.ndarray, "*shape"]:
    """`given` as an array whose last axis sums to at most 1, or a refusal."""
    try:
        shares = np.array(given, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise BadInput(f"{name} are numbers of shape {shape}; got {given!r}") from error
    if shares.shape != shape:
        raise BadInput(f"{name} have one number for each candidate, shape {shape}; got shape {shares.shape}")
    totals = np.array([math.fsum(row) for row in shares.reshape(-1, shape[-1])]).reshape(*shape[:-1], 1)
    # written so that NaN fails it too
    if not ((shares >= 0).all() and (totals <= 1 + 1e-9).all()):
        raise BadInput(f"{name} are not negative and sum to at most 1; got {shares.tolist()}")
    # thirds and tenths may sum to a little more than 1, and delta would, too
    shares /= np.maximum(totals, 1.0)
    return shares
