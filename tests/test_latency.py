import time

import pytest
import torch
from torch import nn

from prudent.errors import BadInput
from prudent.latency import measure, take_turns, threads_of_torch


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


def test_turns_alternate_and_each_gets_its_own_time():
    now, calls = [0.0], []
    script = {"a": iter([9, 9, 1, 2, 3, 4]), "b": iter([9, 9, 10, 20, 30, 40])}

    def work(name):
        def run():
            calls.append(name)
            now[0] += next(script[name])

        return run

    own, other = take_turns(work("a"), work("b"), turns=4, warm_up=2, clock=lambda: now[0])
    assert own == [1, 2, 3, 4]
    assert other == [10, 20, 30, 40]
    assert "".join(calls) == "abab" + "abbaabba"


def test_threads_are_put_back_after_an_error():
    torch.set_num_threads(2)
    with pytest.raises(ZeroDivisionError), threads_of_torch(1):
        assert torch.get_num_threads() == 1
        _ = 1 / 0
    assert torch.get_num_threads() == 2
