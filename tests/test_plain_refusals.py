"""What is refused in one line where no type checker stands before it: each case in an interpreter without beartype."""

import json
import subprocess
import sys

import pytest

START = """
import json, sys
import numpy as np
import torch
from torch import nn
from prudent.errors import PrudentError
from prudent.batches import Batches
from prudent.prediction import predict
from prudent.pruning import prune
from prudent.loss_tables import losses
from prudent.training import train
from prudent.types import Losses, Predictions

X, Y = torch.randn(17, 4), torch.arange(17) % 3
net = nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 3))
frozen = nn.Sequential(nn.Linear(4, 3)).requires_grad_(False)
normed = nn.Sequential(nn.Linear(4, 5), nn.BatchNorm1d(5), nn.Linear(5, 3))

def fit(model=net, inputs=X, labels=Y, **options):
    train(model, [(inputs[:16], labels[:16]), (inputs[16:], labels[16:])], **{"epochs": 1, "lr": 0.1, **options})

def blind():
    with torch.no_grad():
        fit()

P = Predictions(logits=np.zeros((450, 3), np.float32), labels=np.zeros(450, int), split="certification")

def own(value):
    losses([P], sparsities=[0.5], loss=lambda candidate, dense: value)

def table(values):
    Losses(values=values, names=("a",), sparsities=(0.5,), loss="error", split="test")
"""

CASES = {
    "fit(nn.Sequential(nn.ReLU()))": "has none",
    "fit(frozen)": "frozen",
    "blind()": "no_grad",
    "fit(inputs=torch.randn(17, 6))": "shape (16, 6)",
    "fit(inputs=X.double())": "float64",
    "fit(labels=Y.int())": "int64",
    "fit(labels=Y.float())": "int64",
    "fit(labels=Y[:, None])": "int64 of shape (batch,)",
    "fit(nn.Sequential(nn.Linear(4, 1), nn.Flatten(0)))": "logits (batch, classes)",
    "fit(normed)": "shape (1, 4)",
    "fit(momentum=-1, optimizer='sgd')": "in [0, 1)",
    "fit(momentum=1.5, optimizer='sgd')": "in [0, 1)",
    "fit(weight_decay=-1)": "weight_decay",
    "fit(weight_decay=float('inf'))": "weight_decay",
    "fit(lr=float('inf'))": "learning rate",
    "train(net, [(X * 1e6, Y)], epochs=1, lr=1e38, optimizer='sgd', momentum=0.0)": "no longer finite",
    "fit(epochs=1.5)": "whole number",
    "fit(seed=2**63)": "seed",
    "fit(precision='7-bit')": "precision='7-bit'",
    "fit(accelerator='abacus')": "accelerator='abacus'",
    "prune(net, sparsity='0.5')": "got '0.5'",
    "losses(P, sparsities=[0.5])": "put it in a list",
    "own(0.5)": "shape (450,)",
    "own(None)": "shape (450,)",
    "own(np.zeros(3))": "shape (450,)",
    "own(np.full(450, 'x'))": "shape (450,)",
    "table([['a']])": "losses are numbers",
}
FINE = {
    "fit()": "",
    "losses((p for p in [P]), sparsities=(s for s in [0.5]))": "",
    "table([[0.0], [1.0]])": "",
    "prune(net, sparsity=np.float32(0.5))": "",
}


@pytest.fixture(scope="module")
def said():
    code = f"""{START}
said = {{}}
for case in {[*CASES, *FINE]!r}:
    try:
        exec(case)
        said[case] = ""
    except PrudentError as error:
        said[case] = str(error)
    except BaseException as error:
        said[case] = f"raw {{type(error).__name__}}: {{error}}"
json.dump(said, sys.stdout)
"""
    return json.loads(subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout)


@pytest.mark.parametrize(("case", "message"), CASES.items())
def test_refused_in_one_line(said, case, message):
    assert said[case], "this was not refused"
    assert not said[case].startswith("raw ")
    assert message in said[case]
    assert "\n" not in said[case]


@pytest.mark.parametrize("case", FINE)
def test_not_refused(said, case):
    assert said[case] == ""
