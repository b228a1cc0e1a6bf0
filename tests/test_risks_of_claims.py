"""Risks beyond error and disagreement: signed, conditional, of groups, of probabilities; each by its definition."""

import itertools
import math

import numpy as np
import pytest
from scipy.stats import binom, multinomial

from prudent.binned import binned_error, calibration_p_value
from prudent.calibration import ece
from prudent.certification import certify
from prudent.errors import BadInput, UnknownName
from prudent.loss_tables import by_group, losses
from prudent.risks import LOSSES, confidence_bins
from prudent.types import Losses, Predictions


def answers(seed, *, n=60, classes=4, members=None, split="certification"):
    rng = np.random.default_rng(seed)
    shape = (n, classes) if members is None else (members, n, classes)
    labels = np.random.default_rng(99).integers(0, classes, n)
    return Predictions(logits=2 * rng.standard_normal(shape), labels=labels, split=split, model=f"m{seed}")


def one(name, candidate, dense=None, **options):
    return LOSSES[name].function(candidate, dense, **options)


@pytest.mark.parametrize("members", [None, 3])
def test_each_loss_is_its_definition_by_loop(members):
    candidate, dense = answers(1, members=members), answers(2)
    for i in range(candidate.n):
        p, y = candidate.probabilities[i], int(candidate.labels[i])
        right, was = int(candidate.decisions[i] == y), int(dense.decisions[i] == y)
        assert one("accuracy_drop", candidate, dense)[i] == was - right
        assert one("negative_flip", candidate, dense)[i] == float(was and not right)
        order = sorted(range(4), key=lambda c: -p[c])
        assert one("top_k_error", candidate, k=2)[i] == float(y not in order[:2])
        assert one("brier", candidate)[i] == pytest.approx(sum((p[c] - (c == y)) ** 2 for c in range(4)), rel=1e-12)
        lost = one("selective_error", candidate, threshold=0.7)[i]
        assert math.isnan(lost) if p.max() < 0.7 else lost == 1 - right
        assert one("ood_acceptance", candidate, threshold=-0.7)[i] == float(p.max() > 0.7)
        assert one("calibration", candidate)[i] == pytest.approx(p.max() - right)


def test_a_class_as_probable_as_the_kth_is_missed():
    tied = Predictions(logits=np.zeros((1, 3), np.float32), labels=np.array([0]), split="certification")
    assert one("top_k_error", tied, k=2).tolist() == [1.0]
    assert one("top_k_error", tied, k=1).tolist() == [1.0]


def test_drops_and_flips_say_how_accuracy_falls():
    candidate, dense = answers(3), answers(4)
    drop = np.mean(dense.decisions == dense.labels) - np.mean(candidate.decisions == candidate.labels)
    assert one("accuracy_drop", candidate, dense).mean() == pytest.approx(drop)
    assert one("negative_flip", candidate, dense).mean() >= drop


def test_the_calibration_error_of_a_table_is_the_metric():
    candidates = [answers(5), answers(6)]
    table = losses(candidates, sparsities=[0.1, 0.2], loss="calibration", options={"bins": 10})
    certificate = certify(table, alpha=0.5, delta=0.1, bound="mcdiarmid")
    assert certificate.empirical_risks == pytest.approx([ece(c, bins=10) for c in candidates], rel=1e-12)
    for c, p in zip(candidates, certificate.p_values, strict=True):
        assert p == pytest.approx(math.exp(-60 * max(0, 0.5 - ece(c, bins=10)) ** 2 / 2))
    assert "expected calibration error in 10 bins" in certificate.bounded()


def test_calibration_certificate_against_the_oracle(oracle):
    """The bound at which p reaches delta is the empirical error plus sqrt(2 ln(1/delta) / n)."""
    vector = oracle("ece_certificate_mcdiarmid_n10000")
    n, delta = vector["inputs"]["n"], vector["inputs"]["delta"]
    residuals, bins = np.full(n, vector["inputs"]["ece_hat"]), np.zeros(n, np.int64)
    upper = vector["expected"]["upper"]
    assert calibration_p_value(residuals, bins, upper) == pytest.approx(delta, rel=1e-9)
    assert calibration_p_value(residuals, bins, upper - 1e-6) > delta


