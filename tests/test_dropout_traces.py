"""Kept traces: used again as long as nothing has changed, and never a moment longer."""

import gc
import weakref
from types import MethodType

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from prudent import dropout, dropout_traces
from prudent.dropout import with_dropout
from prudent.dropout_graph import halve
from prudent.errors import BadInput
from prudent.network import evaluating, seeded
from prudent.prediction import predict


class Branching(nn.Module):
    """A network that is no sequence, and whose attributes decide where its dropout acts."""

    def __init__(self):
        super().__init__()
        self.left, self.right = nn.Linear(4, 8), nn.Linear(4, 8)
        self.norm, self.drop, self.head = nn.BatchNorm1d(8), nn.Dropout(0.5), nn.Linear(8, 3)
        self._early, self.scales = False, [1.0, 1.0]

    def forward(self, x):
        left = self.left(x)
        both = self.norm(self.scales[0] * torch.relu(left) + self.right(x))
        # without dropout both ways are one function
        return self.head(self.drop(both)) if not self._early else self.drop(self.head(both))


@pytest.fixture
def made(monkeypatch):
    """How many traces were made."""
    calls = []
    monkeypatch.setattr(dropout, "halve", lambda *given, **named: calls.append(1) or halve(*given, **named))
    dropout_traces.forget()
    yield calls
    dropout_traces.forget()


@pytest.fixture
def model():
    torch.manual_seed(0)
    return Branching().eval()


INPUTS = torch.randn(12, 4, generator=torch.Generator().manual_seed(1))


def samples(model, inputs=INPUTS):
    return predict(model, [inputs], split="test", mc_samples=30).logits


def test_a_second_call_takes_the_trace_of_the_first_and_says_the_same(made, model):
    first, second = samples(model), samples(model)
    np.testing.assert_array_equal(first, second)
    assert len(made) == 1
    samples(model, INPUTS[:5])
    samples(model, INPUTS[:1])
    assert len(made) == 1


CHANGES = {
    "rate": lambda m: setattr(m.drop, "p", 0.1),
    "private attribute": lambda m: setattr(m, "_early", True),
    "entry of a list": lambda m: m.scales.__setitem__(0, 3.0),
    "weights in place": lambda m: m.left.weight.detach().add_(1.0),
    "other weights": lambda m: setattr(m.left, "weight", nn.Parameter(m.left.weight.detach() + 1)),
    "other storage": lambda m: setattr(m.left.weight, "data", m.left.weight.data + 1),
    "statistics": lambda m: m.norm.running_mean.add_(1.0),
    "another layer": lambda m: setattr(m, "head", nn.Linear(8, 3)),
    "another kind of dropout": lambda m: setattr(m, "drop", nn.AlphaDropout(0.5).eval()),
    "a hook": lambda m: m.left.register_forward_hook(lambda _module, _inputs, output: 2 * output),
    "another forward pass": lambda m: setattr(m, "forward", lambda x: m.head(m.drop(m.left(x)))),
    "a cast": lambda m: m.double(),
}


@pytest.mark.parametrize("change", CHANGES)
def test_whatever_changes_is_traced_again(made, model, change):
    before = samples(model)
    with torch.no_grad():
        CHANGES[change](model)
    inputs = INPUTS.double() if change == "a cast" else INPUTS
    found = samples(model, inputs)
    assert len(made) == 2, "an old trace was used"
    dropout_traces.forget()
    np.testing.assert_array_equal(found, samples(model, inputs))
    assert change == "a cast" or not np.allclose(found, before)


def test_weights_that_are_written_over_unseen_are_followed(made, model):
    before = samples(model)
    model.right.weight.data.mul_(3.0)  # does not count as a change of the tensor
    after = samples(model)
    dropout_traces.forget()
    np.testing.assert_allclose(after, samples(model), rtol=1e-6)
    assert not np.allclose(after, before)


STRENGTH = [1.0]


class Global(Branching):
    def forward(self, x):
        return self.head(self.drop(STRENGTH[0] * self.left(x) + self.right(x)))


def test_what_the_code_reads_from_elsewhere_is_found_by_trying(made):
    torch.manual_seed(0)
    model = Global().eval()
    samples(model)
    STRENGTH[0] = 4.0
    found = samples(model)
    STRENGTH[0] = 1.0
    assert len(made) == 2
    assert not np.allclose(found, samples(model))


