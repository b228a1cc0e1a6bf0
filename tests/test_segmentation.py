"""Losses of masks: the definitions by loop over pixels, by another library, in claims, and what is refused."""

from fractions import Fraction

import numpy as np
import pytest
from scipy.stats import binom
from sklearn.metrics import jaccard_score, recall_score

from prudent.certificates import verify, write_certificate
from prudent.certification import certify
from prudent.errors import BadInput, SplitMisuse, UnknownName
from prudent.loss_tables import losses
from prudent.segmentation import mask_losses
from prudent.types import Predictions


def pictures(seed, *, n=40, share=0.4, shape=(5, 7)):
    """Random masks of very different sizes, some of them empty and some full."""
    rng = np.random.default_rng(seed)
    return rng.random((n, *shape)) < rng.choice([0.0, 0.05, share, 1.0], n)[:, None, None]


def by_loop(mask, true, loss):
    """The loss of one picture as a fraction of whole numbers, None where it is not counted."""
    cells = [(i, j) for i in range(true.shape[0]) for j in range(true.shape[1])]
    both = sum(1 for at in cells if mask[at] and true[at])
    either = sum(1 for at in cells if mask[at] or true[at])
    object_ = sum(1 for at in cells if true[at])
    if loss == "missed_overlap":
        return 1 - Fraction(both, either) if either else Fraction(0)
    return 1 - Fraction(both, object_) if object_ else None


@pytest.mark.parametrize("loss", ["missed_overlap", "missed_pixels"])
def test_each_loss_is_its_definition_by_loop(loss):
    truth, candidates = pictures(0), [pictures(seed) for seed in (1, 2, 3)]
    table = mask_losses(candidates, truth, sparsities=[0.1, 0.2, 0.5], loss=loss, split="certification")
    for c, mask in enumerate(candidates):
        expected = [by_loop(m, t, loss) for m, t in zip(mask, truth, strict=True)]
        assert table.values[:, c].tolist() == [float(e or 0) for e in expected]  # to the last digit
        known = [e for e in expected if e is not None]
        assert table.sizes[c] == len(known)
        assert table.means[c] == pytest.approx(float(sum(known) / len(known)), rel=1e-12)
    assert (table.loss, table.names, table.split) == (loss, ("0.1", "0.2", "0.5"), "certification")
    assert not table.binary
    together = mask_losses(np.stack(candidates), truth, sparsities=[0.1, 0.2, 0.5], loss=loss, split="certification")
    assert np.array_equal(together.values, table.values)


def test_each_loss_is_another_librarys():
    truth, mask = pictures(4), pictures(5)
    truth[:, 0, 0] = True  # both libraries agree on what the loss of an object is, not of none
    overlap, missed = (
        mask_losses([mask], truth, sparsities=[0.5], loss=loss, split="test")
        for loss in ("missed_overlap", "missed_pixels")
    )
    flat = list(zip(truth.reshape(len(truth), -1), mask.reshape(len(mask), -1), strict=True))
    np.testing.assert_allclose(overlap.values[:, 0], [1 - jaccard_score(t, m) for t, m in flat], atol=1e-15)
    np.testing.assert_allclose(missed.values[:, 0], [1 - recall_score(t, m) for t, m in flat], atol=1e-15)
    assert missed.counted is None, "every picture has an object"


def test_the_ends_of_the_scale():
    empty, full = np.zeros((1, 2, 3), bool), np.ones((1, 2, 3), bool)
    one = empty.copy()
    one[0, 0, 0] = True

    def lost(mask, true, loss="missed_overlap"):
        table = mask_losses([mask], true, sparsities=[0.0], loss=loss, split="test")
        return float(table.values[0, 0]), table.sizes[0]

    assert lost(empty, empty) == (0.0, 1)
    assert lost(full, empty) == lost(empty, full) == (1.0, 1)
    assert lost(full, full) == (0.0, 1)
    assert lost(one, full) == lost(full, one) == (5 / 6, 1)
    assert lost(one, full, "missed_pixels") == (5 / 6, 1)
    assert lost(full, one, "missed_pixels") == (0.0, 1), "pixels beside the object are not this loss's business"
    assert lost(full, empty, "missed_pixels") == (0.0, 0), "nothing to miss: not counted"


