"""Layers that cannot be cut are found in few proofs, named with the reason, and everything else is cut and proved."""

import copy
from collections.abc import Callable, Mapping

import pytest
import torch
from torch import Tensor, nn

import prudent
from prudent.errors import CannotPrune
from prudent.surgery import emission, removal, tracing
from prudent.surgery.calls import Call
from prudent.surgery.rules import RULES
from prudent.surgery.shadow import Shadow
from prudent.surgery.shrinking import Shrunk

pytestmark = pytest.mark.filterwarnings("ignore:`isinstance:FutureWarning")  # copies of graphs, in torch
X = torch.randn(3, 5, generator=torch.Generator().manual_seed(0))


class Blocks(nn.Module):
    """Eight residual blocks x + out(f(in(x))) of eight hidden units each; `functions` says f by the block's number."""

    def __init__(self, functions: Mapping[int, Callable[[Tensor], Tensor]], *, first: int = 0) -> None:
        super().__init__()
        self.within = nn.ModuleList(nn.Linear(5, 8) for _ in range(8))
        self.out = nn.ModuleList(nn.Linear(8, 5) for _ in range(8))
        self.functions, self.first = functions, first

    def forward(self, x: Tensor) -> Tensor:
        for i, (within, out) in enumerate(zip(self.within, self.out, strict=True)):
            x = x + out(self.functions.get(i, torch.tanh)(within(x)))
        return x


def centred(x: Tensor) -> Tensor:
    return x - x.mean(1, keepdim=True)  # of fewer


def turned(x: Tensor) -> Tensor:
    return x.flip(1)  # what stays is not at the same places


@pytest.fixture
def wrong_rules(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two operations over channels are misunderstood, as a mistake of ours would have it."""

    def same(call: Call) -> Shadow:
        return call.x

    def blank(call: Call) -> Shadow:
        return Shadow(call.shape)

    monkeypatch.setattr(tracing, "RULES", {**RULES, "mean": blank, "flip": same})


@pytest.fixture
def proofs(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What becomes of each proof."""
    found = []

    def counted(*args, **options):
        found.append("refused")
        proof = original(*args, **options)
        found[-1] = "proved"
        return proof

    original = removal.prove
    monkeypatch.setattr(removal, "prove", counted)
    return found


@pytest.fixture
def exports(monkeypatch: pytest.MonkeyPatch) -> list[None]:
    found = []

    def counted(*args):
        found.append(None)
        return original(*args)

    original = removal.exported
    monkeypatch.setattr(removal, "exported", counted)
    return found


def cut(model: nn.Module) -> Shrunk:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        for value in model.parameters():
            nn.init.normal_(value)
    pruned = prudent.prune(model.eval(), sparsity=0.5, granularity="channel", scope="layer", example=X)
    small = prudent.shrink(pruned, X)
    fresh = torch.randn(7, 5, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    with torch.no_grad():
        expected, got = (copy.deepcopy(m).double()(fresh) for m in (pruned.model, small.model))
    torch.testing.assert_close(got, expected, rtol=1e-9, atol=1e-9 * float(expected.abs().max()))
    return small


def hidden(small: Shrunk) -> list[int]:
    state = small.model.state_dict()
    return [len(state[f"within.{i}.weight"]) for i in range(8)]


@pytest.mark.usefixtures("wrong_rules")
@pytest.mark.parametrize("culprits", [(3,), (0, 7), (0, 1, 3, 4, 6)])
def test_culprits_are_found_by_what_they_compute(culprits, proofs, exports):
    functions = {i: centred if i % 2 else turned for i in culprits}
    small = cut(Blocks(functions))
    assert list(small.kept) == [f"within.{i}.weight" for i in culprits]
    assert hidden(small) == [8 if i in culprits else 4 for i in range(8)]
    # without suspects one culprit among eight can take 6 attempts, and five of them 14, with two proofs for each
    assert len(exports) == 1
    assert len(proofs) <= 2 * 2 * len(culprits) + 1
    for i, why in zip(culprits, small.kept.values(), strict=True):
        assert "differs from the masked one" in why
        assert f"(first seen at {'mean' if i % 2 else 'flip'}" in why
        assert "test_removal.py:" in why


@pytest.mark.usefixtures("wrong_rules")
def test_nothing_is_kept_and_one_proof_does_where_all_is_well(proofs, exports):
    small = cut(Blocks({}))
    assert (small.kept, proofs, exports) == ({}, ["proved"], [])


@pytest.mark.usefixtures("wrong_rules")
def test_where_every_layer_is_a_culprit_nothing_is_cut(proofs):
    with pytest.raises(CannotPrune, match="differs from the masked one"):
        cut(Blocks(dict.fromkeys(range(8), centred)))
    assert "proved" not in proofs
    assert len(proofs) <= 2 * (1 + 2 * 7)


@pytest.mark.usefixtures("wrong_rules")
def test_a_network_without_a_graph_is_halved(monkeypatch, proofs):
    """No operation can be looked at then, and nothing but the user's own class can be cut."""
    calls = []

    def never(*args):
        calls.append(args)
        raise CannotPrune("it has no graph")

    monkeypatch.setattr(removal, "exported", never)
    small = cut(Blocks({1: centred, 5: turned}))
    assert list(small.kept) == ["within.1.weight", "within.5.weight"]
    assert set(small.kept.values()) == {"it has no graph"}
    assert small.form == "module"
    assert len(calls) == 1
    assert len(proofs) <= 2 * (2 * (2 * 2 + 1) + 1)


@pytest.mark.usefixtures("wrong_rules")
def test_at_the_limit_of_attempts_the_rest_is_kept_and_says_so(monkeypatch, proofs):
    monkeypatch.setattr(removal, "ATTEMPTS", 4)
    monkeypatch.setattr(removal, "suspected_families", lambda *_: {})
    small = cut(Blocks({1: centred, 5: turned}))
    assert hidden(small) == [4, 8, 4, 4, 8, 8, 8, 8]
    assert "differs from the masked one" in small.kept["within.1.weight"]
    undecided = {f"within.{i}.weight" for i in range(4, 8)}
    assert {name for name, why in small.kept.items() if "not proved within 4 attempts" in why} == undecided
    assert len(proofs) <= 2 * 5


def test_an_operation_that_cannot_be_rewritten_is_blamed(monkeypatch, proofs, exports):
    """Each graph is refused before any proof of it; the user's class is none, since its code says eight."""

    def eight(x: Tensor) -> Tensor:
        return x.view(-1, 2, 4).tanh().view(-1, 8)

    def refusing(node, sizes, traced, gone):
        if node.name == "view_2" and sizes[node.name] != traced.shadows[node.name].shape:
            raise CannotPrune(f"{node.name} says a size")
        return original(node, sizes, traced, gone)

    original = emission._rewrite
    monkeypatch.setattr(emission, "_rewrite", refusing)
    small = cut(Blocks({1: eight, 4: eight, 6: eight}))
    assert small.form == "graph"
    assert list(small.kept) == ["within.4.weight"]
    assert "view_2 says a size" in small.kept["within.4.weight"]
    assert len(exports) == 1
    assert proofs.count("proved") == 1
