"""The rules that turn numbers into sentences."""

import pytest
from markupsafe import Markup

from prudent.report import answers, trades
from prudent.report.answers import Honesty, Onset, Shift
from prudent.report.changes import Change, compare
from prudent.report.measures import MEASURE
from prudent.report.trades import Choice, Speed
from prudent.wording import NARROW

EVIL = "<script>alert(1)</script>"


def text(markup: Markup) -> str:
    return markup.striptags().replace(NARROW, " ")


def choice(title="Weights", *, smaller=8.0, speedup=1.0, flag="not faster") -> Choice:
    return Choice(title=title, sparsity=0.875, smaller=smaller, speedup=speedup, flag=flag)


def onset(what, at=None) -> Onset:
    return Onset(what=what, at=at, dense="1.0 %", there="3.0 %")


def change(effect: float, key="ece", seeds=3) -> Change:
    """A change of so many spreads, from three dense seeds with spread 0.01."""
    dense = [0.02, 0.03, 0.04][:seeds]
    sign = -1 if MEASURE[key].better == "higher" else 1
    return compare(MEASURE[key], dense, [d + sign * effect * 0.01 for d in dense])


def test_candidates_for_size_and_for_speed():
    weights, channels = choice(), choice("Channels", smaller=4.0, speedup=2.0, flag="faster")
    assert text(trades.candidates([weights, channels], 2)) == (
        "Need it small? Weights at 87.5 %: 8.0× smaller on disk. Need it fast? Channels at 87.5 %: 2.0× faster when "
        "measured."
    )


def test_candidates_where_one_is_both():
    both = choice("Channels", smaller=9.0, speedup=2.0, flag="faster")
    assert text(trades.candidates([choice(), both], 2)).endswith("It is also the fastest: 2.0× when measured.")


def test_candidates_that_are_neither():
    said = text(trades.candidates([choice(smaller=0.9)], 1))
    assert "None of them is smaller" in said
    assert "None of them is faster" in said


def test_a_noisy_clock_is_not_called_not_faster():
    noisy = choice(speedup=9.8, flag="too noisy")
    said = text(trades.candidates([noisy, choice()], 2))
    assert "None of them is faster" not in said
    assert said.endswith(
        "Too noisy to say here: Weights at 87.5 % came to 9.8×, but not beyond the noise of measuring."
    )
    fast = choice("Channels", speedup=2.0, flag="faster")
    assert "noisy" not in trades.candidates([noisy, fast], 2)
    slow = choice(speedup=0.3, flag="too noisy")
    assert "None of them is faster" in trades.candidates([slow], 1)
    loud = Speed(title="Channels", smaller=10, faster=None, promised=15, noisy=9.8)
    still = Speed(title="Weights", smaller=17, faster=None, promised=16)
    assert text(trades.speed([loud, still])) == (
        "Smaller on disk, up to 17.0×. Not faster, whatever was removed: Weights. "
        "Too noisy to say: Channels, up to 9.8×, but not beyond the noise of measuring."
    )


def test_two_seeds_cannot_tell_a_large_change_from_luck():
    large, small = change(4, "error", seeds=2), change(1, "ece", seeds=2)
    assert large.verdict == ""
    said = text(answers.changed("Weights", 0.5, [large, small]))
    assert said == "Weights at 50 %: two seeds cannot tell luck from a large change of Test error."
    assert "no clear change" in answers.changed("Weights", 0.5, [small])
    honesty = Honesty(said=0.9, right=0.9, lo=0.86, hi=0.93)
    found = text(answers.confidence("W", 0.5, change(4, seeds=2), honesty))
    assert found.endswith("which two seeds cannot tell from luck.")
    onsets = [Onset(what="test error", at=None, dense="20 %", there="90 %", undecided=True), onset("ECE")]
    assert text(answers.cost("Weights", onsets, seeds=2)) == (
        "Weights: ECE shows no clear change for the worse that lasts. "
        "For test error two seeds cannot tell whether 20 % → 90 % is luck."
    )


def test_candidates_without_any():
    assert text(trades.candidates([], 3)) == "No candidate of any method passed."


def test_cost_names_the_first_to_suffer_first():
    said = answers.cost("Weights", [onset("test error", 0.9), onset("AUROC", 0.5), onset("ECE")], seeds=3)
    assert "<b>AUROC is clearly worse from 50" in said
    assert text(said) == (
        "Weights: AUROC is clearly worse from 50 % on (1.0 % → 3.0 %), test error from 90 % on (1.0 % → 3.0 %). "
        "ECE shows no clear change for the worse that lasts."
    )


def test_cost_without_a_clear_change():
    said = text(answers.cost("Weights", [onset("test error"), onset("ECE")], seeds=3))
    assert said == "Weights: test error and ECE show no clear change for the worse that lasts."


def test_cost_of_everything():
    said = text(answers.cost("Weights", [onset("test error", 0.9)], seeds=3))
    assert said == "Weights: test error is clearly worse from 90 % on (1.0 % → 3.0 %)."


def test_cost_says_where_there_is_nothing_to_compare_with():
    same = Onset(what="test error", at=None, dense="0.0 %", there="9.0 %", comparable=False)
    said = text(answers.cost("Weights", [same, onset("ECE")], seeds=3))
    assert said == (
        "Weights: ECE shows no clear change for the worse that lasts. "
        "All dense networks have the same test error, 0.0 %: there is no spread to compare with."
    )
    unmoved = compare(MEASURE["ece"], [0.1, 0.1, 0.1], [0.5, 0.5, 0.5])
    honesty = Honesty(said=0.9, right=0.9, lo=0.86, hi=0.93)
    assert text(answers.confidence("W", 0.5, unmoved, honesty)).endswith("gap: 10.0 points → 50.0 points.")


