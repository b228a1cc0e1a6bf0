"""Every rewind of a study against a loop written by hand: which weights training starts from, and by which recipe.

Nothing here trains with prudent: steps, learning rates, masks and the choice of weights are written out.
"""

import json
import math

import pytest
import torch
from torch.nn.functional import cross_entropy

import prudent
from prudent.building import build
from prudent.errors import BadInput
from prudent.networks import load
from prudent.parsing import parse
from prudent.preflight import preflight
from prudent.seeds import stream
from prudent.sources import load_data

STEP = 4
WAYS = {
    "none": 'rewind = "none"',
    "init": 'rewind = "init"; schedule = "iterative"',
    "step": f'rewind = "step"; rewind_step = {STEP}',
    "rates": 'rewind = "learning_rate"; schedule = "iterative"',
    "fresh": 'rewind = "reinit"',
    "control": 'control_of = "init"; control = "reinit"',
}
TWICE = ("init", "rates", "control")
METHODS = "\n".join(
    "\n".join(
        ["[[methods]]", f'name = "{name}"', *way.split("; "), f"sparsities = {[0.5, 0.8][: 1 + (name in TWICE)]}"]
    )
    for name, way in WAYS.items()
)
STUDY = f"""
name = "rewinds"
seeds = [3]
[data]
name = "digits"
options = {{ validation = 40, certification = 150, test = 100 }}
[model]
name = "mlp"
options = {{ hidden = [8, 6] }}
[training]
epochs = 2
batch_size = 256
lr = 0.2
optimizer = "sgd"
momentum = 0.5
schedule = "cosine"
[retraining]
epochs = 1
lr = 0.05
schedule = "constant"
{METHODS}
[evaluation]
latency_turns = 3
[certification]
alpha = 0.9
declared = {{ method = "none", seed = 3 }}
"""
WHOLE = {"epochs": 2, "lr": 0.2, "cosine": True}
SHORT = {"epochs": 1, "lr": 0.05, "cosine": False}
LAYERS = ("fc1.weight", "fc2.weight", "fc3.weight")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("rewinds")
    (folder / "rewinds.toml").write_text(STUDY)
    return prudent.study(folder / "rewinds.toml", out=folder, executor="inline")


@pytest.fixture(scope="module")
def found(run):
    """(method, sparsity) -> weights of the network that the study ended with."""
    entries = json.loads((run / "results.json").read_text())["networks"]
    saved = {(e["method"], e["requested"]): load(run / e["folder"]) for e in entries}
    return {at: state(getattr(network, "model", network)) for at, network in saved.items()}


def state(model):
    return {name: value.detach().clone() for name, value in model.named_parameters()}


def fresh(seed):
    return state(build("mlp", (1, 8, 8), 10, seed=seed, options={"hidden": [8, 6]}))


def answer(weights, x):
    x = x.flatten(1)
    for i in (1, 2, 3):
        x = x @ weights[f"fc{i}.weight"].T + weights[f"fc{i}.bias"]
        x = torch.relu(x) if i < 3 else x
    return x


def trained(start, recipe, kept=None):
    """Nesterov's steps with momentum 0.5, a mask after each; the weights after the last one, and after every one."""
    batches = load_data("digits", {"validation": 40, "certification": 150, "test": 100}).train.batches(256)
    weights = masked(start, kept)
    speed = {name: torch.zeros_like(value) for name, value in weights.items()}
    total, done, early = recipe["epochs"] * 6, 0, {}
    for epoch in range(recipe["epochs"]):
        for x, y in batches.shuffled(seed=3, epoch=epoch):
            for value in weights.values():
                value.requires_grad_()
            gradients = torch.autograd.grad(cross_entropy(answer(weights, x), y), list(weights.values()))
            rate = recipe["lr"] * ((1 + math.cos(math.pi * done / total)) / 2 if recipe["cosine"] else 1)
            for name, gradient in zip(list(weights), gradients, strict=True):
                speed[name] = 0.5 * speed[name] + gradient
                weights[name] = weights[name].detach() - rate * (gradient + 0.5 * speed[name])
            weights = masked(weights, kept)
            done += 1
            early[done] = {name: value.detach().clone() for name, value in weights.items()}
    assert done == total
    return {name: value.detach() for name, value in weights.items()}, early