def test_calibration_certificate_is_valid_by_enumeration():
    """A network of confidence 0.8 that is right 4 of 10 times, in one bin; one of 0.6 beside it, right always."""
    n, delta = 12, 0.3
    shares = np.array([0.5 * 0.4, 0.5 * 0.6, 0.5 * 1.0])  # (confident and right, confident and wrong, unsure and right)
    residual, bin_of = np.array([0.8 - 1, 0.8, 0.6 - 1]), np.array([8, 8, 6])
    true = abs(shares[0] * residual[0] + shares[1] * residual[1]) + abs(shares[2] * residual[2])
    wrong = 0.0
    for a, b in itertools.product(range(n + 1), repeat=2):
        if a + b <= n:
            which = np.repeat([0, 1, 2], [a, b, n - a - b])
            if calibration_p_value(residual[which], bin_of[which], true) <= delta:
                wrong += multinomial.pmf([a, b, n - a - b], n, shares)
    assert wrong <= delta
    assert binned_error(residual[[0, 1]], bin_of[[0, 1]]) == pytest.approx(abs(-0.2 + 0.8) / 2)


@pytest.mark.parametrize("name", ["accuracy_drop", "negative_flip", "disagreement"])
def test_what_compares_needs_the_dense_network(name):
    with pytest.raises(BadInput, match="dense network"):
        losses([answers(1)], sparsities=[0.5], loss=name)


@pytest.mark.parametrize(
    "name", ["accuracy_drop", "negative_flip", "top_k_error", "brier", "selective_error", "calibration"]
)
def test_what_needs_labels_says_so(name):
    blind = Predictions(logits=np.eye(3, dtype=np.float32), split="certification")
    with pytest.raises(BadInput, match="true labels"):
        losses([blind], sparsities=[0.5], loss=name, dense=blind)


def test_options_are_checked_and_recorded():
    table = losses([answers(1)], sparsities=[0.5], loss="top_k_error", options={"k": 2})
    assert table.options == (("k", 2),)
    assert losses([answers(1)], sparsities=[0.5], loss="selective_error").options == (("threshold", 0.9),)
    with pytest.raises(UnknownName, match="option of loss 'top_k_error'"):
        losses([answers(1)], sparsities=[0.5], loss="top_k_error", options={"kk": 2})
    for name, bad, message in (("top_k_error", {"k": 4}, "k in 1 .. 3"), ("calibration", {"bins": 0}, "one bin"),
                               ("selective_error", {"threshold": 1.0}, "threshold")):  # fmt: skip
        with pytest.raises(BadInput, match=message):
            losses([answers(1)], sparsities=[0.5], loss=name, options=bad)


def test_nan_is_for_losses_that_say_what_it_means():
    def holes(candidate, dense):
        return np.where(np.arange(candidate.n) < 5, np.nan, 0.0)

    with pytest.raises(BadInput, match="or NaN"):
        losses([answers(1)], sparsities=[0.5], loss=holes)


def paired(n10, n01, n):
    values = np.full((n, 1), 0.5)
    values[:n10], values[n10 : n10 + n01] = 1.0, 0.0
    return Losses(values=values, names=("a",), sparsities=(0.5,), loss="accuracy_drop", split="certification", low=-1.0)


def test_accuracy_drop_is_tested_on_its_own_scale(oracle):
    vector = oracle("paired_drop_wsr_rescaled")
    n = 2000
    values = np.full((n, 1), 0.5)
    values[[33 * i for i in range(60)]] = 1.0
    values[[33 * i + 16 for i in range(40)]] = 0.0
    table = Losses(
        values=values, names=("a",), sparsities=(0.5,), loss="accuracy_drop", split="certification", low=-1.0
    )
    seen = []

    def spy(column, alpha):
        seen.append((column.copy(), alpha))
        return 1.0

    certificate = certify(table, alpha=0.03, delta=0.05, bound=spy)
    assert certificate.empirical_risks == pytest.approx([0.01])
    assert seen[0][1] == pytest.approx(vector["inputs"]["alpha"])
    np.testing.assert_array_equal(seen[0][0], values[:, 0])
    claim = certify(table, alpha=0.03, delta=0.05, bound="betting")
    assert claim.selected == 0
    assert "accuracy is at most 3\u202f% lower than the dense network's" in claim.sentence()


def test_flips_and_drop_of_one_table_against_the_oracle(oracle):
    vector = oracle("paired_drop_60_40_2000")
    given = vector["inputs"]
    flips = np.zeros((given["n"], 1))
    flips[: given["n10_dense_right_pruned_wrong"]] = 1.0
    table = Losses(values=flips, names=("a",), sparsities=(0.5,), loss="negative_flip", split="certification")
    p = certify(table, alpha=given["margin"], delta=0.05).p_values[0]
    assert p == pytest.approx(vector["expected"]["negative_flip_binomial_p"], rel=1e-9)


