"""Which members of a pool make a team: every team, or a beam of them, pruned where its diversity is low.

Everything here looks at the validation split alone. What a chosen team is worth is measured on test, by
`team_reports.compare_team`.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from typing import Literal, get_args

import numpy as np
from jaxtyping import Bool, Float64, UInt64

from prudent.diversity import MEASURES
from prudent.errors import BadInput, SplitMisuse, UnknownName
from prudent.focal import Pool, baseline_diversity, focal_diversity, gather
from prudent.types import Predictions
from prudent.voting import Voting, rights
from prudent.wording import percent, plural

EXHAUSTIVE = 20
"""Up to so many members all teams are looked at; of larger pools a beam."""

BEAM = 256
"""Teams of each size that a beam search goes on from."""

HQ_MEASURES = ("kappa", "disagreement", "kohavi_wolpert", "generalised")
"""The measures by which teams are pruned unless told otherwise."""

Kind = Literal["focal", "baseline"]
Codes = UInt64[np.ndarray, "_"]
Score = Callable[[Bool[np.ndarray, "teams members"]], Float64[np.ndarray, " teams"]]


@dataclass(frozen=True, kw_only=True)
class Choice:
    """A team, and how it was chosen.

    Args:
        team: places of its members in the pool, ascending.
        pool: how many members there were.
        right, n: on how many of how many validation examples the team is right.
        measures: what diversity was measured by.
        kept: how many teams each of the measures kept, in their order.
        agreed: how many measures had to keep a team.
        survivors: how many teams that many measures kept; the most accurate of them was chosen.
        considered: how many teams were looked at.
        beta, voting, diversity: as asked for.
        exhaustive: whether every team was looked at.
        data: fingerprint of the examples, "" if unknown.
    """

    team: tuple[int, ...]
    pool: int
    right: int
    n: int
    measures: tuple[str, ...]
    kept: tuple[int, ...]
    agreed: int
    survivors: int
    considered: int
    beta: float
    voting: Voting
    diversity: Kind
    exhaustive: bool
    data: str = ""

    @property
    def cost(self) -> float:
        """Team size / pool size, in (0, 1]; lower is cheaper."""
        return len(self.team) / self.pool

    def sentence(self) -> str:
        """What was chosen, in one English sentence."""
        how = "all" if self.exhaustive else "a beam of"
        return (
            f"Of {plural(self.pool, 'network')} a team of {len(self.team)} was chosen on "
            f"validation, where it is right on {self.right:,} of {self.n:,} examples: {how} "
            f"{plural(self.considered, 'team')} were looked at, and {self.survivors:,} were left after pruning "
            f"{percent(self.beta)} of each size by {self.diversity} diversity."
        )


def choose_team(
    members: Sequence[Predictions],
    *,
    measures: Sequence[str] = HQ_MEASURES,
    beta: float = 0.1,
    voting: Voting = "soft",
    diversity: Kind = "focal",
    largest: int | None = None,
    consensus: int | None = None,
    beam: int | None = None,
    costs: Sequence[float] | None = None,
    budget: float = math.inf,
) -> Choice:
    """Choose a team from a pool by hierarchical pruning of the teams that are least diverse.

        for each measure, for S = 2 .. largest: candidates = teams of size S without a pruned team inside;
            the floor(beta * candidates) least diverse of them are pruned (of equal ones those of less accurate members)
        survivors = teams that at least `consensus` measures kept
        chosen    = the survivor that is right most often;  ties: the smaller, then the members' mean accuracy, then the
                    lowest places

    A team whose diversity is undefined counts as the least diverse.

    Args:
        members: predictions of each member of the pool on the *validation* split, labelled, 2 to 64 of them.
        measures: names in `diversity.MEASURES`, at least one.
        beta: share of the candidates of each size that is pruned, in [0, 1); 0 keeps all teams.
        voting: how a team decides, see `voting.vote`.
        diversity: "focal", over what the members get wrong, see `focal.focal_diversity`; or "baseline", over the
            examples on which the pool does not agree.
        largest: most members of a team; by default the whole pool.
        consensus: how many measures must keep a team; by default more than half. Where no team is kept by so many,
            those kept by most are the survivors.
        beam: go on from so many of the most diverse teams of each size; by default from all of them for pools of up to
            20 members, and from 256 for larger ones.
        costs: of each member, for example its multiply-accumulates or its milliseconds; a team costs their sum.
        budget: what a team may cost at most. Where no survivor is that cheap, all teams that were looked at stand by.

    Returns: the choice; the team has at least two members.

    Raises:
        SplitMisuse: predictions of another split than validation.
        BadInput: an empty pool or a pool of one, members that do not belong together, options out of range, no team
            within the budget.
        UnknownName: a measure that does not exist.

    Source: Wu et al. 2023, "Hierarchical Pruning of Deep Ensembles with Focal Diversity" (arXiv:2311.10293). Differs:
    accuracies, weights and errors come from validation examples, where the original's come from the test examples that
    it reports; equally diverse teams are told apart by their members' mean accuracy, not their own.
    """
    measures = tuple(dict.fromkeys(measures))
    _check(members, measures, beta, diversity, largest, consensus, beam)
    paid = _paid(costs, len(members))
    pool = gather(members)
    width = beam if beam is not None else None if len(members) <= EXHAUSTIVE else BEAM
    most = min(largest or len(members), len(members))

    score = partial(focal_diversity if diversity == "focal" else baseline_diversity, pool)
    searches = [
        prune_teams(partial(score, measure=measure), pool, beta=beta, largest=most, beam=width) for measure in measures
    ]
    kept, considered = [found for found, _ in searches], np.unique(np.concatenate([seen for _, seen in searches]))
    teams, votes = np.unique(np.concatenate(kept), return_counts=True)
    agreed = min(int(votes.max()), consensus or len(measures) // 2 + 1)
    survivors = _affordable(teams[votes >= agreed], considered, paid, budget)
    right = rights(members, members_of(survivors, len(members)), voting=voting)
    best = _best(survivors, right, pool)
    return Choice(
        team=tuple(int(i) for i in np.flatnonzero(members_of(survivors[[best]], len(members))[0])),
        pool=len(members),
        right=int(right[best]),
        n=members[0].n,
        measures=measures,
        kept=tuple(len(found) for found in kept),
        agreed=agreed,
        survivors=len(survivors),
        considered=len(considered),
        beta=float(beta),
        voting=voting,
        diversity=diversity,
        exhaustive=width is None,
        data=members[0].data,
    )


def prune_teams(
    score: Score,
    pool: Pool,
    *,
    beta: float,
    largest: int,
    beam: int | None = None,
) -> tuple[Codes, Codes]:
    """The teams that hierarchical pruning by one measure keeps, and all teams that it looked at.

    Args:
        score: (teams, members) of one size -> (teams,), higher = more diverse, NaN = least.
        pool: from `focal.gather`.
        beta: share of the candidates of each size that is pruned.
        largest: most members of a team.
        beam: go on from so many of the most diverse teams of each size; None looks at all teams.

    Returns: teams as words of bits, ascending: bit i says whether member i belongs to it.
    """
    members = len(pool.right)
    singles = np.uint64(1) << np.arange(members, dtype=np.uint64)
    every = np.arange(1 << members, dtype=np.uint64) if beam is None else None
    front, dead, kept, seen = singles, np.zeros(0, np.uint64), [], []
    for size in range(2, largest + 1):
        ground = _extended(front, singles) if every is None else every[np.bitwise_count(every) == size]
        if not len(ground):
            break
        hopeless = _holds_any(ground, dead, singles)
        teams = members_of(ground, members)
        scores = np.nan_to_num(score(teams), nan=-np.inf)
        order = np.lexsort((ground, teams @ pool.right, scores))
        order = order[~hopeless[order]]
        cut = math.floor(Fraction(repr(float(beta))) * len(order))
        dead = np.concatenate([ground[hopeless], ground[order[:cut]]])
        kept.append(ground[order[cut:]])
        seen.append(ground)
        front = kept[-1] if beam is None else ground[order[cut:][-beam:]]
    return np.sort(np.concatenate(kept)), np.concatenate(seen)


def members_of(codes: Codes, members: int) -> Bool[np.ndarray, "_ members"]:
    """Words of bits as one row of flags for each team."""
    flags: Bool[np.ndarray, "_ members"] = (codes[:, None] >> np.arange(members, dtype=np.uint64)) & 1 == 1
    return flags


def _extended(codes: Codes, singles: Codes) -> Codes:
    """All teams of one member more."""
    larger = codes[:, None] | singles
    return np.unique(larger[larger != codes[:, None]])


def _holds_any(codes: Codes, dead: Codes, singles: Codes) -> Bool[np.ndarray, "_"]:
    """Whether one of the teams of one member less is dead."""
    found = np.zeros(len(codes), bool)
    for single in singles if len(dead) else ():
        inside = np.flatnonzero(codes & single)
        found[inside] |= np.isin(codes[inside] ^ single, dead)
    return found


def _affordable(survivors: Codes, considered: Codes, paid: np.ndarray, budget: float) -> Codes:
    """The survivors within a budget, or else all teams within it."""
    for codes in (survivors, considered):
        prices = members_of(codes, len(paid)) @ paid
        # a sum in another order may differ in its last digit
        cheap = prices <= budget * (1 + 1e-12)
        if cheap.any():
            affordable: Codes = codes[cheap]
            return affordable
    raise BadInput(f"no team costs at most {budget:g}; the cheapest that was looked at costs {prices.min():g}")


def _paid(costs: Sequence[float] | None, members: int) -> Float64[np.ndarray, " members"]:
    paid: Float64[np.ndarray, " members"] = np.asarray([0.0] * members if costs is None else costs, np.float64)
    if paid.shape != (members,) or not (np.isfinite(paid) & (paid >= 0)).all():
        raise BadInput(f"costs are one finite number >= 0 for each of {members} members; got {costs}")
    return paid


def _best(codes: Codes, right: np.ndarray, pool: Pool) -> int:
    teams = members_of(codes, len(pool.right))
    # of equal ones the lowest places, read from the first member on: 0 1 before 0 2 before 1 2
    places = -(teams @ 0.5 ** np.arange(teams.shape[1]))
    return int(np.lexsort((places, -(teams @ pool.right), teams.sum(axis=1), -right))[0])


def _check(
    members: Sequence[Predictions],
    measures: Sequence[str],
    beta: float,
    diversity: str,
    largest: int | None,
    consensus: int | None,
    beam: int | None,
) -> None:
    if isinstance(members, Predictions) or len(members) < 2:
        count = "a single one" if isinstance(members, Predictions) or members else "none"
        raise BadInput(f"a team is chosen from a pool of two or more members; got {count}")
    for member in members:
        if member.split != "validation":
            raise SplitMisuse(f"teams are chosen on the validation split; these predictions come from {member.split!r}")
    if not measures:
        raise BadInput(f"teams are pruned by at least one measure of {', '.join(MEASURES)}; got none")
    for measure in measures:
        if measure not in MEASURES:
            raise UnknownName.of("measure of diversity", measure, MEASURES)
    if not 0 <= beta < 1:
        raise BadInput(f"beta is the share of teams that is pruned, in [0, 1); got {beta}")
    if diversity not in get_args(Kind):
        raise BadInput(f"diversity is one of {', '.join(get_args(Kind))}; got {diversity!r}")
    if largest is not None and largest < 2:
        raise BadInput(f"a team has at least two members; got largest={largest}")
    if consensus is not None and not 1 <= consensus <= len(measures):
        raise BadInput(f"consensus is a number of measures, 1 to {len(measures)}; got {consensus}")
    if beam is not None and beam < 1:
        raise BadInput(f"a beam goes on from at least one team; got beam={beam}")