def masked(weights, kept):
    return {name: value * kept[name] if kept and name in kept else value.clone() for name, value in weights.items()}


def largest(weights, share):
    """The mask that keeps the largest weights of all layers together; what is zero already is the smallest."""
    every = torch.cat([weights[name].abs().flatten() for name in LAYERS])
    gone = round(share * len(every))
    order = every.argsort()
    flat = torch.ones(len(every), dtype=torch.bool)
    flat[order[:gone]] = False
    parts = flat.split([weights[name].numel() for name in LAYERS])
    return {name: part.view_as(weights[name]) for name, part in zip(LAYERS, parts, strict=True)}


def apart(one, other):
    return max(float((one[name] - other[name]).abs().max()) for name in one)


@pytest.fixture(scope="module")
def dense():
    """The dense network by hand: its initial weights, its trained ones, and those after each step."""
    initial = fresh(3)
    return initial, *trained(initial, WHOLE)


def test_the_loop_by_hand_is_the_dense_training(found, dense):
    initial, last, _ = dense
    assert apart(found["", 0.0], last) < 1e-5
    assert apart(initial, last) > 0.05


def expected(dense, method):
    """Where training starts and how it goes, for the first sparsity."""
    initial, last, early = dense
    starts = {
        "none": (last, SHORT), "init": (initial, SHORT), "step": (early[STEP], SHORT), "rates": (last, WHOLE),
        "fresh": (fresh(stream("fresh weights", 3)), SHORT), "control": (fresh(stream("fresh weights", 3)), SHORT),
    }  # fmt: skip
    return starts[method]


@pytest.mark.parametrize("method", ["none", "init", "step", "rates", "fresh", "control"])
def test_each_rewind_is_the_loop_by_hand_and_no_other(found, dense, method):
    initial, last, early = dense
    kept = largest(last, 0.5)
    start, recipe = expected(dense, method)
    own = found[method, 0.5]
    assert apart(own, trained(start, recipe, kept)[0]) < 1e-5
    others = [initial, last, early[STEP - 1], early[STEP], early[STEP + 1], fresh(stream("fresh weights", 3))]
    for other in others:
        for way in (SHORT, WHOLE):
            if apart(other, start) > 0 or way is not recipe:
                assert apart(own, trained(other, way, kept)[0]) > 1e-3, "another start would have been told apart"


def test_the_next_round_starts_from_the_same_weights_or_from_the_last_ones(found, dense):
    initial, last, _ = dense
    first = largest(last, 0.5)
    once = trained(initial, SHORT, first)[0]
    assert apart(found["init", 0.8], trained(initial, SHORT, largest(once, 0.8))[0]) < 1e-5
    again = trained(last, WHOLE, first)[0]
    assert apart(found["rates", 0.8], trained(again, WHOLE, largest(again, 0.8))[0]) < 1e-5
    # the control has the masks of the method that it is of, on weights that neither has seen
    new = fresh(stream("fresh weights", 3))
    assert apart(found["control", 0.8], trained(new, SHORT, largest(once, 0.8))[0]) < 1e-5
    assert apart(new, initial) > 0.05


def test_a_step_that_training_does_not_reach_is_refused_before_work():
    text = "rewind_step = {}".format
    steps = 2 * math.ceil((1797 - 290) / 256)
    preflight(parse(STUDY.replace(text(STEP), text(steps)), source="s"))
    with pytest.raises(BadInput, match=f"2 epochs of {steps // 2} steps: lower its rewind_step to {steps} or less"):
        preflight(parse(STUDY.replace(text(STEP), text(steps + 1)), source="s"))
