import dataclasses

import numpy as np
import pytest
from scipy.special import log_softmax as scipy_log_softmax

from prudent.errors import BadInput
from prudent.types import Certificate, Losses, Predictions, log_softmax
from tests.conftest import predictions

X = np.zeros((5, 3), np.float32)


def test_predictions_convert_and_describe():
    p = Predictions(logits=X.astype(np.float64), labels=np.array([0, 1, 2, 0, 1], np.int32), split="test")
    assert p.logits.dtype == np.float32
    assert p.labels.dtype == np.int64
    assert (p.n, p.classes, p.members, p.data, p.model) == (5, 3, None, "", "")
    with pytest.raises(dataclasses.FrozenInstanceError):
        p.split = "train"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"logits": np.full((5, 3), np.nan, np.float32)}, "15 of 15 are NaN"),
        ({"logits": np.full((5, 3), 1e300)}, "finite in float32"),
        ({"logits": np.zeros((0, 3), np.float32)}, "at least one example"),
        ({"logits": np.zeros(5, np.float32)}, r"\(n, classes\)"),
        ({"logits": np.zeros((5, 3), int)}, "floating point"),
        ({"labels": np.array([0, 1, 2, 3, 0])}, r"0 \.\. 2 for 3 classes; got 0 \.\. 3"),
        ({"labels": np.array([0, 1, -1, 0, 0])}, r"got -1 \.\. 1"),
        ({"labels": np.array([0, 1])}, "one label for each of 5"),
        ({"labels": np.array([0.0, 1, 2, 0, 1])}, "integers"),
    ],
)
def test_predictions_refuse(change, message):
    good = {"logits": X, "labels": np.array([0, 1, 2, 0, 1]), "split": "test"}
    with pytest.raises(BadInput, match=message):
        Predictions(**(good | change))


def test_a_misspelt_split_is_refused_outside_of_tests_too():
    # during tests the annotation catches it first, so the check itself is called here
    from prudent.types import check_split

    with pytest.raises(BadInput, match="one of train, validation, certification, test, ood; got 'tset'"):
        check_split("tset")


def test_log_softmax_agrees_with_scipy_and_keeps_digits_where_it_saturates():
    logits = np.random.default_rng(0).normal(size=(4, 20, 7)).astype(np.float32) * 5
    np.testing.assert_allclose(log_softmax(logits), scipy_log_softmax(logits.astype(float), axis=-1), atol=1e-14)
    extreme = np.array([[200.0, 0.0, -5.0]], np.float32)
    top = log_softmax(extreme)[0, 0]
    assert top == pytest.approx(-(np.exp(-200.0) + np.exp(-205.0)), rel=1e-12)  # scipy: 0.0


def test_probabilities_and_decisions_of_members_are_those_of_the_mean():
    p = predictions(30, 4, members=5)
    each = np.exp(p.logits.astype(float))
    each /= each.sum(axis=-1, keepdims=True)
    np.testing.assert_allclose(p.probabilities, each.mean(axis=0), rtol=1e-12)
    np.testing.assert_array_equal(p.decisions, each.mean(axis=0).argmax(axis=1))


def test_ties_go_to_the_lowest_class():
    p = Predictions(logits=np.array([[1.0, 1.0, 0.0]], np.float32), split="test")
    assert p.decisions.tolist() == [0]


def test_decisions_do_not_depend_on_a_saturated_softmax():
    p = Predictions(logits=np.array([[100.0, 100.00001, 0.0]], np.float32), split="test")
    assert p.decisions.tolist() == [int(p.logits[0].argmax())]


def losses(**change):
    good = {
        "values": np.array([[0.0, 1.0], [0.0, 1.0], [1.0, 1.0]]),
        "names": ("a", "b"),
        "sparsities": (0.5, 0.8),
        "loss": "error",
        "split": "certification",
    }
    return Losses(**(good | change))


def test_losses_count_exactly():
    table = losses()
    assert table.binary
    assert table.counts == (1, 3)
    assert losses(values=np.array([[0.5, 1.0]])).counts is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"values": np.array([[0.0, 1.5]])}, r"lie in \[0, 1\]"),
        ({"values": np.array([[0.0, np.nan]])}, "NaN"),
        ({"values": np.zeros((0, 2))}, "at least one"),
        ({"names": ("a",)}, "2 candidates need as many names"),
        ({"sparsities": (0.8, 0.5)}, "densest to the sparsest"),
        ({"sparsities": (0.8, 1.0)}, r"\[0, 1\)"),
        ({"models": ("x",)}, "as many models"),
    ],
)
def test_losses_refuse(change, message):
    with pytest.raises(BadInput, match=message):
        losses(**change)


def test_what_the_caller_does_with_its_arrays_later_changes_nothing():
    logits, labels, values = np.eye(3, dtype=np.float32), np.arange(3), np.zeros((3, 2))
    p = Predictions(logits=logits, labels=labels, split="test")
    view = logits.view()
    view.setflags(write=False)  # read-only itself, yet the caller can write through its own
    other = Predictions(logits=view, split="test")
    table = losses(values=values)
    logits[:], labels[:], values[:] = 0, 0, 1
    assert p.decisions.tolist() == other.decisions.tolist() == p.labels.tolist() == [0, 1, 2]
    assert table.counts == (0, 0)
    for array in (p.logits, p.labels, table.values):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 1
    again = Predictions(logits=p.logits, split="test")
    assert again.logits is p.logits, "what nobody can write to is not copied"


@pytest.mark.parametrize("values", [np.array([["a", "b"]]), np.array([[None, 1.0]]), np.array([[1j, 0]])])
def test_losses_are_numbers(values):
    with pytest.raises(BadInput, match="losses are numbers"):
        losses(values=values)


def certificate(**change):
    good = {
        "risk": "disagreement", "alpha": 0.05, "delta": 0.05, "n": 450, "bound": "binomial",
        "procedure": "fixed_sequence", "names": ("a", "b", "c"), "sparsities": (0.5, 0.875, 0.9), "counts": (1, 2, 40),
        "empirical_risks": (0.1, 0.2, 0.3), "p_values": (0.01, 0.02, 0.9), "selected": 1,
    }  # fmt: skip
    return Certificate(**(good | change))


def test_sentences():
    n = "\u202f"
    assert certificate().sentence() == (
        f"With 95{n}% confidence, at most 5{n}% of predictions differ from the dense network at 87.5{n}% sparsity."
    )
    assert "are wrong at 50" in certificate(risk="error", selected=0).sentence()
    assert (
        certificate(risk="Brier").sentence().startswith(f"With 95{n}% confidence, the mean Brier loss is at most 5{n}%")
    )
    none = certificate(selected=None, alpha=0.001, delta=1e-5).sentence()
    assert none == (
        f"Nothing certified: with 450 examples, for none of 3 candidates could it be shown with 99.999{n}% confidence "
        f"that at most 0.1{n}% of predictions differ from the dense network."
    )


def test_states():
    assert certificate().states == ("passed", "passed", "stopped")
    assert certificate(selected=None).states == ("stopped", "not tested", "not tested")
    assert certificate(selected=2).states == ("passed", "passed", "passed")