def test_claims_say_what_is_bounded_and_can_be_verified(tmp_path):
    rng = np.random.default_rng(0)
    truth = np.zeros((400, 4, 4), bool)
    truth[:, :2] = True
    # of the object's 8 pixels one, two or six are missed
    candidates = []
    for missed in (1, 2, 6):
        mask = truth.copy()
        mask.reshape(400, 16)[:, :missed] = False
        candidates.append(mask)
    sides = {"sparsities": [0.5, 0.7, 0.9], "split": "certification", "models": ("a", "b", "c"), "data": "d"}
    words = {
        "missed_overlap": "the mean of 1 - intersection over union is at most 0.3",
        "missed_pixels": "the mean share of each picture's object that is missed is at most 0.3",
    }
    for loss, claim in words.items():
        table = mask_losses(candidates, truth, loss=loss, **sides)
        assert table.means == pytest.approx((1 / 8, 2 / 8, 6 / 8))
        for bound in ("hoeffding_bentkus", "hockey_stick", "betting"):
            certificate = certify(table, alpha=0.3, delta=0.05, bound=bound)
            assert certificate.selected == 1
            assert certificate.sentence().replace("\u202f", " ") == f"With 95 % confidence, {claim} at 70 % sparsity."
        path = write_certificate(certificate, table, tmp_path / f"{loss}.json")
        assert verify(path).sparsities == (0.5, 0.7, 0.9)
    truth[rng.random(400) < 0.5] = False
    table = mask_losses(candidates, truth, loss="missed_pixels", **sides)
    assert certify(table, alpha=0.3, delta=0.05, bound="betting").sizes == (int(truth.any(axis=(1, 2)).sum()),) * 3
    with pytest.raises(BadInput, match="0/1|0 and 1|0 or 1"):
        certify(table, alpha=0.3, delta=0.05, bound="binomial")


def test_the_certificate_is_valid_by_enumeration():
    """One pixel of four wrong in a share of the pictures: the loss is 1/4 there, and its mean q/4 lies at alpha."""
    n, delta, q = 60, 0.1, 0.5
    truth = np.ones((n, 2, 2), bool)
    for bound in ("hoeffding_bentkus", "hockey_stick"):  # which look at the losses in no order
        passed = 0.0
        for k in range(n + 1):
            mask = truth.copy()
            mask[:k, 0, 0] = False
            table = mask_losses([mask], truth, sparsities=[0.5], split="certification")
            assert table.means[0] == k / 4 / n
            claimed = certify(table, alpha=q / 4, delta=delta, bound=bound).selected is not None
            passed += claimed * float(binom.pmf(k, n, q))
        assert 0 < passed <= delta, bound


def test_no_picture_with_an_object_certifies_nothing():
    empty = np.zeros((30, 2, 2), bool)
    table = mask_losses([empty], empty, sparsities=[0.5], loss="missed_pixels", split="certification")
    assert table.sizes == (0,)
    certificate = certify(table, alpha=0.5, delta=0.5, bound="hoeffding_bentkus")
    assert (certificate.selected, certificate.p_values) == (None, (1.0,))


def test_only_the_certification_split_can_be_certified():
    table = mask_losses([pictures(1)], pictures(0), sparsities=[0.5], split="test")
    with pytest.raises(SplitMisuse, match="these losses come from 'test'"):
        certify(table, alpha=0.5, delta=0.5, bound="betting")


GOOD = pictures(0)


@pytest.mark.parametrize(
    ("predicted", "truth", "message"),
    [
        ([GOOD.astype(float)], GOOD, r"masks of candidate 0 are bool, .* got dtype float64: logits > 0, if they are"),
        ([GOOD, GOOD.astype(np.uint8)], GOOD, "masks of candidate 1 are bool, .* got dtype uint8"),
        ([np.where(GOOD, np.nan, 0.0)], GOOD, "masks of candidate 0 are bool, .* got dtype float64"),
        ([GOOD], GOOD.astype(int), "true masks are bool, .* got dtype int64"),
        ([GOOD[:, :, 1:]], GOOD, r"marks the same pictures, \(40, 5, 7\); candidate 0 has \(40, 5, 6\)"),
        ([GOOD, GOOD[1:]], GOOD, r"candidate 1 has \(39, 5, 7\)"),
        ([GOOD[:, None]], GOOD, r"candidate 0 have shape \(n, height, width\) .* got \(40, 1, 5, 7\)"),
        ([GOOD[:0]], GOOD[:0], r"true masks have shape .* at least one of each; got \(0, 5, 7\)"),
        ([], GOOD, "at least one candidate"),
        (GOOD, GOOD, "take a list of masks, one array for each candidate; got a single one: put it in a list"),
    ],
)
def test_refusals(predicted, truth, message, unchecked):
    with pytest.raises(BadInput, match=message):
        mask_losses(predicted, truth, sparsities=[0.5] * len(predicted), split="certification")


def test_refuses_an_unknown_loss_and_what_losses_refuse(unchecked):
    with pytest.raises(UnknownName, match="no loss of masks named 'missed_pixel'. Did you mean 'missed_pixels'"):
        mask_losses([GOOD], GOOD, sparsities=[0.5], loss="missed_pixel", split="certification")
    with pytest.raises(BadInput, match="densest to the sparsest"):
        mask_losses([GOOD, GOOD], GOOD, sparsities=[0.5, 0.4], split="certification")
    with pytest.raises(BadInput, match="1 candidates need as many models; got 2"):
        mask_losses([GOOD], GOOD, sparsities=[0.5], split="certification", models=("a", "b"))


@pytest.mark.parametrize("name", ["missed_overlap", "missed_pixels"])
def test_a_loss_of_ones_own_cannot_take_these_words(name):
    def own(candidate, dense):
        return np.zeros(candidate.n)

    own.__name__ = name
    answers = Predictions(logits=np.eye(3, dtype=np.float32), split="certification")
    with pytest.raises(BadInput, match=f"needs a name of its own: '{name}' is prudent's"):
        losses([answers], sparsities=[0.5], loss=own)
