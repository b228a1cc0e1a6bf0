"""Dropout by functions, and inside of attention and recurrent layers: beside passes in training mode, closed forms."""

import random
import warnings

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from prudent import dropout_traces
from prudent.dropout import sampler
from prudent.errors import BadInput
from prudent.functional_dropout import find_dropouts
from prudent.network import seeded
from prudent.prediction import predict
from tests.conftest import assert_untouched, snapshot
from tests.test_dropout import assert_same_distribution

RATE = 0.4


class Tokens(nn.Module):
    """(n, 5, 8) -> logits, around a body of tokens."""

    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        self.body, self.head = body, nn.Linear(8, 3)

    def forward(self, x):
        return self.head(self.body(torch.tanh(x)).mean(1))


class Attention(nn.Module):
    def __init__(self, *, weights: bool, batch_first: bool = True, kind: type = nn.MultiheadAttention) -> None:
        super().__init__()
        self.inner, self.weights = kind(8, 2, dropout=RATE, batch_first=batch_first), weights

    def forward(self, x):
        x = x if self.inner.batch_first else x.transpose(0, 1)
        y = self.inner(x, x, x, need_weights=self.weights)[0]
        return y if self.inner.batch_first else y.transpose(0, 1)


class OwnAttention(nn.MultiheadAttention):
    """With a forward pass of its own."""

    def forward(self, *given, **named):
        return super().forward(*given, **named)


class Fused(nn.Module):
    """Attention as many libraries write it: a rate that is 0 in evaluation mode."""

    def forward(self, x):
        x = x[:, None]
        return F.scaled_dot_product_attention(x, x, x, dropout_p=RATE if self.training else 0.0)[:, 0]


class Recurrent(nn.Module):
    def __init__(self, kind: type, **options) -> None:
        super().__init__()
        self.inner = kind(8, 8, 2, dropout=RATE, **options)

    def forward(self, x):
        return self.inner(x)[0] if self.inner.batch_first else self.inner(x.transpose(0, 1))[0].transpose(0, 1)


class Function(nn.Module):
    """Functional dropout by the module's own mode, beside a linear layer."""

    def __init__(self, function=F.dropout) -> None:
        super().__init__()
        self.mix, self.function = nn.Linear(8, 8), function

    def forward(self, x):
        return self.function(torch.relu(self.mix(x)), RATE, training=self.training)


class Told(nn.Module):
    """Its parent says whether it drops."""

    def forward(self, x, on):
        return F.dropout(x, p=RATE, training=on)


