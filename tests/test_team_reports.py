"""Teams beside pool, best member and dense network: every number once more, from its definition."""

import numpy as np
import pytest
from scipy.stats import binomtest
from sklearn.metrics import log_loss, roc_auc_score

from prudent.errors import BadInput, SplitMisuse
from prudent.team_reports import Price, _limits, compare_team
from prudent.types import Predictions
from tests.test_diversity import pool


def strangers(count, n=70):
    rng = np.random.default_rng(9)
    return [Predictions(logits=rng.normal(size=(n, 4)).astype(np.float32), split="ood") for _ in range(count)]


def test_every_side_by_definition():
    members, dense = pool(4, split="test"), pool(5, split="test")[4]
    ood, dense_ood = strangers(5)[:4], strangers(5)[4]
    prices = [Price(macs=10.0 * (i + 1), milliseconds=0.5 * (i + 1)) for i in range(4)]
    sides = compare_team(
        members, {"team": (0, 2), "equal MACs": (1, 3)}, best=3, dense=dense, ood=ood, dense_ood=dense_ood,
        prices=prices, dense_price=Price(macs=100.0),
    )  # fmt: skip
    assert [s.name for s in sides] == ["team", "equal MACs", "pool", "best member", "dense"]
    assert [s.cost for s in sides] == [0.5, 0.5, 1.0, 0.25, None]
    assert [s.price.macs for s in sides] == [40, 60, 100, 40, 100]
    assert [s.price.milliseconds for s in sides] == [2.0, 3.0, 5.0, 2.0, None]
    labels = members[0].labels
    for side in sides:
        chosen = [members[i] for i in side.members] or [dense]
        odd = [ood[i] for i in side.members] or [dense_ood]
        mean = np.mean([m.probabilities for m in chosen], axis=0)
        wrong = (mean.argmax(axis=1) != labels).mean()
        assert side.metrics["error"].value == pytest.approx(wrong)
        assert side.metrics["error"].lo < wrong < side.metrics["error"].hi
        assert side.metrics["nll"].value == pytest.approx(log_loss(labels, mean, labels=range(4)))
        known, new = mean.max(axis=1), np.mean([m.probabilities for m in odd], axis=0).max(axis=1)
        area = roc_auc_score([0] * 200 + [1] * 70, -np.concatenate([known, new]))
        assert side.metrics["auroc_max_prob"].value == pytest.approx(area)
        assert side.change == pytest.approx((dense.decisions != labels).mean() - wrong)
    assert sides[-1].change == 0


def test_the_error_is_that_of_the_vote_asked_for():
    members = pool(4, split="test", accuracy=0.2)
    soft, majority = (
        compare_team(members, {"team": (0, 1, 2, 3)}, best=0, voting=voting)[0] for voting in ("soft", "majority")
    )
    votes = np.stack([m.decisions for m in members])
    right = [(votes[:, i] == y).sum() > 2 for i, y in enumerate(members[0].labels)]
    assert majority.metrics["error"].value == pytest.approx(1 - np.mean(right))
    assert majority.metrics["error"].value > soft.metrics["error"].value
    assert majority.metrics["nll"] == soft.metrics["nll"]
    assert soft.change is None


def test_refusals():
    members = pool(3, split="test")
    with pytest.raises(SplitMisuse, match="reported on the test split; these predictions come from 'validation'"):
        compare_team(pool(3), {"team": (0, 1)}, best=0)
    with pytest.raises(SplitMisuse, match="reported on the ood split"):
        compare_team(members, {"team": (0, 1)}, best=0, ood=members)
    for team in ((), (0, 0), (0, 3), (-1, 0)):
        with pytest.raises(BadInput, match="names members by different places 0 .. 2"):
            compare_team(members, {"team": team}, best=0)
    with pytest.raises(BadInput, match="best member names"):
        compare_team(members, {"team": (0, 1)}, best=3)
    with pytest.raises(BadInput, match="a pool of 3 members needs as many prices; got 1"):
        compare_team(members, {"team": (0, 1)}, best=0, prices=[Price(macs=1.0)])


def test_all_sides_answer_the_same_examples_under_names_of_their_own():
    members, others = pool(3, split="test"), pool(3, split="test", seed=5)
    with pytest.raises(BadInput, match="the same examples in the same order"):
        compare_team(members, {"team": (0, 1)}, best=0, dense=others[0])
    short = Predictions(logits=strangers(1)[0].logits[:9], split="ood")
    with pytest.raises(BadInput, match="same number of examples"):
        compare_team(members, {"team": (0, 1)}, best=0, dense=members[0], ood=strangers(3), dense_ood=short)
    for name in ("pool", "best member", "dense"):
        with pytest.raises(BadInput, match=f"name the team '{name}' otherwise"):
            compare_team(members, {name: (0, 1)}, best=0)


def test_limits_of_the_change_are_those_of_the_examples_on_which_they_differ():
    members, dense = pool(4, split="test", accuracy=0.3), pool(5, split="test")[4]
    sides = compare_team(members, {"team": (0, 2)}, best=3, dense=dense)
    team, labels = sides[0], dense.labels
    own = np.mean([members[i].probabilities for i in (0, 2)], axis=0).argmax(axis=1) == labels
    gained, lost = (own & (dense.decisions != labels)).sum(), (~own & (dense.decisions == labels)).sum()
    assert team.change == pytest.approx((gained - lost) / 200)

    def limit(k, side):
        # of a binomial with the limit as its rate, 1.25 % lie at k or beyond
        return binomtest(int(k), 200).proportion_ci(1 - 2 * 0.0125, method="exact")[side]

    assert team.change_lo == pytest.approx(limit(gained, 0) - limit(lost, 1))
    assert team.change_hi == pytest.approx(limit(gained, 1) - limit(lost, 0))
    assert sides[-1].change_lo < 0 < sides[-1].change_hi
    assert compare_team(members, {"team": (0, 2)}, best=3)[0].change_lo is None


def test_limits_of_the_change_hold_as_often_as_they_say():
    rng, missed = np.random.default_rng(0), 0
    for _ in range(400):
        draw = rng.random(150)
        right, dense = draw < 0.7, (draw < 0.6) | (draw > 0.85)  # truly 0.05 less often right
        lo, hi = _limits(right, dense)
        missed += not lo <= -0.05 <= hi
    assert missed <= 20
