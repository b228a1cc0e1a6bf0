"""Dropout of a network that becomes a graph: what works in training as before, and what is lost and named."""

import dataclasses
import json

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from prudent.errors import BadInput
from prudent.networks import load, save
from prudent.pruning import prune
from prudent.surgery.restoring import Recurrence
from prudent.surgery.shrinking import shrink

pytestmark = [
    pytest.mark.filterwarnings("ignore:The tensor attribute"),
    pytest.mark.filterwarnings("ignore:RNN module weights:UserWarning"),
]
X = torch.rand(3, 5, 12, generator=torch.Generator().manual_seed(0))


class Fused(nn.Module):
    """Attention as people write it, with a rate of their own."""

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.qkv, self.attn_drop = nn.Linear(12, 36), rate

    def forward(self, x):
        q, k, v = self.qkv(x).chunk(3, dim=-1)
        return F.scaled_dot_product_attention(q, k, v, dropout_p=self.attn_drop if self.training else 0.0)


class FusedModule(nn.Module):
    """The same with the rate in a module that is never called."""

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.qkv, self.attn_drop = nn.Linear(12, 36), nn.Dropout(rate)

    def forward(self, x):
        q, k, v = self.qkv(x).chunk(3, dim=-1)
        return F.scaled_dot_product_attention(q, k, v, dropout_p=self.attn_drop.p if self.training else 0.0)


class Own(nn.Module):
    """torch's attention, for one tensor."""

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.heads = nn.MultiheadAttention(12, 3, dropout=rate, batch_first=True)

    def forward(self, x):
        return self.heads(x, x, x, need_weights=False)[0]


class Cells(nn.Module):
    def __init__(self, rate: float, kind: type[nn.RNNBase] = nn.LSTM) -> None:
        super().__init__()
        self.cells = kind(12, 12, num_layers=2, dropout=rate, batch_first=True)

    def forward(self, x):
        return self.cells(x)[0]


class Twice(nn.Module):
    """Attention that is another one in training: nobody can say which of both belongs to the one in evaluation."""

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.qkv, self.attn_drop = nn.Linear(12, 36), rate

    def forward(self, x):
        q, k, v = self.qkv(x).chunk(3, dim=-1)
        if self.training:
            v = F.scaled_dot_product_attention(q, k, v, dropout_p=self.attn_drop)
        return F.scaled_dot_product_attention(q, k, v, dropout_p=self.attn_drop if self.training else 0.0)


class Hard(nn.Module):
    """A part, and hidden units whose number stands in the code, so that only a graph can have fewer."""

    def __init__(self, part: nn.Module) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.part, self.up, self.down = part, nn.Linear(12, 10), nn.Linear(10, 3)

    def forward(self, x):
        return self.down(torch.relu(self.up(self.part(x))).view(-1, 5, 10)).mean(1)


def cut(part: nn.Module):
    return shrink(prune(Hard(part), fractions={"up": 0.5}, granularity="channel", example=X), X)


def random_in_training(model: nn.Module) -> bool:
    model.train()
    answers = [model(X) for _ in range(4)]
    model.eval()
    return any(not torch.equal(answers[0], answer) for answer in answers[1:])


RESTORED = {
    "fused": Fused,
    "fused, in a module": FusedModule,
    "torch's attention": Own,
    "between layers of an LSTM": Cells,
    "between layers of a GRU": lambda rate: Cells(rate, nn.GRU),
    "between recurrent layers": lambda rate: Cells(rate, nn.RNN),
}
LOST = {
    "other attention in training": (Twice, "dropout 0.4 of the attention of 'part'"),
    "alpha dropout": (nn.AlphaDropout, "dropout 0.4 of 'part'"),
}


@pytest.mark.parametrize("kind", RESTORED)
def test_dropout_inside_of_operations_works_in_training_as_in_the_original(kind, tmp_path):
    part = RESTORED[kind]
    pruned = prune(Hard(part(0.4)), fractions={"up": 0.5}, granularity="channel", example=X)
    small = shrink(pruned, X)
    assert (small.form, small.lost) == ("graph", ())
    save(small, tmp_path)
    for model in (small.model, load(tmp_path).model):
        assert random_in_training(model)
        # the same draws drop the same weights
        with torch.random.fork_rng():
            torch.manual_seed(3)
            expected = pruned.model.train()(X)
            torch.manual_seed(3)
            got = model.train()(X)
        torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-6)
        torch.testing.assert_close(model.eval()(X), pruned.model.eval()(X), rtol=1e-4, atol=1e-6)
    assert not random_in_training(cut(part(0.0)).model)