class Telling(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.told = Told()

    def forward(self, x):
        return self.told(torch.relu(x), self.training)


class Rooted(nn.Module):
    """The network itself calls the function, only in training mode and in place."""

    def __init__(self) -> None:
        super().__init__()
        self.mix, self.head = nn.Linear(40, 8), nn.Linear(8, 3)

    def forward(self, x):
        y = torch.relu(self.mix(x.flatten(1)))
        if self.training:
            y = F.dropout(y, RATE, True, True)
        return self.head(y)


def block(**options) -> nn.Module:
    return nn.TransformerEncoderLayer(8, 2, 16, dropout=RATE, batch_first=True, **options)


NETWORKS = {
    "attention with weights": lambda: Tokens(Attention(weights=True)),
    "attention without": lambda: Tokens(Attention(weights=False)),
    "attention, batch second": lambda: Tokens(Attention(weights=False, batch_first=False)),
    "attention of its own": lambda: Tokens(Attention(weights=True, kind=OwnAttention)),
    "fused attention": lambda: Tokens(Fused()),
    "encoder layer": lambda: Tokens(block()),
    "encoder": lambda: Tokens(nn.TransformerEncoder(block(norm_first=True), 2, enable_nested_tensor=False)),
    "lstm": lambda: Tokens(Recurrent(nn.LSTM, batch_first=True)),
    "gru both ways": lambda: Tokens(nn.Sequential(Recurrent(nn.GRU, bidirectional=True), nn.Linear(16, 8))),
    "rnn": lambda: Tokens(Recurrent(nn.RNN, batch_first=True, nonlinearity="relu")),
    "function": lambda: Tokens(Function()),
    "function of channels": lambda: Tokens(Function(F.dropout1d)),
    "alpha": lambda: Tokens(Function(F.alpha_dropout)),
    "two, and a module": lambda: Tokens(nn.Sequential(Function(), nn.Dropout(RATE), Function())),
    "told": lambda: Tokens(Telling()),
    "root, in place": Rooted,
}  # fmt: skip

INPUTS = torch.randn(4, 5, 8, generator=torch.Generator().manual_seed(0))


def made(name: str) -> nn.Module:
    torch.manual_seed(1)
    return NETWORKS[name]().eval()


def trained(model: nn.Module, x: torch.Tensor, samples: int, *, seed: int) -> np.ndarray:
    """Passes in training mode: these networks do nothing in it but to drop."""
    model.train()
    with torch.no_grad(), seeded(seed):
        found = torch.stack([model(x.clone()) for _ in range(samples)]).numpy()
    model.eval()
    return found


SLOW = ("attention, batch second", "encoder", "gru both ways", "rnn", "two, and a module")


@pytest.mark.parametrize("name", [pytest.param(n, marks=[pytest.mark.slow] if n in SLOW else []) for n in NETWORKS])
def test_samples_are_distributed_as_passes_in_training_mode(name):
    model, count = made(name), 800
    before = snapshot(model)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # none of these needs whole passes, and none stays off
        ours = predict(model, [INPUTS], split="test", mc_samples=count, seed=3).logits
    assert_untouched(model, before)
    assert_same_distribution(ours, trained(model, INPUTS, count, seed=4))
    beside = np.corrcoef(ours[:, :, 0].T) - np.eye(len(INPUTS))
    assert np.abs(beside).max() < 5 / np.sqrt(count), "examples share masks"


@pytest.mark.parametrize("name", ["encoder layer", "lstm", "fused attention", "told"])
def test_whole_passes_switch_on_the_same(name):
    class Branching(nn.Module):
        """What cannot be traced."""

        def __init__(self) -> None:
            super().__init__()
            self.inside = made(name)

        def forward(self, x):
            return self.inside(x) if x.sum() > -1e9 else x

    torch.manual_seed(1)
    model = Branching().eval()
    with pytest.warns(UserWarning, match="take a whole pass"):
        ours = predict(model, [INPUTS], split="test", mc_samples=800, seed=3).logits
    assert_same_distribution(ours, trained(model, INPUTS, 800, seed=4))


def test_functional_dropout_has_the_mean_and_variance_of_its_definition():
    model = Rooted().eval()
    answers = predict(model, [INPUTS], split="test", mc_samples=4000, seed=1).logits
    with torch.no_grad():
        hidden = torch.relu(model.mix(INPUTS.flatten(1)))
        mean = model(INPUTS).numpy()
        variance = (hidden**2 @ model.head.weight.t() ** 2).numpy() * RATE / (1 - RATE)
    assert (np.abs(answers.mean(axis=0) - mean) <= 5 * np.sqrt(variance / 4000) + 1e-6).all()
    np.testing.assert_allclose(answers.var(axis=0), variance, rtol=0.2)


def test_only_what_comes_after_the_first_of_them_is_sampled():
    model = Tokens(nn.Sequential(nn.Linear(8, 8), Attention(weights=False))).eval()
    halves = sampler(model, INPUTS).draw.args[0]
    assert sum("linear" in str(n.target) for n in halves.before.graph.nodes) == 2  # the first, and q, k, v
    drawn = [n for n in halves.after.graph.nodes if "scaled_dot" in str(n.target)]
    assert len(drawn) == 1
    with torch.no_grad():
        crossing = halves.before(INPUTS)
        np.testing.assert_allclose(halves.answer(crossing, rows=4, active=False), model(INPUTS), atol=1e-6)


def test_a_recurrent_layer_without_dropout_needs_no_whole_passes():
    torch.manual_seed(0)
    model = Tokens(nn.Sequential(Recurrent(nn.LSTM, batch_first=True), nn.Dropout(RATE))).eval()
    model.body[0].inner.dropout = 0.0
    found = sampler(model, INPUTS)
    assert found.note == ""
    with torch.no_grad(), seeded(0):
        assert_same_distribution(found.draw(INPUTS, 800).numpy(), trained(model, INPUTS, 800, seed=1))


# --------------------------------------------------------------------------- training mode that does more than to drop


class Noisy(Function):
    def forward(self, x):
        return super().forward(x + torch.randn_like(x) if self.training else x)


class Halved(Function):
    def forward(self, x):
        return super().forward(x * 0.5 if self.training else x)


class Skipping(Function):
    """Skips itself at random, by Python's generator, and rarely."""

    def forward(self, x):
        return x if self.training and random.random() < 1e-6 else super().forward(x)


class Counting(Function):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("count", torch.zeros(()))

    def forward(self, x):
        if self.training:
            self.count += 1
        return super().forward(x)


class Stochastic(nn.Module):
    """Stochastic depth: no dropout, though it draws like one."""

    def forward(self, x):
        if not self.training:
            return x
        return x * x.new_empty(len(x), 1, 1).bernoulli_(0.5) / 0.5


class OwnNorm(nn.BatchNorm1d):
    """With a forward pass of its own."""

    def forward(self, x):
        return super().forward(x.transpose(1, 2)).transpose(1, 2)


@pytest.mark.parametrize("kind", [Noisy, Halved, Skipping, Counting])
def test_what_training_mode_also_changes_stays_off_and_is_named(kind):
    torch.manual_seed(0)
    model = Tokens(nn.Sequential(kind(), nn.Dropout(RATE), kind())).eval()
    plain = Tokens(nn.Sequential(model.body[0].mix, nn.ReLU(), nn.Dropout(RATE), model.body[2].mix, nn.ReLU())).eval()
    plain.head = model.head
    before = snapshot(model)
    states = random.getstate(), torch.get_rng_state()
    for _ in range(2):  # once found out and once remembered
        with pytest.warns(UserWarning, match=r"of 2 module\(s\) stays off, .*: body.0, body.2; call") as told:
            ours = predict(model, [INPUTS], split="test", mc_samples=800, seed=3).logits
        assert len(told) == 1
    assert_same_distribution(ours, trained(plain, INPUTS, 800, seed=4))
    assert_untouched(model, before)
    assert random.getstate() == states[0]
    assert torch.equal(torch.get_rng_state(), states[1])


@pytest.mark.parametrize("other", [Stochastic, lambda: OwnNorm(8)], ids=["stochastic depth", "batch normalisation"])
def test_modules_that_only_drop_are_switched_on_beside_others_that_do_not(other):
    torch.manual_seed(0)
    odd = other()
    model = Tokens(nn.Sequential(odd, Function(), Telling())).eval()
    with pytest.warns(UserWarning, match="of 1 module.* body.2.told; call"):  # its parent's mode is not tried alone
        ours = predict(model, [INPUTS], split="test", mc_samples=800, seed=3).logits
    plain = Tokens(nn.Sequential(nn.Identity() if isinstance(odd, Stochastic) else odd, Function(), nn.ReLU()))
    plain.body[1].mix, plain.head = model.body[1].mix, model.head
    norm = [m for m in plain.modules() if isinstance(m, OwnNorm)]
    with torch.no_grad():
        theirs = []
        plain.train()
        for m in norm:
            m.eval()
        with seeded(4):
            theirs = torch.stack([plain(INPUTS) for _ in range(800)]).numpy()
    assert_same_distribution(ours, theirs)


def test_kinds_of_modules_are_tried_one_by_one():
    torch.manual_seed(0)
    model = Tokens(nn.Sequential(Function(), Noisy(), Function())).eval()
    found = find_dropouts(model, INPUTS)
    assert found.functional == (model.body[0], model.body[2])
    assert found.silent == ("body.1",)
    assert found.modules == ()


class Sharing(Function):
    """Writes over what dropout answers: in evaluation mode, and only then, that is what it was given."""

    def forward(self, x):
        y = torch.relu(self.mix(x))
        kept = self.function(y, RATE, training=self.training)
        kept.add_(1.0)
        return kept + y


def test_dropout_that_answers_a_new_tensor_only_while_training_stays_off():
    model = Tokens(Sharing()).eval()
    assert find_dropouts(model, INPUTS).functional == ()
    assert find_dropouts(model, INPUTS).silent == ("body",)


class Raising(Rooted):
    """Answers something else while it trains, before it drops."""

    def forward(self, x):
        if self.training:
            raise RuntimeError("targets, please")
        return self.head(F.dropout(torch.relu(self.mix(x.flatten(1))), RATE, training=self.training))


def test_a_network_that_does_not_run_in_training_mode_is_believed_what_it_asks_for():
    model = Raising().eval()
    assert find_dropouts(model, INPUTS).silent == ("Raising",)
    with pytest.raises(BadInput, match="; functional dropout of Raising cannot be switched on alone: "):
        predict(model, [INPUTS], split="test", mc_samples=5)


def test_rates_of_zero_dropout_that_is_never_on_and_one_layer_are_no_dropout():
    class Off(Rooted):
        def forward(self, x):
            y = F.dropout(torch.relu(self.mix(x.flatten(1))), 0.0, training=self.training)
            return self.head(F.dropout(y, RATE, training=False))

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch warns itself of dropout with one layer
        single = Tokens(Recurrent(nn.LSTM, batch_first=True))
        single.body.inner = nn.LSTM(8, 8, 1, dropout=RATE, batch_first=True)
    for model in (Off().eval(), single.eval(), Tokens(nn.MultiheadAttention(8, 2, batch_first=True)).eval()):
        assert find_dropouts(model, INPUTS).switched == ()
    with pytest.raises(BadInput, match="Off has no dropout module with a rate above 0, nor functional dropout"):
        predict(Off().eval(), [INPUTS], split="test", mc_samples=5)


def test_no_dropout_is_put_before_the_head_of_a_network_with_functional_dropout():
    with pytest.raises(BadInput, match="Rooted has dropout already: leave mc_dropout out"):
        predict(Rooted().eval(), [INPUTS], split="test", mc_samples=5, mc_dropout=0.5)


def test_the_trial_is_remembered_with_the_trace(monkeypatch):
    dropout_traces.forget()
    calls, model = [], Tokens(Function()).eval()
    monkeypatch.setattr("prudent.dropout.find_dropouts", lambda *given: calls.append(1) or find_dropouts(*given))
    first, second = (predict(model, [INPUTS], split="test", mc_samples=4).logits for _ in range(2))
    np.testing.assert_array_equal(first, second)
    assert len(calls) == 1
