"""Networks whose training mode leaves something behind, or draws from a generator of its own, beside dropping."""

import random
from collections import deque
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from prudent import predict
from prudent.errors import BadInput
from prudent.functional_dropout import find_dropouts
from prudent.side_effects import attributes_of, written

INPUTS = torch.randn(6, 8, generator=torch.Generator().manual_seed(0))


class Network(nn.Module):
    """Functional dropout, and `also(self, x)` in training mode."""

    def __init__(self, also, *, always=False, **attributes) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.mix, self.head, self.also, self.always = nn.Linear(8, 16), nn.Linear(16, 3), also, always
        for name, value in attributes.items():
            setattr(self, name, value)

    def forward(self, x):
        y = torch.relu(self.mix(x))
        if self.training or self.always:
            y = self.also(self, y)
        return self.head(F.dropout(y, 0.3, self.training))


def frozen() -> nn.Parameter:
    return nn.Parameter(torch.zeros(16), requires_grad=False)


def moving_average(net, y):
    with torch.no_grad():
        net.teacher.mul_(0.9).add_(0.1 * y.mean(0))
    return y


def past_autograd(net, y):
    net.teacher.data.add_(1)
    return y


def listed(net, y):
    net.log.append(y.mean())
    return y


def nested(net, y):
    net.log["means"].append(1)
    return y


def counted(net, y):
    net.count += 1
    return y * (1 - 0.1 * (net.count > 3))  # shows only later


def centred(net, y):
    net.centre = 0.9 * net.centre + y.detach().mean(0)
    return y


def centred_in_place(net, y):
    net.centre.add_(y.detach().mean(0))
    return y


def metered(net, y):
    net.meter.total = net.meter.total + len(y)
    return y


def arrayed(net, y):
    net.seen[:] += 1
    return y


def added(net, y):
    net.fresh = 1
    return y


def skips(draw):
    return lambda net, y: y * 0 if draw(net) < 1e-6 else y


LEAVING = {
    "parameter": (moving_average, lambda: {"teacher": frozen()}),
    "parameter past autograd": (past_autograd, lambda: {"teacher": frozen()}),
    "list": (listed, lambda: {"log": []}),
    "deque in a dictionary": (nested, lambda: {"log": {"means": deque(maxlen=3)}}),
    "count": (counted, lambda: {"count": 0}),
    "tensor": (centred, lambda: {"centre": torch.zeros(16)}),
    "tensor in place": (centred_in_place, lambda: {"centre": torch.zeros(16)}),
    "object": (metered, lambda: {"meter": SimpleNamespace(total=0)}),
    "array": (arrayed, lambda: {"seen": np.zeros(3)}),
    "new attribute": (added, dict),
    "generator of NumPy": (skips(lambda net: net.draw.random()), lambda: {"draw": np.random.default_rng(0)}),
    "older one": (skips(lambda net: net.draw.rand()), lambda: {"draw": np.random.RandomState(0)}),
    "generator of Python": (skips(lambda net: net.draw.random()), lambda: {"draw": random.Random(0)}),
    "generator of torch": (
        skips(lambda net: float(torch.rand((), generator=net.draw))),
        lambda: {"draw": torch.Generator().manual_seed(0)},
    ),
}


@pytest.mark.parametrize("name", LEAVING)
def test_dropout_of_a_module_that_leaves_something_behind_in_training_mode_stays_off(name):
    also, attributes = LEAVING[name]
    net = Network(also, **attributes()).eval()
    tensors = {key: tensor.clone() for key, tensor in net.state_dict().items()}
    before = attributes_of(net)
    for _ in range(2):
        with pytest.raises(BadInput, match="functional dropout of Network cannot be switched on alone"):
            predict(net, [INPUTS], split="test", mc_samples=4)
    assert not written(before, attributes_of(net))
    assert all(torch.equal(tensor, tensors[key]) for key, tensor in net.state_dict().items())
    net.always = True
    net.also = lambda _, y: y
    assert find_dropouts(net, INPUTS).functional == (net,), "without it, it is switched on"


@pytest.mark.parametrize("name", ["list", "tensor", "object", "new attribute"])
def test_what_evaluation_mode_leaves_behind_as_well_is_no_reason(name):
    also, attributes = LEAVING[name]
    net = Network(also, always=True, **attributes()).eval()
    assert find_dropouts(net, INPUTS).functional == (net,)


def test_what_is_compared_of_attributes():
    def said(value: object) -> dict[str, list[object]]:
        net = nn.Identity()
        net.held = value
        return attributes_of(net)

    thing = object()
    same = [
        1,
        "a",
        None,
        torch.tensor([1.0, float("nan")]),
        np.array([np.nan]),
        [1, [2]],
        {"a": {1, 2}},
        thing,
        float("nan"),
    ]
    for value in same:
        assert not written(said(value), said(value))
    others = [(1, 1.0), (1, True), ([], ()), ([1, 2], [2, 1]), (torch.zeros(2), torch.zeros(3)), (thing, object())]
    others += [(torch.zeros(1), torch.zeros(1, dtype=torch.double)), (np.zeros(1), np.zeros(1, np.float32)), ({1}, {2})]
    for one, other in others:
        assert written(said(one), said(other)) == {":held"}
    assert written({}, said(1)) == {":held", *said(1)}


# ---------------------------------------------------------------------- what treats examples together, or takes no hook


def shifted(net: nn.Sequential) -> nn.Sequential:
    """Its last layer looks at the whole batch, by a forward pass that only this very layer has."""
    last = net[-1]
    last.forward = lambda x: F.linear(x - x.mean(0), last.weight)
    return net


def by_batch() -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(8, 16), nn.Dropout(0.5), nn.BatchNorm1d(16, track_running_stats=False), nn.Linear(16, 3)
    )


@pytest.mark.parametrize(
    "made", [by_batch, lambda: shifted(nn.Sequential(nn.Linear(8, 16), nn.Dropout(0.5), nn.Linear(16, 3)))]
)
def test_layers_that_look_at_the_whole_batch_see_one_sample_at_a_time(made):
    torch.manual_seed(0)
    net = made().eval()
    with pytest.warns(UserWarning, match="take a whole pass"):
        ours = predict(net, [INPUTS], split="test", mc_samples=1500).logits
    net.train()
    torch.manual_seed(1)
    with torch.no_grad():
        theirs = np.stack([net(INPUTS).numpy() for _ in range(1500)])
    # examples of one batch push each other's moments: in blocks of many samples they would not
    apart = [np.corrcoef(some[:, :, 0].T)[np.triu_indices(6, 1)] for some in (ours, theirs)]
    assert np.abs(apart[1]).max() > 0.15
    np.testing.assert_allclose(*apart, atol=0.12)


class Scripted(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = torch.jit.trace(nn.Linear(8, 16).eval(), INPUTS)
        self.drop, self.head = nn.Dropout(0.5), nn.Linear(16, 3)

    def forward(self, x):
        return self.head(self.drop(self.body(x)))


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
def test_a_part_that_was_compiled_by_torchscript_takes_no_hooks_and_is_no_obstacle():
    net = Scripted().eval()
    found = find_dropouts(net, INPUTS)
    assert (found.modules, found.functional, found.silent) == ((net.drop,), (), ())


@pytest.mark.filterwarnings("ignore:Lazy modules:UserWarning")
def test_layers_that_have_no_numbers_yet_are_no_obstacle():
    net = Network(lambda _, y: y).eval()
    net.mix = nn.LazyLinear(16)
    assert find_dropouts(net, INPUTS).functional == (net,)
    assert isinstance(net.mix, nn.LazyLinear), "the trial was on a copy"
