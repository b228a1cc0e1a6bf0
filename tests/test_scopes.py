"""How many units each layer loses, against the definitions."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import prudent
from prudent.errors import BadInput
from prudent.masks import select
from prudent.scopes import count, erdos_renyi
from prudent.scores.magnitude import magnitude
from tests.conftest import chain

shapes = st.dictionaries(
    st.sampled_from("abcdef"),
    st.tuples(st.integers(1, 12), st.integers(1, 12)) | st.tuples(*[st.integers(1, 6)] * 2, *[st.integers(1, 3)] * 2),
    min_size=1,
)


@settings(max_examples=200, deadline=None)
@given(shapes, st.floats(0, 0.95), st.booleans())
def test_erdos_renyi_densities_are_proportional_and_counts_exact(given_shapes, sparsity, kernel):
    sizes = {name: math.prod(shape) for name, shape in given_shapes.items()}
    keep = max(1, round((1 - sparsity) * sum(sizes.values())))
    try:
        kept = erdos_renyi(given_shapes, keep, kernel=kernel)
    except BadInput:
        return  # a layer would be empty; the next test says when
    assert sum(kept.values()) == keep
    assert all(1 <= kept[name] <= sizes[name] for name in sizes)
    raw = {
        name: (sum(shape) / sizes[name]) if kernel else (shape[0] + shape[1]) / (shape[0] * shape[1])
        for name, shape in given_shapes.items()
    }
    # one e for all: within rounding to whole units, each layer is full or has density e * raw
    low = max((kept[n] - 1) / (sizes[n] * raw[n]) for n in sizes)
    high = min(((kept[n] + 1) / (sizes[n] * raw[n]) for n in sizes if kept[n] < sizes[n]), default=math.inf)
    assert low <= high * (1 + 1e-12)


def test_erdos_renyi_refuses_an_empty_layer():
    with pytest.raises(BadInput, match="would leave layer '[ab]' empty"):
        erdos_renyi({"a": (2, 1), "b": (50, 50)}, 1, kernel=False)


def test_erdos_renyi_by_hand():
    # densities e * 12/20 = e * 0.6 and e * 20/100 = e * 0.2; 32 of 120 kept: 12 e + 20 e = 32, so e = 1
    assert erdos_renyi({"a": (10, 2), "b": (10, 10)}, 32, kernel=False) == {"a": 12, "b": 20}
    # with kernel: (4 + 2 + 3 + 3) / 72 and (4 + 4) / 16
    assert erdos_renyi({"a": (4, 2, 3, 3), "b": (4, 4)}, 20, kernel=True) == {"a": 12, "b": 8}
    # a layer that would need more than all of its weights is full, and the others share the rest
    assert erdos_renyi({"a": (1, 2), "b": (10, 10)}, 22, kernel=False) == {"a": 2, "b": 20}


@pytest.mark.parametrize("scope", ["erdos_renyi", "erdos_renyi_kernel"])
def test_erdos_renyi_scope_has_the_requested_sparsity(scope):
    model = chain()
    pruned = prudent.prune(model, sparsity=0.6, scope=scope)
    assert pruned.mask.total - pruned.mask.remaining == count(0.6, pruned.mask.total)
    for name, score in magnitude(model).items():
        alone = select({name: score}, pruned.mask.removed_by_layer[name] / score.numel())
        assert torch.equal(alone.kept[name], pruned.mask.kept[name])


def test_rows_lose_the_same_fraction_each():
    score = torch.randint(0, 4, (6, 10)).float()
    kept = select({"w": score}, 0.3, scope="row").kept["w"]
    for row, keep in zip(score.tolist(), kept.tolist(), strict=True):
        removed = sorted(range(10), key=lambda i: (row[i], i))[:3]
        assert keep == [i not in removed for i in range(10)]
    conv = torch.rand(3, 4, 2, 2)
    assert (select({"w": conv}, 0.5, scope="row").kept["w"].flatten(1).sum(1) == 8).all()


def test_fractions_by_name():
    model = chain()
    pruned = prudent.prune(model, fractions={"3": 0.25, "8.weight": 0.5})
    sizes = {name: score.numel() for name, score in magnitude(model).items()}
    expected = dict.fromkeys(sizes, 0) | {"3.weight": sizes["3.weight"] // 4, "8.weight": sizes["8.weight"] // 2}
    assert pruned.mask.removed_by_layer == expected
    assert pruned.scope == "fractions"


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.lists(st.integers(0, 4), min_size=1, max_size=9), min_size=2, max_size=4),
    st.integers(1, 3),
    st.floats(0, 0.99),
)
def test_the_minimum_of_each_layer_stays_and_nothing_better_goes(values, minimum, sparsity):
    scores = {str(i): torch.tensor(v, dtype=torch.float32) for i, v in enumerate(values)}
    total = sum(len(v) for v in values)
    most = total - sum(min(minimum, len(v)) for v in values)
    try:
        removed = count(sparsity, total)
    except BadInput:
        return
    if removed > most:
        with pytest.raises(BadInput, match=f"{most} of {total} can be removed"):
            select(scores, sparsity, minimum=minimum)
        return
    mask = select(scores, sparsity, minimum=minimum)
    assert mask.total - mask.remaining == removed
    for kept in mask.kept.values():
        assert kept.sum() >= min(minimum, kept.numel())
    # brute force: the sum of what is kept is the highest that any choice with these minima has
    flat = sorted(((s, i, j) for i, v in enumerate(values) for j, s in enumerate(v)), key=lambda t: -t[0])
    best, left, need = 0.0, total - removed, {i: min(minimum, len(v)) for i, v in enumerate(values)}
    rest = []
    for s, i, _ in flat:
        if need[i]:
            need[i] -= 1
            left -= 1
            best += s
        else:
            rest.append(s)
    best += sum(rest[:left])
    assert sum(scores[n][k].sum().item() for n, k in mask.kept.items()) == best


def test_erdos_renyi_is_refused_for_channels():
    with pytest.raises(BadInput, match="outputs and inputs"):
        prudent.prune(chain(), sparsity=0.5, granularity="channel", scope="erdos_renyi")
