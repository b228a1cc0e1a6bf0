"""Three candidates judged on the same few examples: every outcome, and how likely it is."""

import itertools

import numpy as np
import pytest
from scipy.stats import binom

CELLS = np.array(list(itertools.product((0, 1), repeat=3)))  # losses of three candidates on one example


def rejections(procedure, n: int, alpha: float, delta: float) -> np.ndarray:
    """What is certified for each triple of loss counts, (n + 1, n + 1, n + 1, 3)."""
    tail = binom.cdf(np.arange(n + 1), n, alpha)
    rejected = np.zeros((n + 1, n + 1, n + 1, 3), dtype=bool)
    for counts in np.ndindex(n + 1, n + 1, n + 1):
        rejected[counts] = procedure(tail[list(counts)], delta=delta)
    return rejected


def chances(cells: np.ndarray, n: int) -> np.ndarray:
    """Distribution of the three counts over n independent examples, (n + 1, n + 1, n + 1)."""
    chance = np.zeros((n + 1, n + 1, n + 1))
    chance[0, 0, 0] = 1
    for _ in range(n):
        after = np.zeros_like(chance)
        for (a, b, c), weight in zip(CELLS, cells, strict=True):
            after[a:, b:, c:] += weight * chance[: n + 1 - a, : n + 1 - b, : n + 1 - c]
        chance = after
    return chance


def independent(risks) -> np.ndarray:
    return np.where(CELLS == 1, risks, 1 - np.array(risks)).prod(axis=1)


def by_ranges(ranges) -> np.ndarray:
    """Each candidate loses where one uniform number falls into its range: nested or disjoint losses."""
    ends = sorted({0.0, 1.0, *(e for r in ranges for e in r)})
    cells = np.zeros(8)
    for lo, hi in itertools.pairwise(ends):
        lost = [a <= lo and hi <= b for a, b in ranges]
        cells[int(np.flatnonzero((lost == CELLS).all(axis=1))[0])] += hi - lo
    return cells


def joint_distributions(alpha: float) -> list[np.ndarray]:
    """Losses of three candidates on one example, for all configurations of true and false nulls, and random ones."""
    found = []
    for risks in itertools.product((alpha / 4, alpha, min(0.95, 1.5 * alpha)), repeat=3):
        a, b, c = risks
        found.append(independent(risks))
        found.append(by_ranges([(0, a), (0, b), (0, c)]))
        found.append(by_ranges([(0, a), (1 - b, 1), (0, c)]))
        if a + b <= 1:
            found.append(by_ranges([(0, a), (a, a + b), (0, c)]))
            found.append(by_ranges([(0, a), (a, a + b), (0, 0)]))
        if a + b + c <= 1:
            found.append(by_ranges([(0, a), (a, a + b), (a + b, a + b + c)]))
    rng = np.random.default_rng(0)
    found += [rng.dirichlet(np.full(8, spread)) for spread in (0.2, 1.0) for _ in range(60)]
    return found


def assert_valid(procedure, n: int, alpha: float, delta: float) -> None:
    """P(any candidate of risk >= alpha is certified) <= delta for every one of these distributions, exactly."""
    rejected = rejections(procedure, n, alpha, delta)
    assert rejected[0, 0, 0].any(), "a procedure that never rejects would pass"
    tried = 0
    for cells in joint_distributions(alpha):
        chance = chances(cells, n)
        assert chance.sum() == pytest.approx(1)
        null = cells @ CELLS >= alpha - 1e-12  # also at the boundary a rejection is counted as false
        tried += null.any()
        wrong = chance[rejected[..., null].any(axis=-1)].sum()
        assert wrong <= delta * (1 + 1e-9), (cells, null)
    assert tried > 100
