"""A cut in one step is the cut by prune and shrink, bit by bit; and what it refuses."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from prudent.errors import BadInput, CannotPrune, PrudentError
from prudent.models.resnet_cifar import resnet_cifar
from prudent.models.vit import vit
from prudent.network import Reweighted, prunable
from prudent.pruning import prune
from prudent.recutting import cut, importances
from prudent.surgery.shrinking import shrink
from tests.conftest import assert_untouched, batches, chain, snapshot
from tests.surgery.networks import grouped, pictures, residual, tied, words, written
from tests.surgery.zoo.case import randomised

pytestmark = pytest.mark.filterwarnings("ignore:`isinstance:FutureWarning")  # copies of graphs, in torch


class Reading(nn.Module):
    """An LSTM, whose hidden units only a linear layer reads, and a convolution before it."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv1d(3, 8, 3, padding=1), nn.BatchNorm1d(8)
        self.recurrent, self.head = nn.LSTM(8, 6, batch_first=True), nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.norm(self.conv(x))).transpose(1, 2)
        return self.head(self.recurrent(x)[0][:, -1])


def reading() -> nn.Module:
    return randomised(Reading)


class Normed(nn.Module):
    """A layer normalisation over units that can go, if its statistics may change."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm, self.last = nn.Linear(9, 8), nn.LayerNorm(8), nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(torch.relu(self.norm(self.first(x))))


def normed() -> nn.Module:
    return randomised(Normed)


def transformer() -> nn.Module:
    return randomised(lambda: vit((3, 8, 8), 5, patch=4, width=16, depth=2, heads=4, hidden=24))


def small_resnet() -> nn.Module:
    return randomised(lambda: resnet_cifar((3, 8, 8), 10, depth=8, width=4))


def series() -> Tensor:
    return torch.rand(2, 3, 9, generator=torch.Generator().manual_seed(0))


def squares() -> Tensor:
    return torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))


CASES: dict[str, tuple[Any, Any, dict[str, Any]]] = {
    "residual": (residual, pictures, {}),
    "residual, global": (residual, pictures, {"scope": "global", "minimum": 2}),
    "isomorphic": (residual, pictures, {"scope": "isomorphic", "reduction": "l2"}),
    "grouped": (grouped, pictures, {"scope": "global"}),
    "tied": (tied, words, {}),
    "chain": (lambda: randomised(chain), lambda: batches(4).inputs, {}),
    "recurrent": (reading, series, {"scope": "global"}),
    "heads": (transformer, squares, {"granularity": "head"}),
    "layers": (residual, pictures, {"layers": ["first"]}),
    "changing": (normed, series, {"changing": True}),
}


def state(model: nn.Module) -> dict[str, Tensor]:
    return dict(model.named_parameters(remove_duplicate=False)) | dict(model.named_buffers())


@pytest.mark.parametrize("name", CASES)
def test_a_cut_in_one_step_is_that_by_prune_and_shrink(name: str):
    build, inputs, given = CASES[name]
    model, example = build(), inputs()
    before = snapshot(model)
    options = {"granularity": "channel", "scope": "layer"} | given
    known = importances(model, example=example, **{k: v for k, v in options.items() if k != "minimum"})
    for sparsity in (0.5, 0.3):
        pruned = prune(model, sparsity=sparsity, example=example, **options)
        expected = shrink(pruned, example)
        assert expected.form == "module"
        for score in ("magnitude", known):
            got = cut(model, sparsity=sparsity, example=example, proof=False, score=score, **options)
            assert got.proof is None
            assert all(torch.equal(got.mask.kept[key], kept) for key, kept in pruned.mask.kept.items())
            assert state(got.model).keys() == state(expected.model).keys()
            for key, value in state(expected.model).items():
                assert torch.equal(state(got.model)[key], value), key
            for path, module in expected.model.named_modules():
                sizes = {k: v for k, v in vars(module).items() if isinstance(v, (int, tuple)) and not k.startswith("_")}
                own = vars(got.model.get_submodule(path))
                assert {k: own[k] for k in sizes} == sizes, path
        proved = cut(model, sparsity=sparsity, example=example, **options)
        assert proved.proof is not None
        assert proved.proof.difference == expected.proof.difference
        assert state(proved.model).keys() == state(expected.model).keys()
    assert_untouched(model, before)


def test_importances_are_sums_over_all_weights_that_make_a_unit():
    model, example = residual(), pictures()
    found = importances(model, example=example, scope="layer")
    stem, second, first = (model.get_parameter(f"{n}.weight").detach() for n in ("stem", "second", "first"))
    (together,) = [v for v in found.values() if len(v) == 8]
    (alone,) = [v for v in found.values() if len(v) == 6]
    for i in range(8):
        by_hand = float(stem[i].double().abs().sum() + second[i].double().abs().sum())
        assert together[i].item() == pytest.approx(by_hand, rel=1e-6)
    for i in range(6):
        assert alone[i].item() == pytest.approx(float(first[i].double().abs().sum()), rel=1e-6)


def test_scores_of_some_units_only_leave_the_others_alone():
    model, example = residual(), pictures()
    found = importances(model, example=example, scope="layer")
    alone = {name: value for name, value in found.items() if len(value) == 6}
    small = cut(model, sparsity=0.5, example=example, score=alone, scope="layer").model
    assert small.first.weight.shape[:2] == (3, 8)
    # the three with the highest scores
    best = alone[next(iter(alone))].topk(3).indices.sort().values
    assert torch.equal(small.first.weight, model.first.weight[best])


def test_scores_from_data_and_their_purpose():
    model, example = small_resnet(), squares()
    options = {"scope": "layer", "score": "batch_norm_scale"}
    got = cut(model, sparsity=0.4, example=example, proof=False, **options)
    expected = prune(model, sparsity=0.4, granularity="channel", example=example, **options)
    assert all(torch.equal(got.mask.kept[key], kept) for key, kept in expected.mask.kept.items())
    with pytest.raises(PrudentError, match="test"):
        cut(model, sparsity=0.4, example=example, proof=False, batches=batches(8, split="test"), **options)


@pytest.mark.parametrize("proof", [True, False])
@pytest.mark.usefixtures("unchecked")
def test_what_is_refused(proof: bool):
    model, example = residual(), pictures()
    with pytest.raises(BadInput, match="channels and heads are cut out"):
        cut(model, sparsity=0.5, example=example, granularity="weight", proof=proof)
    with pytest.raises(BadInput, match="sparsity"):
        cut(model, sparsity=1.0, example=example, proof=proof)
    with pytest.raises(PrudentError, match="scope"):
        cut(model, sparsity=0.5, example=example, scope="everywhere", proof=proof)
    with pytest.raises(CannotPrune):
        cut(nn.ReLU(), sparsity=0.5, example=example, proof=proof)


def test_a_score_that_changes_weights_needs_the_masked_network():
    model, example = residual(), pictures()

    def changing(model: nn.Module, batches: object) -> Reweighted:
        return Reweighted({n: w.detach().abs() for n, w in prunable(model).items()}, lambda kept: {})

    with pytest.raises(BadInput, match="use prune and shrink"):
        cut(model, sparsity=0.5, example=example, score=changing, proof=False)
    with pytest.raises(BadInput, match="use prune and shrink"):
        importances(model, example=example, score=changing)
    assert cut(model, sparsity=0.5, example=example, score=changing).proof is not None


def test_sizes_in_the_code_need_the_proof():
    """Without a proof the smaller network is the user's class, and nobody has found out that it does not run."""
    model, example = written(), pictures()
    assert cut(model, sparsity=0.5, example=example, scope="layer").form == "graph"
    small = cut(model, sparsity=0.5, example=example, scope="layer", proof=False)
    with pytest.raises(RuntimeError):
        small.model(example)