def test_bounds_that_the_drop_would_break_are_refused():
    with pytest.raises(BadInput, match="use bound='betting'"):
        certify(paired(60, 40, 2000), alpha=0.03, delta=0.05, bound="binomial")
    with pytest.raises(BadInput, match=r"alpha lies in \(-1, 1\)"):
        certify(paired(60, 40, 2000), alpha=1.5, delta=0.05, bound="betting")
    assert certify(paired(0, 400, 2000), alpha=-0.1, delta=0.05, bound="betting").selected == 0, "better than dense"


def test_conditional_risks_are_judged_by_the_examples_they_are_about():
    candidate = answers(7, n=400)
    table = losses([candidate], sparsities=[0.5], loss="selective_error", options={"threshold": 0.8})
    served = candidate.probabilities.max(axis=1) >= 0.8
    wrong = int(((candidate.decisions != candidate.labels) & served).sum())
    certificate = certify(table, alpha=0.9, delta=0.05)
    assert certificate.sizes == (int(served.sum()),)
    assert certificate.counts == (wrong,)
    assert certificate.p_values == pytest.approx([binom.cdf(wrong, served.sum(), 0.9)])


def test_no_example_at_all_is_no_evidence():
    table = losses([answers(1)], sparsities=[0.5], loss="selective_error", options={"threshold": 0.9999999})
    certificate = certify(table, alpha=0.5, delta=0.05)
    assert certificate.sizes == (0,)
    assert (certificate.p_values, certificate.selected) == ((1.0,), None)


def test_worst_group_against_the_oracle(oracle):
    vector = oracle("worst_group_iut")
    given = vector["inputs"]
    groups = np.repeat(np.arange(3), given["n"])
    values = np.concatenate([np.r_[np.ones(k), np.zeros(n - k)] for k, n in zip(given["k"], given["n"], strict=True)])
    table = Losses(values=values[:, None], names=("a",), sparsities=(0.5,), loss="error", split="certification")
    certificate = certify(by_group(table, groups), alpha=given["alpha"], delta=given["delta"])
    assert [p.p_values[0] for p in certificate.parts] == pytest.approx(vector["expected"]["p_groups"], rel=1e-10)
    assert certificate.p_values == pytest.approx([vector["expected"]["p_worst"]], rel=1e-10)
    assert certificate.binding == ("error in class 0",)
    assert certificate.sentence().startswith(
        "With 90\u202f% confidence, in each of 3 groups (class 0, class 1, class 2), at most 6"
    )