def test_of_another_network_or_other_inputs_none_is_recalled(made, model):
    samples(model)
    torch.manual_seed(0)
    twin = Branching().eval()
    with evaluating(model):
        assert dropout_traces.recalled(model, INPUTS) is not None
        assert dropout_traces.recalled(twin, INPUTS) is None
        assert dropout_traces.recalled(model, INPUTS[None]) is None
    with evaluating(model):
        assert dropout_traces.recalled(model, INPUTS) is None  # forgotten with the first that did not fit


def test_a_network_is_not_kept_alive_and_few_are_kept(made):
    models = [Branching().eval() for _ in range(dropout_traces.MOST + 2)]
    for one in models:
        samples(one)
    assert len(dropout_traces._kept) == dropout_traces.MOST
    gone = weakref.ref(models.pop())
    del one
    gc.collect()
    assert gone() is None
    assert len(dropout_traces._kept) == dropout_traces.MOST - 1


# ------------------------------------------------------------------------------------------ dropout before the head


class Forked(Branching):
    """The same without dropout of its own."""

    def forward(self, x):
        both = self.norm(self.scales[0] * torch.relu(self.left(x)) + self.right(x))
        return self.head(both if not self._early else both + self.left(x))


@pytest.fixture
def bare():
    torch.manual_seed(0)
    model = Forked().eval()
    del model.drop
    return model


def inserted(model, inputs=INPUTS, rate=0.3):
    return predict(model, [inputs], split="test", mc_samples=30, mc_dropout=rate).logits


def test_inserted_dropout_is_traced_once_and_samples_what_the_copied_network_says(made, bare):
    first, second = inserted(bare), inserted(bare)
    np.testing.assert_array_equal(first, second)
    assert len(made) == 1
    by_hand = with_dropout(bare, rate=0.3, example=INPUTS)
    np.testing.assert_allclose(first, samples(by_hand), rtol=1e-6)
    assert not [m for m in bare.modules() if isinstance(m, nn.Dropout)]


def test_each_rate_has_a_trace_of_its_own(made, bare):
    low, high = inserted(bare, rate=0.1), inserted(bare, rate=0.6)
    assert not np.allclose(low, high)
    np.testing.assert_array_equal(inserted(bare, rate=0.1), low)
    np.testing.assert_array_equal(inserted(bare, rate=0.6), high)
    assert len(made) == 2


@pytest.mark.parametrize("change", [c for c in CHANGES if c not in ("rate", "another kind of dropout")])
def test_whatever_changes_is_traced_again_with_inserted_dropout(made, bare, change):
    before = inserted(bare)
    if change == "another forward pass":
        bare.forward = MethodType(lambda self, x: self.head(self.left(x)), bare)
    else:
        with torch.no_grad():
            CHANGES[change](bare)
    inputs = INPUTS.double() if change == "a cast" else INPUTS
    found = inserted(bare, inputs)
    assert len(made) == 2, "an old trace was used"
    dropout_traces.forget()
    np.testing.assert_array_equal(found, inserted(bare, inputs))
    assert change == "a cast" or not np.allclose(found, before)


def test_dropout_that_is_added_later_is_seen(made, bare):
    inserted(bare)
    bare.drop = nn.Dropout(0.2).eval()
    with pytest.raises(BadInput, match="has dropout already"):
        inserted(bare)
    bare.drop = Calling().eval()
    bare.norm = nn.Sequential(bare.norm, bare.drop)
    with pytest.raises(BadInput, match="has dropout already"):
        inserted(bare)


class Calling(nn.Module):
    def forward(self, x):
        return functional.dropout(x, 0.2, training=self.training)


def test_weights_that_are_written_over_unseen_are_followed_with_inserted_dropout(made, bare):
    before = inserted(bare)
    bare.right.weight.data.mul_(3.0)
    after = inserted(bare)
    dropout_traces.forget()
    np.testing.assert_allclose(after, inserted(bare), rtol=1e-6)
    assert not np.allclose(after, before)


def test_a_plain_network_needs_no_trace_for_inserted_dropout(made):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3)).eval()
    found = inserted(model)
    assert not made
    np.testing.assert_allclose(found, samples(with_dropout(model, rate=0.3, example=INPUTS)), rtol=1e-6)


def test_halves_with_tensors_of_their_own_are_not_kept(model):
    with evaluating(model), seeded(0):
        halves = halve(model, INPUTS)
        dropout_traces.keep(model, INPUTS, halves)
        assert dropout_traces.recalled(model, INPUTS).halves is halves
        halves.after.get_submodule("head").weight = nn.Parameter(model.head.weight.detach().clone())
        dropout_traces.keep(model, INPUTS, halves)
        assert dropout_traces.recalled(model, INPUTS) is None
