import numpy as np
import pytest
import torch
from torch import nn

from prudent.batches import Batches
from prudent.errors import BadInput, SplitMisuse
from prudent.identity import identity
from prudent.prediction import predict
from tests.conftest import assert_untouched, batches, chain, images, snapshot


def test_plain_answers_by_hand_and_the_network_untouched():
    model = chain(norm=True).train()
    before = snapshot(model)
    source = Batches(inputs=images(50)[0], labels=images(50)[1], size=7, split="test", data="d")
    answers = predict(model, source)
    assert_untouched(model, before)
    with torch.no_grad():
        expected = model.eval()(images(50)[0]).numpy()
    np.testing.assert_allclose(answers.logits, expected, rtol=1e-4, atol=1e-5)
    assert answers.labels.tolist() == images(50)[1].tolist()
    assert (answers.split, answers.data, answers.model) == ("test", "d", identity(model))


def test_inputs_alone():
    answers = predict(chain(), [images(4)[0], images(4)[0]], split="ood")
    assert answers.labels is None
    assert answers.n == 8


@pytest.mark.parametrize("wrap", [False, True], ids=["plain", "other module"])
def test_dropout_samples_have_the_right_mean_and_variance(wrap):
    # logits under dropout before a linear layer: mean and variance are known exactly
    torch.manual_seed(0)
    p, layer = 0.3, nn.Linear(6, 3)
    model: nn.Module = nn.Sequential(nn.Linear(4, 6), nn.Dropout(p), layer)
    if wrap:
        model = Wrapped(model)
    x = torch.rand(5, 4)
    answers = predict(model, [x], split="test", mc_samples=4000, seed=1)
    inner = model.inside if wrap else model
    with torch.no_grad():
        hidden = inner[0](x)
        mean = layer(hidden)
        variance = (hidden**2 @ (layer.weight.t() ** 2)) * p / (1 - p)
    assert answers.logits.shape == (4000, 5, 3)
    error = 5 * np.sqrt(variance.numpy() / 4000)
    assert (np.abs(answers.logits.mean(axis=0) - mean.numpy()) < error).all()
    np.testing.assert_allclose(answers.logits.var(axis=0), variance.numpy(), rtol=0.15)


class Wrapped(nn.Module):
    def __init__(self, inside: nn.Sequential) -> None:
        super().__init__()
        self.inside = inside

    def forward(self, x):
        return self.inside(x)


@pytest.mark.parametrize("how", ["shared module", "own forward", "hook"])
def test_networks_that_only_look_plain_are_sampled_whole(how):
    class Doubling(nn.Sequential):
        def forward(self, x):
            return 2 * super().forward(x)

    relu = nn.ReLU()
    layers = [nn.Linear(4, 6), relu, nn.Linear(6, 6), relu, nn.Dropout(1e-7), nn.Linear(6, 3)]
    model = Doubling(*layers) if how == "own forward" else nn.Sequential(*layers)
    if how == "hook":
        model.register_forward_hook(lambda module, inputs, output: output + 5)
    x = torch.rand(8, 4)
    expected = predict(model, [x], split="test").logits
    # a rate of 1e-7 drops nothing but rescales: the samples are the plain answers, bar rounding
    relaxed = model[4]
    relaxed.p = 0.02
    answers = predict(model, [x], split="test", mc_samples=600).logits
    np.testing.assert_allclose(answers.mean(axis=0), expected, atol=0.06)


def test_examples_and_samples_draw_their_own_dropout():
    model = nn.Sequential(nn.Linear(1, 50, bias=False), nn.Dropout(0.5), nn.Linear(50, 2))
    answers = predict(model, [torch.ones(3, 1)], split="test", mc_samples=20, seed=0).logits
    flat = {tuple(row) for row in answers.reshape(60, 2).tolist()}
    assert len(flat) == 60


def test_only_dropout_is_active():
    model = nn.Sequential(nn.BatchNorm1d(4), nn.Linear(4, 8), nn.Dropout(0.5), nn.BatchNorm1d(8), nn.Linear(8, 2))
    before = {k: v.clone() for k, v in model.state_dict().items()}
    predict(model, [torch.rand(16, 4)], split="test", mc_samples=5)
    assert all(torch.equal(before[k], v) for k, v in model.state_dict().items()), "batch statistics moved"


