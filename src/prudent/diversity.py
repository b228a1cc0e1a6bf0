"""How differently the members of a team answer: twelve measures of it, of any number of teams at once.

    measure              from                        range       more diverse  undefined (NaN)
    kappa                the decided classes         [-1, 1]     lower         of pairs that always say one same class
    correctness_kappa    right or wrong              [-1, 1]     lower         of pairs always (or never) right
    q_statistic          right or wrong              [-1, 1]     lower         of pairs with N11 N00 = N01 N10 = 0
    correlation          right or wrong              [-1, 1]     lower         of pairs with one always (or never) right
    disagreement         right or wrong              [0, 1]      higher        teams of one
    double_fault         right or wrong              [0, 1]      lower         teams of one
    fleiss_kappa         right or wrong              [-1, 1]     lower         nobody is ever wrong, or ever right
    entropy              right or wrong              [0, 1]      higher        teams of one
    kohavi_wolpert       right or wrong              [0, 1/4]    higher        teams of one
    generalised          right or wrong              [0, 1]      higher        nobody is ever wrong
    coincident_failure   right or wrong              [0, 1]      higher        teams of one; 0: nobody is wrong
    difficulty           right or wrong              [0, 1/4]    lower         teams of one

Teams of one, and no examples, are undefined under each. The first six are those of a pair of members, and of a team the
mean over its pairs for which they are defined. N11 counts the examples on which both of a pair are right, N00 those on
which both are wrong, N10 and N01 the others.

Nothing is computed example by example and team by team: all but `entropy` and `coincident_failure` follow from how many
examples each pair of members gets right together, counted once on packed bits; these two from the distinct patterns of
who is right.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float64, Int64, UInt64

from prudent.errors import BadInput, UnknownName
from prudent.tallies import Tally

BLOCK = 4_000_000
"""Most pairs of team and pattern at a time: what bounds the memory."""

ROWS = 65_536
"""Most teams at a time."""

Teams = Bool[np.ndarray, "teams members"]
Values = Float64[np.ndarray, " teams"]
Pairs = Float64[np.ndarray, "members members"]


@dataclass(frozen=True, kw_only=True)
class Measure:
    """One measure: (tally, teams) -> (teams,), and whether teams are more diverse where it is higher."""

    function: Callable[[Tally, Teams], Values]
    higher: bool


def kappa(counts: Tally, teams: Teams) -> Values:
    """Mean over pairs of Cohen's kappa of the decided classes; lower = more diverse.

        (p_o - p_e) / (1 - p_e),    p_o share of equal decisions,    p_e = sum over classes of the product of shares

    Source: Cohen 1960, "A Coefficient of Agreement for Nominal Scales" (arXiv: none).
    """
    n = max(counts.n, 1)
    # in whole numbers up to the division, so that an undefined 0 / 0 is one
    chance = counts.chosen @ counts.chosen.T
    return _over_pairs(_ratio(n * counts.same - chance, n * n - chance, counts.n), teams)


def correctness_kappa(counts: Tally, teams: Teams) -> Values:
    """Mean over pairs of Cohen's kappa of being right; lower = more diverse.

        2 (N11 N00 - N01 N10) / ((N11 + N10)(N10 + N00) + (N11 + N01)(N01 + N00))

    Source: Kuncheva, Whitaker 2003, "Measures of Diversity in Classifier Ensembles" (arXiv: none). Another number than
    `kappa`, which sees two members be wrong differently.
    """
    n11, n10, n01, n00 = _fourfold(counts)
    below = (n11 + n10) * (n10 + n00) + (n11 + n01) * (n01 + n00)
    return _over_pairs(_ratio(2 * (n11 * n00 - n01 * n10), below, counts.n), teams)


def q_statistic(counts: Tally, teams: Teams) -> Values:
    """Mean over pairs of Yule's Q; lower = more diverse, 0 for independent members.

        (N11 N00 - N01 N10) / (N11 N00 + N01 N10)

    Source: Yule 1900, "On the Association of Attributes in Statistics"; Kuncheva, Whitaker 2003 (arXiv: none).
    """
    n11, n10, n01, n00 = _fourfold(counts)
    return _over_pairs(_ratio(n11 * n00 - n01 * n10, n11 * n00 + n01 * n10, counts.n), teams)


def correlation(counts: Tally, teams: Teams) -> Values:
    """Mean over pairs of the correlation of being right; lower = more diverse.

        (N11 N00 - N01 N10) / sqrt((N11 + N10)(N01 + N00)(N11 + N01)(N10 + N00))

    Source: Kuncheva, Whitaker 2003, "Measures of Diversity in Classifier Ensembles" (arXiv: none).
    """
    n11, n10, n01, n00 = _fourfold(counts)
    # two roots: the product of all four would not fit whole numbers of 64 bits
    below = np.sqrt((n11 + n10) * (n01 + n00)) * np.sqrt((n11 + n01) * (n10 + n00))
    return _over_pairs(_ratio(n11 * n00 - n01 * n10, below, counts.n), teams)


def disagreement(counts: Tally, teams: Teams) -> Values:
    """Mean over pairs of (N01 + N10) / n, the examples on which one of them is right; higher = more diverse.

    Source: Skalak 1996, "The Sources of Increased Accuracy for Two Proposed Boosting Algorithms" (arXiv: none).
    """
    _, n10, n01, _ = _fourfold(counts)
    return _over_pairs(_ratio(n01 + n10, np.full_like(n10, counts.n), counts.n), teams)


def double_fault(counts: Tally, teams: Teams) -> Values:
    """Mean over pairs of N00 / n, the examples on which both are wrong; lower = more diverse.

    Source: Giacinto, Roli 2001, "Design of Effective Neural Network Ensembles for Image Classification" (arXiv: none).
    """
    n00 = _fourfold(counts)[3]
    return _over_pairs(_ratio(n00, np.full_like(n00, counts.n), counts.n), teams)


def fleiss_kappa(counts: Tally, teams: Teams) -> Values:
    """Agreement of all members at once on being right, beyond chance; lower = more diverse.

        1 - (sum over examples of l (L - l) / L) / (n (L - 1) p (1 - p)),    l of L members right, p their mean share

    Source: Fleiss 1981, "Statistical Methods for Rates and Proportions" (interrater agreement, arXiv: none).
    """
    size, hits, apart = _spread(counts, teams)
    # p (1 - p) n^2 L^2 in whole numbers, so that it is 0 exactly where p is 0 or 1
    chance = hits * (counts.n * size - hits)
    return 1 - _ratio(apart * counts.n * size, (size - 1) * chance, counts.n)


def entropy(counts: Tally, teams: Teams) -> Values:
    """How evenly the members split into right and wrong; higher = more diverse, 1 for halves on every example.

        mean over examples of min(l, L - l) / (L - ceil(L / 2)),    l of L members right

    Source: Kuncheva, Whitaker 2003, "Measures of Diversity in Classifier Ensembles" (arXiv: none).
    """
    size = teams.sum(axis=1)
    minority = _over_patterns(counts, teams, lambda right, of: np.minimum(right, of - right))
    return _ratio(minority, counts.n * (size - (size + 1) // 2), counts.n)


def kohavi_wolpert(counts: Tally, teams: Teams) -> Values:
    """Variance of being right over the members; higher = more diverse. (L - 1) / (2 L) times the disagreement.

        sum over examples of l (L - l) / (n L^2),    l of L members right

    Source: Kohavi, Wolpert 1996, "Bias Plus Variance Decomposition for Zero-One Loss Functions" (arXiv: none).
    """
    size, _, apart = _spread(counts, teams)
    return _ratio(apart, np.where(size > 1, counts.n * size**2, 0), counts.n)


def generalised(counts: Tally, teams: Teams) -> Values:
    """Generalised diversity: how rarely two members drawn at random fail together; higher = more diverse.

        1 - p(2) / p(1),    p(1) = mean of f / L,    p(2) = mean of f (f - 1) / (L (L - 1)),    f of L members wrong

    Source: Partridge, Krzanowski 1997, "Software Diversity: Practical Statistics for its Measurement and Exploitation"
    (arXiv: none).
    """
    size, hits, _ = _spread(counts, teams)
    both = _quadratic(_fourfold(counts)[3], teams)
    return 1 - _ratio(2 * both, (size - 1) * (counts.n * size - hits), counts.n)


def coincident_failure(counts: Tally, teams: Teams) -> Values:
    """Coincident failure diversity; higher = more diverse, 1 where failures are always one member's alone.

        mean of (L - f) / (L - 1) over the examples on which f > 0 of L members are wrong;    0 if there are none

    Source: Partridge, Krzanowski 1997, "Software Diversity" (arXiv: none).
    """
    size, hits, _ = _spread(counts, teams)
    all_right = _over_patterns(counts, teams, lambda right, of: right == of)
    failing = counts.n - all_right
    value = _ratio(hits - size * all_right, (size - 1) * failing, counts.n)
    return np.where((failing == 0) & (size > 1) & (counts.n > 0), 0.0, value)


def difficulty(counts: Tally, teams: Teams) -> Values:
    """Variance over the examples of the share of members that are right; lower = more diverse.

    Source: Hansen, Salamon 1990, "Neural Network Ensembles"; Kuncheva, Whitaker 2003 (theta, arXiv: none).
    """
    size, hits, apart = _spread(counts, teams)
    squares = size * hits - apart
    return _ratio(counts.n * squares - hits**2, np.where(size > 1, counts.n**2 * size**2, 0), counts.n)


MEASURES: Mapping[str, Measure] = {
    "kappa": Measure(function=kappa, higher=False),
    "correctness_kappa": Measure(function=correctness_kappa, higher=False),
    "q_statistic": Measure(function=q_statistic, higher=False),
    "correlation": Measure(function=correlation, higher=False),
    "disagreement": Measure(function=disagreement, higher=True),
    "double_fault": Measure(function=double_fault, higher=False),
    "fleiss_kappa": Measure(function=fleiss_kappa, higher=False),
    "entropy": Measure(function=entropy, higher=True),
    "kohavi_wolpert": Measure(function=kohavi_wolpert, higher=True),
    "generalised": Measure(function=generalised, higher=True),
    "coincident_failure": Measure(function=coincident_failure, higher=True),
    "difficulty": Measure(function=difficulty, higher=False),
}
"""All measures by name."""


def diversity_of(counts: Tally, teams: Teams, measure: str) -> Values:
    """One measure of many teams, on its own scale.

    Args:
        counts: of the pool, from `tallies.tally`.
        teams: (teams, members) True where a member belongs to a team.
        measure: a name in MEASURES.

    Returns: (teams,); the direction and what is NaN: see the table above.

    Raises:
        UnknownName: another measure.
        BadInput: teams of another number of members, or an empty team.
    """
    if measure not in MEASURES:
        raise UnknownName.of("measure of diversity", measure, MEASURES)
    if teams.shape[1:] != (counts.members,) or not teams.any(axis=1).all():
        raise BadInput(f"a team names at least one of {counts.members} members; got teams of shape {teams.shape}")
    function = MEASURES[measure].function
    if len(teams) <= ROWS:
        return function(counts, teams)
    return np.concatenate([function(counts, teams[i : i + ROWS]) for i in range(0, len(teams), ROWS)])


def pairwise(counts: Tally, measure: str) -> Pairs:
    """One measure of every pair of members: (members, members), symmetric, NaN on the diagonal and where undefined."""
    first, second = np.triu_indices(counts.members, 1)
    teams = np.zeros((len(first), counts.members), bool)
    rows = np.arange(len(first))
    teams[rows, first] = teams[rows, second] = True
    found = np.full((counts.members, counts.members), np.nan)
    found[first, second] = found[second, first] = diversity_of(counts, teams, measure)
    return found


def _fourfold(counts: Tally) -> tuple[Int64[np.ndarray, "members members"], ...]:
    """On how many examples both, the first, the second and none of each pair are right."""
    both, alone = counts.right, np.diag(counts.right)
    first, second = alone[:, None] - both, alone[None, :] - both
    return both, first, second, counts.n - both - first - second


def _ratio(above: np.ndarray, below: np.ndarray, n: int) -> np.ndarray:
    """Quotients, NaN where there is nothing to divide by or no example."""
    undefined = np.broadcast_to(below == 0, np.shape(above)) if n else np.ones(np.shape(above), bool)
    result: np.ndarray = np.where(undefined, np.nan, above / np.where(undefined, 1, below))
    return result


def _quadratic(matrix: np.ndarray, teams: Teams) -> Values:
    """Sum of a symmetric matrix over the pairs i < j in each team; of whole numbers exact, below 2^53."""
    chosen = teams.astype(np.float64)
    apart = matrix.astype(np.float64) * ~np.eye(len(matrix), dtype=bool)
    total: Values = np.einsum("tm,tm->t", chosen @ apart, chosen) / 2
    return total


def _over_pairs(values: np.ndarray, teams: Teams) -> Values:
    """Mean over the pairs in each team for which there is a value; NaN without any."""
    there = ~np.isnan(values)
    pairs = _quadratic(there, teams)
    mean: Values = _ratio(_quadratic(np.where(there, values, 0.0), teams), pairs, 1)
    return mean


def _spread(counts: Tally, teams: Teams) -> tuple[Values, Values, Values]:
    """Of each team its size L, and the sums over examples of l and of l (L - l), l of its members right."""
    size = teams.sum(axis=1).astype(np.float64)
    hits = teams.astype(np.float64) @ np.diag(counts.right).astype(np.float64)
    return size, hits, size * hits - hits - 2 * _quadratic(counts.right, teams)


def _over_patterns(counts: Tally, teams: Teams, of: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> Values:
    """Sum over examples of a function of how many members of a team are right, and of its size."""
    codes = coded(teams)
    weights = counts.weights.astype(np.float64)
    step = max(1, BLOCK // max(1, len(weights)))
    found = np.empty(len(codes))
    for start in range(0, len(codes), step):
        part = codes[start : start + step, None]
        found[start : start + step] = of(np.bitwise_count(part & counts.patterns), np.bitwise_count(part)) @ weights
    return found


def coded(teams: Teams) -> UInt64[np.ndarray, " teams"]:
    """Teams as words: bit i says whether member i belongs to it."""
    places = np.arange(teams.shape[1], dtype=np.uint64)
    words: UInt64[np.ndarray, " teams"] = (teams.astype(np.uint64) << places).sum(axis=1, dtype=np.uint64)
    return words