def test_a_restored_network_is_cut_and_exported_again(tmp_path):
    small = cut(Own(0.4))
    again = shrink(prune(small.model, fractions={"up": 0.5}, granularity="channel", example=X), X)
    assert again.params < small.params
    assert again.lost == ()
    assert random_in_training(again.model)
    with pytest.raises(BadInput, match="recurrent layers are one of lstm"):
        Recurrence("system")
    save(small, tmp_path)
    told = json.loads((tmp_path / "network.json").read_text())["graph"]
    assert '["Attention", {"p": 0.4}]' in told


@pytest.mark.parametrize("kind", LOST)
def test_what_is_lost_is_named(kind, tmp_path):
    part, said = LOST[kind]
    small = cut(part(0.4))
    assert small.form == "graph"
    assert random_in_training(Hard(part(0.4)))
    assert not random_in_training(small.model)  # it really is lost
    assert small.lost == (said,)
    save(small, tmp_path)
    assert load(tmp_path).lost == (said,)
    assert str(small).splitlines()[-1] == f"lost in training mode: {said}"
    assert cut(part(0.0)).lost == ()


@pytest.mark.parametrize("part", [lambda: nn.Dropout(0.4), lambda: nn.Sequential(nn.Linear(12, 12), nn.Dropout1d(0.4))])
def test_dropout_by_itself_is_kept_and_not_named(part):
    small = cut(part())
    assert (small.form, small.lost) == ("graph", ())
    assert random_in_training(small.model)


def test_a_network_of_the_users_own_class_loses_nothing():
    model = nn.TransformerEncoderLayer(12, 3, 20, dropout=0.4, batch_first=True)
    small = shrink(prune(model, fractions={"linear1": 0.5}, granularity="channel", example=X), X)
    assert (small.form, small.lost) == ("module", ())
    assert random_in_training(small.model)


def test_what_a_smaller_network_says_of_itself():
    model = nn.Sequential(nn.Linear(12, 10), nn.ReLU(), nn.Linear(10, 3))
    small = shrink(prune(model, fractions={"0": 0.5}, granularity="channel", example=X), X)
    said = str(small)
    assert said.startswith("83 parameters and 375 multiply-accumulates; differs from the masked network by ")
    assert said.endswith(f"on {small.proof.inputs} inputs")
    told = dataclasses.replace(small, form="graph", kept={"a": "it is odd"}, changing=("b",), lost=("c",))
    assert str(told).splitlines()[0] == said.replace("accumulates;", "accumulates, as a graph;")
    assert str(told).splitlines()[1:] == [
        "kept as zeros: a: it is odd", "normalises over what is left: b", "lost in training mode: c",
    ]  # fmt: skip


class Skipping(nn.Module):
    """What is dropped on one way is not on the other; sizes in the code make it a graph."""

    def __init__(self, drop: nn.Module | None) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 8, 3, padding=1)
        self.head, self.drop = nn.Linear(8 * 16, 5), drop

    def forward(self, x):
        x = self.first(x).relu()
        dropped = F.dropout2d(x, 1.0, self.training) if self.drop is None else self.drop(x)
        return self.head((self.second(dropped) + x).view(-1, 128))


def skipping(drop: nn.Module | None):
    torch.manual_seed(0)
    images = torch.rand(3, 3, 4, 4)
    masked = prune(Skipping(drop), sparsity=0.5, granularity="channel", scope="layer", example=images)
    small = shrink(masked, images)
    assert small.form == "graph"
    return masked.model, small, images


@pytest.mark.parametrize("drop", [nn.Dropout, nn.Dropout2d])
def test_what_goes_around_a_dropout_is_not_dropped(drop):
    # with rate 1 all is dropped on that way, and nothing is left to chance
    masked, small, images = skipping(drop(1.0))
    assert not small.lost
    assert torch.allclose(small.model.train()(images), masked.train()(images), atol=1e-6)
    assert not torch.allclose(small.model.eval()(images), masked.train()(images), atol=1e-3)


def test_dropout_of_channels_that_is_called_as_a_function_is_named_and_not_put_back():
    _, small, images = skipping(None)
    assert small.lost == ("dropout 1 of whole channels, called as a function in Skipping",)
    assert torch.equal(small.model.train()(images), small.model.eval()(images))
