"""Votes, focal diversity and the choice of a team, beside their definitions by loops over all teams."""

import math
from collections import Counter
from fractions import Fraction
from itertools import combinations

import numpy as np
import pytest

from prudent.diversity import MEASURES
from prudent.errors import BadInput, SplitMisuse, UnknownName
from prudent.focal import baseline_diversity, focal_diversity, gather
from prudent.teams import HQ_MEASURES, choose_team, members_of, prune_teams
from prudent.types import Predictions
from prudent.voting import combine, rights, vote
from tests.test_diversity import by_definition, pool


def all_teams(members, least=1):
    codes = [c for c in range(1, 1 << members) if c.bit_count() >= least]
    return np.array([[c >> i & 1 for i in range(members)] for c in codes], bool)


def places(team):
    return tuple(int(i) for i in np.flatnonzero(team))


def vote_by_loop(members, voting):
    """Example by example, class by class."""
    found = []
    for i in range(members[0].n):
        classes = range(members[0].classes)
        if voting == "soft":
            means = [sum(float(m.probabilities[i, c]) for m in members) / len(members) for c in classes]
            found.append(max(classes, key=lambda c: (round(means[c], 12), -c)))
            continue
        counts = Counter(int(m.decisions[i]) for m in members)
        best = max(classes, key=lambda c: (counts[c], -c))
        found.append(best if voting == "plurality" or 2 * counts[best] > len(members) else -1)
    return found


@pytest.mark.parametrize("voting", ["soft", "plurality", "majority"])
def test_votes_and_rights_of_every_team(voting):
    members = pool(5, 60, accuracy=0.4)
    teams = all_teams(5)
    counted = rights(members, teams, voting=voting)
    for team, right in zip(teams, counted, strict=True):
        chosen = [members[i] for i in places(team)]
        decided = vote_by_loop(chosen, voting)
        assert vote(chosen, voting=voting).tolist() == decided
        assert right == sum(d == y for d, y in zip(decided, members[0].labels.tolist(), strict=True))


def test_a_majority_can_be_missing_and_is_then_wrong():
    members = pool(4, 60, accuracy=0.1)
    decided = vote(members, voting="majority")
    assert 0 < (decided == -1).sum() < 60
    assert (decided[decided >= 0] == vote(members, voting="plurality")[decided >= 0]).all()


def test_combined_members_vote_softly_as_one():
    members = pool(3, 50)
    joined = combine(members)
    assert joined.members == 3
    np.testing.assert_allclose(joined.probabilities, np.mean([m.probabilities for m in members], axis=0), atol=1e-15)
    assert (joined.decisions == vote(members)).all()
    assert joined.split == "validation"
    assert (joined.labels == members[0].labels).all()


def test_combined_fingerprints_know_the_order_and_combined_samples_count_each():
    rng = np.random.default_rng(0)
    made = [
        Predictions(logits=rng.normal(size=(2, 5, 3)).astype(np.float32), split="test", model=name, data="d")
        for name in "ab"
    ]
    joined, turned = combine(made), combine(made[::-1])
    assert joined.members == 4
    assert joined.data == "d"
    np.testing.assert_array_equal(joined.logits[2:], made[1].logits)
    assert len(joined.model) == 64
    assert joined.model != turned.model
    plain = Predictions(logits=made[0].logits[0], split="test", model="", data="d")
    assert combine([plain]).model == ""
    with pytest.raises(BadInput, match=r"same number of dropout samples; got \[1, 2\]"):
        combine([plain, made[0]])


@pytest.mark.parametrize("name", MEASURES)
def test_focal_and_baseline_diversity_by_loops(name):
    members = pool(4, 40, accuracy=0.3, seed=4)
    labels = members[0].labels
    decided = np.stack([m.decisions for m in members])
    gathered = gather(members)
    teams = all_teams(4, least=2)
    sign = 1 if MEASURES[name].higher else -1

    def value(team, where):
        if not where.any():
            return None
        raw = by_definition(name, decided[np.ix_(team, where)].tolist(), labels[where].tolist())
        return None if raw is None else sign * float(raw)

    accuracy = [(d == labels).sum() for d in decided]
    ranks = [1 + sum(b < a for b in accuracy) + (sum(b == a for b in accuracy) - 1) / 2 for a in accuracy]
    disputed = np.array([len(set(decided[:, i])) > 1 for i in range(40)])
    expected = {}
    for size in range(2, 5):
        of_size = list(combinations(range(4), size))
        for team in of_size:
            total = weight = 0.0
            for f in team:
                rivals = [value(other, decided[f] != labels) for other in of_size if f in other]
                known = [v for v in rivals if v is not None]
                own = value(team, decided[f] != labels)
                if own is not None:
                    flat = max(known) - min(known) < 1e-12
                    total += ranks[f] * (0.5 if flat else (own - min(known)) / (max(known) - min(known)))
                    weight += ranks[f]
            expected[team] = total / weight if weight else math.nan
    focal, baseline = (f(gathered, teams, name) for f in (focal_diversity, baseline_diversity))
    for team, f, b in zip(teams, focal, baseline, strict=True):
        assert f == pytest.approx(expected[places(team)], abs=1e-9, nan_ok=True)
        plain = value(places(team), disputed)
        assert b == pytest.approx(math.nan if plain is None else plain, abs=1e-12, nan_ok=True)


