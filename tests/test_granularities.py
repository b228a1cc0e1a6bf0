"""Units of every kind against their definitions by loop, and networks that are masked by them."""

import numpy as np
import pytest
import torch
from torch import nn

import prudent
from prudent.errors import BadInput, CannotPrune, UnknownName
from prudent.granularities import removed_elements, unit_scores
from prudent.masks import Mask, select
from prudent.network import prunable
from prudent.pruning import prune
from prudent.scores.magnitude import magnitude
from prudent.units import Units
from tests.conftest import chain


def ties(shape, seed=0):
    """Scores of few values, so that many are equal."""
    return torch.randint(0, 3, shape, generator=torch.Generator().manual_seed(seed)).float()


@pytest.mark.parametrize("pattern", [(2, 4), (1, 4), (1, 2), (3, 8)])
@pytest.mark.parametrize("shape", [(5, 8), (3, 16, 3, 2), (2, 8, 1)])
def test_of_each_m_neighbours_the_n_highest_stay(pattern, shape):
    n, m = pattern
    score = ties(shape)
    kept = select({"w": score}, granularity="n:m", pattern=pattern).kept["w"]
    for place in np.ndindex(shape[0], *shape[2:]):
        row = score[(place[0], slice(None), *place[1:])]
        keep = kept[(place[0], slice(None), *place[1:])]
        for start in range(0, shape[1], m):
            group = row[start : start + m].tolist()
            removed = sorted(range(m), key=lambda i: (group[i], i))[: m - n]
            assert keep[start : start + m].tolist() == [i not in removed for i in range(m)]


def test_patterns_stay_within_a_mask():
    score = ties((4, 8))
    first = select({"w": ties((4, 8), 1)}, granularity="n:m", pattern=(3, 4))
    second = select({"w": score}, granularity="n:m", pattern=(2, 4), within=first)
    assert not (second.kept["w"] & ~first.kept["w"]).any()
    assert (second.kept["w"].reshape(-1, 4).sum(1) == 2).all()
    with pytest.raises(BadInput, match="already removed 1 more"):
        select({"w": score}, granularity="n:m", pattern=(3, 4), within=second)


@pytest.mark.parametrize("reduction", ["sum", "mean", "max", "l2"])
def test_scores_of_blocks_are_reductions_of_their_weights(reduction):
    weight = torch.rand(4, 3, 2, 2)
    by_hand = {"sum": np.sum, "mean": np.mean, "max": np.max, "l2": lambda x: np.sqrt((x**2).sum())}[reduction]
    found = unit_scores(
        nn.Conv2d(3, 4, 2), {"weight": weight}, Units(granularity="block", block=(2, 3), reduction=reduction),
        scope="layer",
    )["weight"]  # fmt: skip
    flat = weight.reshape(4, 12).numpy()
    for i, j in np.ndindex(2, 4):
        assert found[i, j].item() == pytest.approx(by_hand(flat[2 * i : 2 * i + 2, 3 * j : 3 * j + 3]), rel=1e-6)


def test_blocks_are_removed_whole():
    model = nn.Sequential(nn.Linear(8, 4), nn.ReLU(), nn.Linear(4, 2))
    pruned = prudent.prune(model, sparsity=0.5, granularity="block", block=(2, 4))
    assert pruned.mask.total == 4 + 1
    assert pruned.mask.remaining == 2
    for name, kept in pruned.mask.kept.items():
        weight = pruned.model.get_parameter(name)
        for i, j in np.ndindex(*kept.shape):
            tile = weight[2 * i : 2 * i + 2, 4 * j : 4 * j + 4]
            assert (tile != 0).all() if kept[i, j] else (tile == 0).all()


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"granularity": "block", "block": (3, 4)}, CannotPrune, "matrix of 4 x 8, which 3 x 4 blocks do not tile"),
        ({"granularity": "n:m", "pattern": (2, 5)}, CannotPrune, "'0' has 8 inputs, no multiple of 5"),
        ({"granularity": "n:m"}, BadInput, "needs pattern"),
        ({"granularity": "block"}, BadInput, "needs block"),
        ({"pattern": (2, 4)}, BadInput, "takes no pattern"),
        ({"granularity": "n:m", "pattern": (4, 4)}, BadInput, "0 < n < m"),
        ({"granularity": "head"}, CannotPrune, "it has no attention"),
        ({"layers": ("1",)}, UnknownName, "no layer named '1'"),
        ({"layers": ()}, BadInput, "nothing to prune"),
        ({"fractions": {"3": 0.5}, "sparsity": None}, UnknownName, "no layer named '3'"),
        ({"fractions": {"2": 0.999}, "sparsity": None}, BadInput, "layer '2.weight': sparsity 0.999 of 8 units leaves"),
        ({"fractions": {"2": 0.5}}, BadInput, "got sparsity and fractions"),
        ({"sparsity": None}, BadInput, "got none of them"),
        ({"scope": "layer", "sparsity": 0.95}, BadInput, "layer '2.weight'"),
    ],
)
def test_refused_before_any_work(arguments, error, message):
    model = nn.Sequential(nn.Linear(8, 4), nn.ReLU(), nn.Linear(4, 2))
    given = {"sparsity": None if arguments.get("granularity") == "n:m" else 0.5} | arguments
    with pytest.raises(error, match=message):
        prudent.prune(model, **given)


