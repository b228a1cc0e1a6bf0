"""Scope "isomorphic": which layers are alike, in networks of known structure, and what each kind loses."""

import numpy as np
import pytest
import torch
from torch import nn

from prudent.errors import BadInput
from prudent.masks import select
from prudent.models.mobilenet_v2 import mobilenet_v2
from prudent.models.resnet_cifar import resnet_cifar
from prudent.models.vit import vit
from prudent.pruning import prune
from prudent.schedules.gradual import gradual
from prudent.scopes import count
from prudent.surgery.layouts import layout
from prudent.surgery.shrinking import shrink
from prudent.surgery.structures import structures
from prudent.surgery.tracing import trace


class Branches(nn.Module):
    """Three branches: two of a convolution with normalisation, of different sizes, and one without."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.a, self.norm_a, self.end_a = nn.Conv2d(3, 10, 3, padding=1), nn.BatchNorm2d(10), nn.Conv2d(10, 4, 1)
        self.b, self.norm_b, self.end_b = nn.Conv2d(3, 20, 5, padding=2), nn.BatchNorm2d(20), nn.Conv2d(20, 4, 1)
        self.c, self.end_c = nn.Conv2d(3, 30, 1), nn.Conv2d(30, 4, 1)
        self.fc = nn.Linear(4, 5)

    def forward(self, x):
        a = self.end_a(torch.relu(self.norm_a(self.a(x))))
        b = self.end_b(torch.relu(self.norm_b(self.b(x))))
        return self.fc((a + b + self.end_c(torch.relu(self.c(x)))).mean((2, 3)))


class Grouped(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.a, self.b, self.c = nn.Conv2d(3, 24, 3), nn.Conv2d(24, 24, 3, groups=4), nn.Conv2d(24, 6, 1)

    def forward(self, x):
        return self.c(torch.relu(self.b(torch.relu(self.a(x))))).mean((2, 3))


def kinds(model, x, granularity="channel", *, changing=False) -> set[frozenset[str]]:
    found = structures(model, layout(trace(model, x), granularity=granularity, changing=changing))
    return {frozenset(n.removesuffix(".weight") for n, kind in found.items() if kind == one) for one in found.values()}


X = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))


def test_known_kinds():
    # end_a, end_b and end_c are summed, and go with one another
    assert kinds(Branches(), X) == {frozenset({"a", "b"}), frozenset({"c"}), frozenset({"end_a"})}


def test_stages_of_a_resnet_are_apart_from_the_insides_of_its_blocks():
    inner = {f"layer{stage}.{block}.conv1" for stage in (1, 2, 3) for block in (0, 1)}
    stages = [{"conv1"}, {"layer2.0.conv2"}, {"layer3.0.conv2"}]
    model = resnet_cifar((3, 16, 16), 10, depth=14)
    assert kinds(model, X) == {frozenset(inner), *map(frozenset, stages)}


def test_heads_and_hidden_units_of_a_transformer():
    model = vit((3, 16, 16), 10, patch=4)
    blocks = range(6)
    assert kinds(model, X, "head") == {frozenset(f"blocks.{i}.attention.proj" for i in blocks)}
    hidden, inside, scores = (
        frozenset(f"blocks.{i}.{part}" for i in blocks) for part in ("fc1", "attention.value", "attention.query")
    )
    assert kinds(model, X) == {hidden, inside, scores}
    assert kinds(model, X, changing=True) == {hidden, inside, scores, frozenset({"patches"})}


def test_depthwise_convolutions_are_an_operation_of_their_own():
    found = kinds(mobilenet_v2((3, 32, 32), 10), torch.rand(2, 3, 32, 32))
    expanded = next(kind for kind in found if "conv_first" in kind)
    assert all("expand" in name or name == "conv_first" for name in expanded)
    assert len(expanded) == 17
    assert frozenset({"conv_last"}) in found


def test_a_depthwise_convolution_is_unlike_a_second_sum():
    class Sums(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.deep, self.end_a = nn.Conv2d(3, 8, 1), nn.Conv2d(8, 8, 3, groups=8), nn.Conv2d(8, 4, 1)
            self.b, self.also, self.end_b = nn.Conv2d(3, 8, 3), nn.Conv2d(3, 8, 3), nn.Conv2d(8, 4, 1)

        def forward(self, x):
            return (self.end_a(self.deep(self.a(x))) + self.end_b(self.b(x) + self.also(x))).mean((2, 3))

    assert kinds(Sums(), X) == {frozenset({"a"}), frozenset({"b"})}


def test_plain_networks():
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 12, 3), nn.BatchNorm2d(12), nn.ReLU(),
        nn.Conv2d(12, 6, 3), nn.ReLU(), nn.Flatten(), nn.Linear(6 * 100, 16), nn.ReLU(), nn.Linear(16, 5),
    )  # fmt: skip
    found = structures(model, None)
    assert found["0.weight"] == found["3.weight"]
    assert len(set(found.values())) == 3
    mask = prune(model, sparsity=0.5, granularity="channel", scope="isomorphic").mask
    lost = mask.removed_by_layer
    assert (lost["0.weight"] + lost["3.weight"], lost["6.weight"], lost["9.weight"]) == (10, 3, 8)


@pytest.mark.parametrize("sparsity", [0.0, 0.31, 0.5, 0.77])
def test_the_sparsity_is_met_in_each_kind_by_its_least_important_units(sparsity):
    model = Branches()
    pruned = prune(model, sparsity=sparsity, granularity="channel", scope="isomorphic", example=X)
    ranked = {
        "a": (model.a, model.norm_a), "b": (model.b, model.norm_b), "c": (model.c,),
        "end_a": (model.end_a, model.end_b, model.end_c),
    }  # fmt: skip
    scores = {}
    for name, layers in ranked.items():
        weights = [m.weight for m in layers if not isinstance(m, nn.BatchNorm2d)]
        own = sum(w.detach().abs().flatten(1).sum(1).double() for w in weights).numpy()
        scores[name] = own / own.mean()
    for members in (("a", "b"), ("c",), ("end_a",)):
        together = np.concatenate([scores[name] for name in members])
        kept = np.concatenate([pruned.mask.kept[f"{name}.weight"].numpy() for name in members])
        gone = count(sparsity, len(together))
        assert (~kept).sum() == gone
        expected = np.ones(len(together), bool)
        expected[np.argsort(together, kind="stable")[:gone]] = False
        assert (kept == expected).all()
    if sparsity:
        assert shrink(pruned, X).proof.difference < 1e-9


def test_kinds_differ_from_one_ranking_of_all():
    model = Branches()
    with torch.no_grad():
        model.c.weight[:20] *= 1e-3  # most of what is small is in one kind
    lost = {
        scope: prune(model, sparsity=0.3, granularity="channel", scope=scope, example=X).mask.removed_by_layer
        for scope in ("global", "isomorphic")
    }
    assert lost["global"]["c.weight"] >= 15
    assert lost["isomorphic"] == lost["isomorphic"] | {"c.weight": 9, "end_a.weight": 1}


def test_minimum_holds_and_is_refused_where_it_cannot():
    model = Branches()
    with torch.no_grad():
        model.a.weight.mul_(torch.linspace(1e-6, 1e-5, 10).view(-1, 1, 1, 1))
        model.a.weight[0] = 1.0  # its layer's mean is that of one channel
    options = {"granularity": "channel", "scope": "isomorphic", "example": X}
    loose = prune(model, sparsity=0.5, **options).mask
    tight = prune(model, sparsity=0.5, minimum=2, **options).mask
    assert int(loose.kept["a.weight"].sum()) == 1
    assert int(tight.kept["a.weight"].sum()) == 2
    assert loose.remaining == tight.remaining
    with pytest.raises(BadInput, match="keeping at least 3 units in every layer, 1 of 4 can be removed; 2 are asked"):
        prune(model, sparsity=0.5, minimum=3, **options)


@pytest.mark.parametrize("scope", ["global", "isomorphic"])
def test_rows_of_one_layer_alone(scope):
    # 24 channels in 4 groups: 12 of them go, 3 of each
    for layers in (["a"], ["b"]):
        mask = prune(Grouped(), sparsity=0.5, granularity="channel", scope=scope, layers=layers, example=X).mask
        (kept,) = mask.kept.values()
        assert kept.shape == (4, 6)
        assert (kept.sum(dim=1) == 3).all()


def test_what_has_no_structure_is_refused():
    for options in ({"granularity": "weight"}, {"granularity": "block", "block": (1, 1)}):
        with pytest.raises(BadInput, match='prune with granularity="channel" or "head"'):
            prune(Branches(), sparsity=0.5, scope="isomorphic", **options)
    with pytest.raises(BadInput, match="ranks channels or heads of the same structure"):
        select({"w": torch.rand(4)}, 0.5, scope="isomorphic")
    with pytest.raises(BadInput, match="gradual pruning removes single weights"):
        gradual(0.5, scope="isomorphic")
