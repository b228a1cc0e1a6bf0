import time

import pytest
import torch
from torch import nn

from prudent.errors import BadInput
from prudent.latency import measure


class Sleeping(nn.Module):
    def __init__(self, seconds: float) -> None:
        super().__init__()
        self.seconds = seconds

    def forward(self, x):
        time.sleep(self.seconds)
        return x


def test_ratio_of_two_known_times():
    measured = measure(Sleeping(0.004), Sleeping(0.02), torch.zeros(1), turns=7)
    assert measured.milliseconds >= 4
    assert measured.beside >= 20
    assert 2 < measured.speedup <= 5.2
    assert measured.lo <= measured.hi


def test_modes_and_threads_are_put_back():
    model = nn.Sequential(nn.Linear(4, 4), nn.Dropout(0.5)).train()
    torch.set_num_threads(2)
    measure(model, model, torch.rand(3, 4), turns=3)
    assert torch.get_num_threads() == 2
    assert model.training
    assert model[1].training


def test_refuses_too_few_turns():
    with pytest.raises(BadInput, match="at least 3 turns; got 2"):
        measure(nn.Identity(), nn.Identity(), torch.zeros(1), turns=2)