def test_a_pattern_says_its_sparsity_itself():
    model = nn.Sequential(nn.Linear(8, 4), nn.ReLU(), nn.Linear(4, 2))
    pruned = prudent.prune(model, granularity="n:m", pattern=(1, 4))
    assert pruned.sparsity == pruned.requested == 0.75
    assert prudent.prune(model, sparsity=0.75, granularity="n:m", pattern=(1, 4)).sparsity == 0.75
    with pytest.raises(BadInput, match=r"removes 0.75 by itself"):
        prudent.prune(model, sparsity=0.5, granularity="n:m", pattern=(1, 4))


def test_only_the_named_layers_are_pruned():
    model = chain()
    pruned = prudent.prune(model, sparsity=0.5, layers=["3", "8.weight"])
    assert list(pruned.mask.kept) == ["3.weight", "8.weight"]
    assert torch.equal(pruned.model[0].weight, model[0].weight)
    units = sum(prunable(model)[name].numel() for name in pruned.mask.kept)
    assert pruned.mask.total - pruned.mask.remaining == units // 2


class OwnAttention(nn.Module):
    """Attention written out, with the names of the usual implementations."""

    def __init__(self, together: bool) -> None:
        super().__init__()
        self.num_heads = 4
        if together:
            self.qkv = nn.Linear(16, 48)
        else:
            self.q_proj, self.k_proj, self.v_proj = (nn.Linear(16, 16) for _ in range(3))
        self.proj = nn.Linear(16, 16)

    def parts(self, x):
        projected = self.qkv(x).chunk(3, -1) if hasattr(self, "qkv") else [
            layer(x) for layer in (self.q_proj, self.k_proj, self.v_proj)
        ]  # fmt: skip
        return [p.unflatten(-1, (4, 4)).transpose(1, 2) for p in projected]

    def heads(self, x):
        q, k, v = self.parts(x)
        return nn.functional.scaled_dot_product_attention(q, k, v)  # (batch, heads, n, 4)

    def forward(self, x):
        return self.proj(self.heads(x).transpose(1, 2).flatten(-2))


class Torch(nn.Module):
    """The module of torch, which answers a tuple."""

    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(16, 4, batch_first=True)

    def forward(self, x):
        return self.attention(x, x, x, need_weights=False)[0]


@pytest.mark.parametrize("kind", ["together", "apart", "torch"])
def test_removed_heads_add_nothing_and_the_others_stay(kind):
    torch.manual_seed(0)
    model = Torch() if kind == "torch" else OwnAttention(kind == "together")
    pruned = prudent.prune(model, sparsity=0.5, granularity="head")
    (name,) = pruned.mask.kept
    kept = pruned.mask.kept[name]
    assert kept.shape == (4,)
    assert kept.sum() == 2
    x = torch.rand(2, 5, 16)
    # what the dense network would say if the outputs of the removed heads were zero
    reader = model.attention.out_proj if kind == "torch" else model.proj
    silenced = kept.repeat_interleave(4).float()
    handle = reader.register_forward_pre_hook(lambda _, args: (args[0] * silenced,))
    if kind == "torch":
        q, k, v = (
            p.unflatten(-1, (4, 4)).transpose(1, 2)
            for p in nn.functional.linear(x, model.attention.in_proj_weight, model.attention.in_proj_bias).chunk(3, -1)
        )
        expected = reader(nn.functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(-2))
    else:
        expected = model(x)
    handle.remove()
    torch.testing.assert_close(pruned.model(x), expected, rtol=1e-5, atol=1e-6)
    # everything that belongs to a removed head is zero: three rows blocks of 4 x 16 with biases, and 16 x 4 columns
    removed = sum(int(gone.sum()) for gone in removed_elements(model, pruned.mask).values())
    assert removed == 2 * (3 * (4 * 16 + 4) + 16 * 4)