def test_a_member_that_is_never_wrong_has_no_say():
    members = pool(3, 40)
    perfect = Predictions(
        logits=5 * np.eye(4, dtype=np.float32)[members[0].labels], labels=members[0].labels, split="validation"
    )
    gathered = gather([perfect] * 2)
    assert np.isnan(focal_diversity(gathered, np.ones((1, 2), bool), "disagreement")).all()
    choice = choose_team([perfect, perfect, perfect])
    assert choice.team == (0, 1)


def pruned_by_loop(score, right, *, members, beta, largest):
    """Hierarchical pruning with sets of sets."""
    dead, kept = set(), set()
    for size in range(2, largest + 1):
        teams = [frozenset(team) for team in combinations(range(members), size)]
        candidates = [team for team in teams if not any(lost <= team for lost in dead)]

        def rank(team):
            return score[team], sum(right[i] for i in team), sum(1 << i for i in team)

        candidates.sort(key=rank)
        cut = math.floor(Fraction(str(beta)) * len(candidates))
        dead |= set(candidates[:cut])
        kept |= set(candidates[cut:])
    return kept


@pytest.mark.parametrize("beta", [0.0, 0.1, 0.2, 0.5, 0.9])
@pytest.mark.parametrize("largest", [3, 6])
def test_hierarchical_pruning_by_loop(beta, largest):
    members = pool(6, 120, accuracy=0.5, seed=2)
    gathered = gather(members)
    teams = all_teams(6, least=2)
    for measure in ("kappa", "generalised", "q_statistic"):
        values = np.nan_to_num(focal_diversity(gathered, teams, measure), nan=-np.inf)
        score = {frozenset(places(t)): v for t, v in zip(teams, values, strict=True)}
        expected = pruned_by_loop(score, gathered.right.tolist(), members=6, beta=beta, largest=largest)
        kept, seen = prune_teams(
            lambda t, m=measure: focal_diversity(gathered, t, m), gathered, beta=beta, largest=largest
        )
        assert {frozenset(places(t)) for t in members_of(kept, 6)} == expected
        assert len(seen) == sum(math.comb(6, s) for s in range(2, largest + 1))


@pytest.mark.parametrize("beta", [0, 0.2, 0.5])
@pytest.mark.parametrize("voting", ["soft", "plurality", "majority"])
@pytest.mark.parametrize("diversity", ["focal", "baseline"])
def test_the_choice_is_the_best_of_all_that_survive(beta, voting, diversity):
    members = pool(6, 90, accuracy=0.35, seed=5)
    gathered = gather(members)
    teams = all_teams(6, least=2)
    votes = Counter()
    for measure in HQ_MEASURES:
        values = (focal_diversity if diversity == "focal" else baseline_diversity)(gathered, teams, measure)
        score = {frozenset(places(t)): v for t, v in zip(teams, np.nan_to_num(values, nan=-np.inf), strict=True)}
        votes.update(pruned_by_loop(score, gathered.right.tolist(), members=6, beta=beta, largest=6))
    survivors = [team for team, count in votes.items() if count >= 3]

    def rank(team):
        right = sum(
            d == y
            for d, y in zip(vote_by_loop([members[i] for i in sorted(team)], voting), members[0].labels, strict=True)
        )
        return -right, len(team), -sum(gathered.right[i] for i in team), sorted(team)

    best = min(survivors, key=rank)
    choice = choose_team(members, beta=beta, voting=voting, diversity=diversity)
    assert choice.team == tuple(sorted(best))
    assert choice.right == -rank(best)[0]
    assert choice.survivors == len(survivors)
    assert choice.considered == 57
    assert choice.exhaustive
    assert choice.cost == len(best) / 6
    assert "6 networks" in choice.sentence()


