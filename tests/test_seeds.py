"""Streams of random numbers that do not repeat each other."""

import pytest
import torch
from torch import nn

from prudent.building import build
from prudent.scores.random import random
from prudent.seeds import stream


def test_streams_differ_by_purpose_and_seed():
    found = {stream(purpose, seed) for purpose in ("a", "b", "a|1") for seed in range(50)}
    assert len(found) == 150
    assert all(0 <= s < 2**63 for s in found)
    assert stream("a", 1) == stream("a", 1)


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("how", ["build", "manual_seed"])
def test_random_scores_are_not_the_initial_weights(seed, how):
    if how == "build":
        model = build("mlp", (28, 28), 10, seed=seed, options={"hidden": [64]})
    else:
        torch.manual_seed(seed)
        model = nn.Sequential(nn.Linear(100, 50), nn.ReLU(), nn.Linear(50, 10))
    for name, score in random(model, seed=seed).items():
        weight = model.get_parameter(name).detach()
        together = torch.corrcoef(torch.stack([score.flatten(), weight.flatten()]))[0, 1]
        assert abs(together) < 4 / score.numel() ** 0.5, name