def test_scores_of_heads_sum_what_belongs_to_them():
    model = OwnAttention(together=True)
    scores = magnitude(model)
    found = unit_scores(model, scores, Units(granularity="head"), scope="layer")["proj.weight"]
    for head in range(4):
        own = slice(4 * head, 4 * head + 4)
        expected = model.proj.weight[:, own].abs().sum()
        for part in range(3):
            expected = expected + model.qkv.weight[16 * part : 16 * part + 16][own].abs().sum()
        torch.testing.assert_close(found[head], expected.detach())


def test_negative_scores_keep_their_order_under_global_scope():
    model = chain()
    scores = {name: -score for name, score in magnitude(model).items()}
    layer = unit_scores(model, scores, Units(granularity="channel"), scope="layer")
    everywhere = unit_scores(model, scores, Units(granularity="channel"), scope="global")
    for name in layer:
        assert torch.equal(layer[name].argsort(), everywhere[name].argsort())


@pytest.mark.parametrize(
    ("granularity", "more"),
    [("weight", {}), ("n:m", {"pattern": (2, 4)}), ("block", {"block": (2, 2)}), ("channel", {})],
)
def test_every_kind_of_mask_is_saved_at_one_bit_a_unit_and_read_again(granularity, more, tmp_path):
    def build():
        return nn.Sequential(nn.Linear(16, 8), nn.ReLU(), nn.Linear(8, 4))

    model = build()
    pruned = prudent.prune(model, sparsity=0.5, granularity=granularity, **more)
    folder = prudent.save(pruned, tmp_path)
    again = prudent.load(folder, build=build)
    assert isinstance(again, prudent.Pruned)
    assert again.mask.granularity == granularity
    assert (again.mask.pattern, again.mask.block) == (pruned.mask.pattern, pruned.mask.block)
    for name, value in pruned.model.state_dict().items():
        assert torch.equal(again.model.state_dict()[name], value)
    for name, kept in pruned.mask.kept.items():
        assert torch.equal(again.mask.kept[name], kept)
    from safetensors.torch import load_file

    tensors = load_file(folder / "network.safetensors")
    bits = sum(value.numel() for name, value in tensors.items() if name.endswith(".mask"))
    assert bits == sum(-(-kept.numel() // 8) for kept in pruned.mask.kept.values())
    stored = sum(value.numel() for name, value in tensors.items() if not name.endswith(".mask"))
    gone = sum(int(g.sum()) for g in removed_elements(model, pruned.mask).values())
    assert stored == sum(v.numel() for v in model.state_dict().values()) - gone


def test_masks_that_do_not_fit_are_refused():
    model = chain()
    for mask, message in (
        (Mask(kept={"x": torch.ones(2, 2, dtype=torch.bool)}, granularity="weight"), "no prunable weight 'x'"),
        (Mask(kept={"0.weight": torch.ones(2, 2, dtype=torch.bool)}, granularity="weight"), "has shape"),
        (Mask(kept={"0.weight": torch.ones(2, 2, dtype=torch.bool)}, granularity="block", block=(2, 2)), "has shape"),
        (Mask(kept={"0.weight": torch.ones(3, dtype=torch.bool)}, granularity="channel"), "has 4 channels"),
        (Mask(kept={"11.weight": torch.ones(3, dtype=torch.bool)}, granularity="channel"), "no channels that can be"),
    ):
        with pytest.raises(BadInput, match=message):
            removed_elements(model, mask)


@pytest.mark.parametrize(
    "options", [{"granularity": "n:m", "pattern": (1, 2)}, {"granularity": "block", "block": (2, 2)}, {"scope": "row"}]
)
def test_a_transposed_convolution_has_no_rows_of_outputs(options):
    model = nn.Sequential(nn.ConvTranspose2d(8, 6, 3), nn.ReLU(), nn.Conv2d(6, 2, 1))
    sparsity = None if options.get("granularity") == "n:m" else 0.5
    with pytest.raises(CannotPrune, match="'0' is a transposed convolution"):
        prune(model, sparsity=sparsity, **options)
    left = prune(model, sparsity=sparsity, layers=["2"], **options)
    assert left.mask.sparsity >= 0.5
    assert set(left.mask.kept) == {"2.weight"}