def test_the_worst_group_is_valid_by_enumeration():
    """Two groups, one at the boundary: P(certified) <= delta, also where the other is far below."""
    n, alpha, delta, total = 14, 0.3, 0.2, 0.0
    groups = np.arange(n) % 2
    for k0, k1 in itertools.product(range(n // 2 + 1), repeat=2):
        values = np.zeros((n, 1))
        values[np.flatnonzero(groups == 0)[:k0]] = 1.0
        values[np.flatnonzero(groups == 1)[:k1]] = 1.0
        table = Losses(values=values, names=("a",), sparsities=(0.5,), loss="error", split="certification")
        if certify(by_group(table, groups), alpha=alpha, delta=delta).selected is not None:
            total += binom.pmf(k0, n // 2, alpha) * binom.pmf(k1, n // 2, 0.0001)
    assert 0 < total <= delta


def test_several_risks_bind_where_they_are_hardest():
    a = Losses(values=np.r_[np.ones(3), np.zeros(97)][:, None].repeat(2, 1), names=("a", "b"), sparsities=(0.1, 0.2),
               loss="error", split="certification")  # fmt: skip
    b = Losses(values=np.stack([np.zeros(100), np.r_[np.ones(9), np.zeros(91)]], 1), names=("a", "b"),
               sparsities=(0.1, 0.2), loss="disagreement", split="certification", dense="d")  # fmt: skip
    certificate = certify([a, b], alpha=[0.1, 0.2], delta=0.05)
    each = [[binom.cdf(3, 100, 0.1)] * 2, [binom.cdf(0, 100, 0.2), binom.cdf(9, 100, 0.2)]]
    assert certificate.p_values == pytest.approx(np.max(each, axis=0))
    assert certificate.binding == ("error", "error" if each[0][1] > each[1][1] else "disagreement")
    assert (certificate.alpha, certificate.risk, certificate.dense) == (0.2, "error and disagreement", "d")
    assert (
        "at most 10\u202f% of predictions are wrong and at most 20\u202f% of predictions differ"
        in certificate.sentence()
    )


def test_procedures_are_taken_by_name():
    values = np.stack([np.zeros(100), np.r_[np.ones(50), np.zeros(50)], np.zeros(100)], 1)
    table = Losses(
        values=values, names=("a", "b", "c"), sparsities=(0.1, 0.2, 0.3), loss="error", split="certification"
    )
    assert certify(table, alpha=0.1, delta=0.05).selected == 0
    holm = certify(table, alpha=0.1, delta=0.05, procedure="holm")
    assert (holm.selected, holm.passed, holm.states) == (2, (True, False, True), ("passed", "failed", "passed"))
    starts = certify(
        table, alpha=0.1, delta=0.05, procedure="fixed_sequence_starts", settings={"starts": np.array([0, 2])}
    )
    assert (starts.selected, starts.settings) == (2, (("starts", (0, 2)),))
    with pytest.raises(BadInput, match="false discover"):
        certify(table, alpha=0.1, delta=0.05, procedure="benjamini_hochberg")
    with pytest.raises(UnknownName, match="option of procedure 'holm'"):
        certify(table, alpha=0.1, delta=0.05, procedure="holm", settings={"starts": [0]})


def test_tables_that_do_not_belong_together():
    a = paired(1, 1, 100)
    other = Losses(values=np.zeros((100, 1)), names=("z",), sparsities=(0.5,), loss="error", split="certification")
    with pytest.raises(BadInput, match="same candidates"):
        certify([a, other], alpha=0.1, delta=0.1, bound="betting")
    with pytest.raises(BadInput, match="as many alphas"):
        certify([other, other], alpha=[0.1], delta=0.1)
    with pytest.raises(BadInput, match="certify needs losses"):
        certify([], alpha=0.1, delta=0.1)
    with pytest.raises(BadInput, match="needs bound='mcdiarmid'"):
        certify(losses([answers(1)], sparsities=[0.5], loss="calibration"), alpha=0.1, delta=0.1)
    with pytest.raises(BadInput, match="is for bins"):
        certify(other, alpha=0.1, delta=0.1, bound="mcdiarmid")


def test_groups_are_one_for_each_example():
    table = losses([answers(1)], sparsities=[0.5])
    with pytest.raises(BadInput, match="one name for each of 60"):
        by_group(table, ["a", "b"])
    named = by_group(table, np.array(["day", "night"])[np.arange(60) % 2])
    assert [t.group for t in named] == ["day", "night"]
    with pytest.raises(BadInput, match="cannot be divided"):
        by_group(named[0], np.zeros(60, np.int64))


def test_bins_are_those_of_the_reliability_diagram():
    sure = Predictions(logits=np.array([[40.0, 0.0], [0.0, 0.0]], np.float32), labels=np.array([0, 1]), split="test")
    assert confidence_bins(sure, bins=10).tolist() == [9, 5]


def test_disagreement_bounds_the_accuracy():
    table = Losses(
        values=np.zeros((500, 1)), names=("a",), sparsities=(0.5,), loss="disagreement", split="certification"
    )
    certificate = certify(table, alpha=0.05, delta=0.05)
    assert certificate.consequence() == "So its accuracy is at least the dense network's minus 5\u202f%."
    assert certify(table, alpha=0.001, delta=0.05).consequence() == ""


def by_hand(**change):
    given = {
        "values": np.zeros((20, 1)),
        "names": ("a",),
        "sparsities": (0.5,),
        "loss": "error",
        "split": "certification",
    }
    return Losses(**(given | change))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"counted": np.arange(20)[:, None] < 5}, "is about all examples"),
        ({"low": -1.0}, r"'error' lies in \[0, 1\]"),
        ({"bins": np.zeros((20, 1), np.int64)}, r"lies in \[0, 1\]"),
        ({"loss": "selective_error"}, "needs the options"),
        ({"loss": "calibration", "low": -1.0, "bins": np.full((20, 1), 15), "options": (("bins", 15),)}, "beyond"),
        ({"stopped": True, "counted": np.arange(20)[:, None] >= 5}, "counts the first examples"),
        (
            {"loss": "own", "bins": np.zeros((20, 1), np.int64), "counted": np.arange(20)[:, None] < 5},
            "leave counted out",
        ),
    ],
)
def test_tables_by_hand_that_the_sentence_would_not_be_true_of(change, message):
    table = by_hand(**change)
    bound = "mcdiarmid" if table.bins is not None else "beta_mixture" if table.low == 0 else "betting"
    with pytest.raises(BadInput, match=message):
        certify(table, alpha=0.3, delta=0.1, bound=bound)


def test_that_losses_decided_how_many_examples_is_in_the_certificate():
    table = by_hand(stopped=True, counted=np.arange(20)[:, None] < 15)
    assert certify(table, alpha=0.5, delta=0.1, bound="beta_mixture").stopped


def test_one_claim_is_about_one_set_of_examples():
    with pytest.raises(BadInput, match="same candidates and examples; data"):
        certify([by_hand(data="d"), by_hand(data="e")], alpha=0.3, delta=0.1)