def test_consensus_falls_back_to_the_teams_that_most_measures_kept():
    members = pool(5, 100, accuracy=0.3, seed=8)
    strict = choose_team(members, measures=list(MEASURES), beta=0.9, consensus=12)
    assert strict.agreed < 12
    assert strict.survivors > 0


def test_a_beam_as_wide_as_the_pool_is_the_exhaustive_search_and_a_narrow_one_looks_at_less():
    members = pool(7, 150, accuracy=0.4, seed=6)
    for beta in (0, 0.3):
        full, beam = (choose_team(members, beta=beta, beam=b) for b in (None, 10_000))
        assert full.team == beam.team
        assert full.right == beam.right
        assert full.survivors >= beam.survivors
    assert choose_team(members, beta=0, beam=10_000).considered == full.considered == 120
    narrow = choose_team(members, beta=0, beam=2)
    assert narrow.considered < 120
    assert not narrow.exhaustive


def test_a_beam_goes_on_from_the_most_diverse():
    gathered = gather(pool(6, 120, accuracy=0.4, seed=11))

    def score(teams):
        return focal_diversity(gathered, teams, "disagreement")

    pairs = [frozenset(pair) for pair in combinations(range(6), 2)]
    values = score(np.array([[i in pair for i in range(6)] for pair in pairs]))
    best = sorted(pairs, key=lambda pair: values[pairs.index(pair)])[-2:]
    _, seen = prune_teams(score, gathered, beta=0, largest=3, beam=2)
    looked_at = {frozenset(places(t)) for t in members_of(seen, 6)}
    assert looked_at == {*pairs, *(pair | {i} for pair in best for i in range(6) if i not in pair)}


def test_a_budget_leaves_the_best_of_what_it_can_pay():
    members = pool(5, 90, accuracy=0.3, seed=5)
    costs = [1.0, 2.0, 4.0, 8.0, 16.0]
    teams = all_teams(5, least=2)
    for budget in (3, 7, 12, 31):
        cheap = teams[teams @ costs <= budget]
        best = rights(members, cheap).max()
        choice = choose_team(members, beta=0, costs=costs, budget=budget)
        assert sum(costs[i] for i in choice.team) <= budget
        assert choice.right == best
        assert choice.survivors == len(cheap)
    # pruned by diversity, and still payable
    assert sum(costs[i] for i in choose_team(members, beta=0.9, costs=costs, budget=3).team) == 3
    with pytest.raises(BadInput, match="no team costs at most 2; the cheapest that was looked at costs 3"):
        choose_team(members, costs=costs, budget=2)
    with pytest.raises(BadInput, match="for each of 5 members"):
        choose_team(members, costs=[1.0], budget=2)
    with pytest.raises(BadInput, match="for each of 5 members"):
        choose_team(members, costs=[1.0, math.nan, 1, 1, 1], budget=2)


def test_a_large_pool_is_searched_by_a_beam():
    members = pool(24, 60, accuracy=0.3)
    choice = choose_team(members, largest=4, beam=20, measures=("disagreement",))
    assert not choice.exhaustive
    assert choice.considered <= 276 + 2 * 20 * 22
    assert choice.right > max(gather(members).right)


def test_refusals(unchecked):
    members = pool(3)
    with pytest.raises(BadInput, match="two or more members; got none"):
        choose_team([])
    with pytest.raises(BadInput, match="got a single one"):
        choose_team(members[:1])
    with pytest.raises(BadInput, match="got a single one"):
        choose_team(members[0])
    for split in ("test", "train", "certification"):
        with pytest.raises(SplitMisuse, match=f"chosen on the validation split; these predictions come from '{split}'"):
            choose_team(pool(3, split=split))
    for options, what in (
        ({"beta": 1.0}, r"in \[0, 1\); got 1.0"),
        ({"beta": math.nan}, "got nan"),
        ({"measures": ()}, "at least one measure"),
        ({"largest": 1}, "at least two members; got largest=1"),
        ({"consensus": 5}, "1 to 4; got 5"),
        ({"consensus": 0}, "1 to 4; got 0"),
        ({"beam": 0}, "at least one team; got beam=0"),
        ({"voting": "loud"}, "voting is one of soft, plurality, majority; got 'loud'"),
        ({"diversity": "local"}, "diversity is one of focal, baseline; got 'local'"),
    ):
        with pytest.raises(BadInput, match=what):
            choose_team(members, **options)
    with pytest.raises(UnknownName, match="Did you mean 'kappa'"):
        choose_team(members, measures=["kapa"])
    with pytest.raises(BadInput, match="at least one of 3 members"):
        rights(members, np.zeros((1, 3), bool))
    with pytest.raises(BadInput, match="at least one member"):
        combine([])