def test_seed_and_batch_size():
    model = chain()
    first, again, other = (predict(model, batches(split="test"), mc_samples=4, seed=s).logits for s in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


def test_samples_are_split_into_portions_that_fit(monkeypatch):
    from prudent import dropout_draws

    monkeypatch.setattr(dropout_draws, "ROWS", 64)
    answers = predict(chain(), batches(split="test"), mc_samples=9)
    assert answers.logits.shape == (9, 60, 3)
    assert (answers.logits[0] != answers.logits[1]).any()


@pytest.mark.parametrize(
    ("model", "samples", "message"),
    [
        (nn.Sequential(nn.Flatten(), nn.Linear(64, 3)), 5, "no dropout module"),
        (nn.Sequential(nn.Flatten(), nn.Dropout(0.0), nn.Linear(64, 3)), 5, "rate above 0"),
        (chain(), 1, "2 or more; got 1"),
    ],
)
def test_dropout_refusals(model, samples, message):
    with pytest.raises(BadInput, match=message):
        predict(model, batches(split="test"), mc_samples=samples)


def test_dropout_that_does_not_act_is_found():
    class Unused(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.dropout, self.layer = nn.Dropout(0.5), nn.Linear(64, 3)

        def forward(self, x):
            return self.layer(x.flatten(1))

    with pytest.raises(BadInput, match="all samples are the same"):
        predict(Unused(), batches(split="test"), mc_samples=5)


def test_refusals():
    with pytest.raises(SplitMisuse, match="must say what their examples are for"):
        predict(chain(), [images(4)])
    with pytest.raises(SplitMisuse, match="of the 'train' split; they cannot be predicted as split='test'"):
        predict(chain(), batches(), split="test")
    with pytest.raises(BadInput, match="nothing to predict"):
        predict(chain(), [], split="test")
    with pytest.raises(BadInput, match="some batches have labels"):
        predict(chain(), [images(4), images(4)[0]], split="test")
    broken = chain()
    with torch.no_grad():
        broken[11].bias.fill_(float("nan"))
    with pytest.raises(BadInput, match="logits must be finite"):
        predict(broken, batches(split="test"))
    inputs, labels = images(6)
    with pytest.raises(BadInput, match=r"labels lie in 0 \.\. 2"):
        predict(chain(), Batches(inputs=inputs, labels=labels + 5, split="test"))


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (torch.full((4,), 1.9), r"labels are integers.*got torch.float32"),
        (torch.tensor([True, False, True, True]), r"labels are integers.*got torch.bool"),
        (torch.zeros(3, dtype=torch.long), r"4 inputs need labels of shape \(4,\); got \(3,\)"),
        (torch.zeros(4, 1, dtype=torch.long), r"got \(4, 1\)"),
        ([0, 1, 2, 0], "a batch is a tensor of inputs.*got Tensor, list"),
    ],
)
def test_labels_are_never_rounded_or_reshaped(labels, message):
    with pytest.raises(BadInput, match=message):
        predict(chain(), iter([(images(4)[0], labels)]), split="test")


class Answering(nn.Module):
    """A network with dropout that answers whatever it is told to."""

    def __init__(self, answer) -> None:
        super().__init__()
        self.layer, self.dropout, self.answer = nn.Linear(64, 3), nn.Dropout(0.5), answer

    def forward(self, x):
        return self.answer(self.dropout(self.layer(x.flatten(1))))


@pytest.mark.parametrize("samples", [None, 3])
@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (lambda y: y[:, None].repeat(1, 5, 1), r"answers logits of shape \(n, classes\); Answering answered \(\d+, 5"),
        (lambda y: {"logits": y}, "answered a dict"),
        (lambda y: y[:, 0], r"answered \(\d+,\)"),
        (lambda y: y[1:], r"answered \(\d+, 3\) for \d+ inputs"),
        (lambda y: y.no_such_thing, "does not run on an input of shape .*AttributeError"),
    ],
)
def test_a_network_answers_one_row_for_each_input(samples, answer, message):
    with pytest.raises(BadInput, match=message) as error:
        predict(Answering(answer), batches(split="test"), mc_samples=samples)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("samples", [None, 3])
def test_inputs_of_another_shape_are_one_line(samples):
    wide, whole = torch.rand(4, 1, 9, 30), torch.ones(4, 1, 8, 8, dtype=torch.int64)
    for inputs in (wide, whole):
        with pytest.raises(BadInput, match="does not run on an input of shape"):
            predict(chain(), [inputs], split="test", mc_samples=samples)


def test_every_batch_gets_as_many_logits():
    growing = Answering(lambda y: y[:, : 2 + (len(y) > 20)])
    with pytest.raises(BadInput, match=r"as many logits for every batch; it answered \[2, 3\]"):
        predict(growing, [torch.rand(21, 1, 8, 8), torch.rand(4, 1, 8, 8)], split="test")