def test_cost_with_one_seed_claims_nothing():
    assert "cannot tell" in answers.cost("Weights", [onset("test error", 0.9)], seeds=1)


@pytest.mark.parametrize(
    ("said", "lean"), [(0.95, "too sure"), (0.80, "too modest"), (0.89, "")]
)  # fmt: skip
def test_confidence_leans_only_beyond_its_limits(said, lean):
    honesty = Honesty(said=said, right=0.9, lo=0.86, hi=0.93)
    assert honesty.lean == lean
    found = text(answers.confidence("Weights", 0.5, change(0.5), honesty))
    assert (lean or "within luck") in found
    assert found.endswith("Its calibration gap: 3.0 points → 3.5 points, no clear change.")


def test_confidence_with_a_clear_change():
    honesty = Honesty(said=0.9, right=0.9, lo=0.86, hi=0.93)
    assert "clearly worse" in answers.confidence("Weights", 0.5, change(9), honesty)
    assert "clearly better" in answers.confidence("Weights", 0.5, change(-9), honesty)


def test_proof_counts_seeds():
    said = text(answers.proof("Weights", [0.9, 0.5, 0.9, None], "disagreement"))
    assert said.endswith(
        "Weights, for differing from dense: the walk reached 90 % in 2, 50 % in 1 and nothing in 1 of 4 seeds."
    )
    assert text(answers.proof("Weights", [0.9], "error")).endswith("Weights, for being wrong: the walk reached 90 %.")


def test_proof_of_nothing():
    assert "in no seed did even its densest" in answers.proof("Weights", [None, None], "error")
    assert "not even its densest candidate passed" in answers.proof("Weights", [None], "error")


def test_speed_names_who_is_faster_and_who_is_not():
    fast = Speed(title="Channels", smaller=10, faster=2.5, promised=15)
    slow = Speed(title="Weights", smaller=17, faster=None, promised=16)
    said = text(trades.speed([fast, slow]))
    assert said == (
        "Smaller on disk, up to 17.0×. Faster: Channels, up to 2.5× where the multiply-adds promise 15.0×. "
        "Not faster, whatever was removed: Weights, although up to 16.0× is promised."
    )
    assert "Nothing is faster" in trades.speed([slow])
    assert "No smaller on disk" in trades.speed([Speed(title="W", smaller=0.9, faster=None, promised=2)])


def test_strangers_say_what_is_clear_and_what_shifted():
    same, shifted = Shift(name="3", dense=0.1, pruned=0.14), Shift(name="8", dense=0.1, pruned=0.2)
    auroc, sure = change(9, "auroc_max_prob"), change(1, "ood_confidence")
    said = text(answers.strangers("Weights", 0.5, auroc, sure, same))
    assert said == (
        "Weights at 50 %. Telling strangers apart (AUROC): 0.030 → -0.060, clearly worse. "
        "Mean confidence on them: 3.0 % → 4.0 %, no clear change."
    )
    said = text(answers.strangers("Weights", 0.5, auroc, sure, shifted))
    assert said.endswith("They are taken for “8” more often, 10.0 % → 20.0 %.")


def test_changed_counts_what_is_clear():
    found = [change(9, "ece"), change(-8, "nll"), change(1, "error"), change(7, "confidence")]
    said = text(answers.changed("Weights", 0.5, found))
    assert said == (
        "Weights at 50 %: of 3 measures, 1 is clearly worse, 1 is clearly better; most of all: Calibration gap (ECE). "
        "Clear, though neither good nor bad: more confidence on the task."
    )


def test_changed_without_a_clear_change():
    assert "no clear change" in answers.changed("Weights", 0.5, [change(1, "ece"), change(-2, "nll")])
    assert "cannot tell" in answers.changed("Weights", 0.5, [])


def test_layers():
    assert "about the same share" in answers.layers("W", 0.5, [("a", 0.5), ("b", 0.51)])
    assert "one layer" in answers.layers("W", 0.5, [("a", 0.5)])
    assert (
        text(answers.layers("W", 0.5, [("a", 0.5), ("b", 0.1)]))
        == "W at 50 %: b keeps least, 10.0 %; a keeps most, 50.0 %."
    )


def test_trust_counts_points():
    assert text(answers.trust(2, 1, 3, data="digits", model="mlp")).startswith("2 of 6 points of good practice are met")


@pytest.mark.parametrize(
    "said",
    [
        trades.candidates([choice(EVIL)], 1),
        answers.cost(EVIL, [onset(EVIL, 0.5)], seeds=3),
        answers.confidence(EVIL, 0.5, change(1), Honesty(said=0.9, right=0.9, lo=0.8, hi=1.0)),
        answers.proof(EVIL, [0.5], "error"),
        trades.speed([Speed(title=EVIL, smaller=2, faster=2.0, promised=2)]),
        answers.strangers(EVIL, 0.5, change(1), change(1), Shift(name=EVIL, dense=0.1, pruned=0.9)),
        answers.changed(EVIL, 0.5, [change(9)]),
        answers.layers(EVIL, 0.5, [(EVIL, 0.1), ("b", 0.9)]),
        answers.trust(1, 1, 1, data=EVIL, model=EVIL),
    ],
)
def test_names_are_escaped(said):
    assert "<script" not in said
    assert "&lt;script&gt;alert(1)" in said
