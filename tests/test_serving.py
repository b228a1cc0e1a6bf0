"""A cascade in use does what its certificate counted."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from prudent.cascades import certify_cascade, choose_thresholds, margins
from prudent.errors import BadInput
from prudent.prediction import predict
from prudent.pruning import prune
from prudent.serving import serve
from prudent.types import Predictions
from tests.conftest import assert_untouched, snapshot


def network() -> nn.Sequential:
    return nn.Sequential(nn.Linear(6, 32), nn.ReLU(), nn.Dropout(0.5), nn.Linear(32, 4))


def answers(model: nn.Module, inputs: Tensor, split: str) -> Predictions:
    return predict(model, [inputs], split=split)


@pytest.fixture
def pair():
    torch.manual_seed(0)
    dense = network()
    with torch.no_grad():
        dense[3].weight.mul_(20)
    return prune(dense, sparsity=0.4, score="magnitude").model, dense


@pytest.fixture
def certified(pair):
    small, dense = pair
    generator = torch.Generator().manual_seed(1)
    drawn = {split: torch.randn(800, 6, generator=generator) for split in ("validation", "certification")}
    said = {split: [answers(one, x, split) for one in pair] for split, x in drawn.items()}
    thresholds = choose_thresholds(*said["validation"], alpha=0.05, examples=800)
    certificate = certify_cascade(thresholds, *said["certification"], alpha=0.05, delta=0.05)
    assert certificate.selected is not None
    return certificate, drawn["certification"]


def test_it_serves_and_differs_exactly_as_often_as_was_counted(pair, certified):
    small, dense = pair
    certificate, inputs = certified
    before = [snapshot(one) for one in pair]
    cascade = serve(certificate, small, dense)
    asked: list[int] = []
    hooks = [one[0].register_forward_hook(lambda _, given, __: asked.append(len(given[0]))) for one in pair]
    logits, served = cascade.answer(inputs)
    assert asked == [len(inputs), int((~served).sum())]
    for hook in hooks:
        hook.remove()
    for one, was in zip(pair, before, strict=True):
        assert_untouched(one, was)
    assert 0 < served.sum() < len(inputs)
    assert int(served.sum()) == certificate.served[certificate.selected]
    with torch.no_grad():
        own, other = small.eval()(inputs), dense.eval()(inputs)
    torch.testing.assert_close(logits, torch.where(torch.from_numpy(served)[:, None], own, other))
    differs = (logits.argmax(1) != other.argmax(1)).numpy()
    assert int(differs.sum()) == certificate.disagreements[certificate.selected]
    assert not differs[~served].any()


def test_one_at_a_time_is_the_same_as_all_at_once(pair, certified):
    certificate, inputs = certified
    cascade = serve(certificate, *pair)
    logits, served = cascade.answer(inputs[:40])
    alone = [cascade.answer(row[None]) for row in inputs[:40]]
    torch.testing.assert_close(torch.cat([one for one, _ in alone]), logits)
    assert [bool(one) for _, (one,) in alone] == served.tolist()


def test_a_margin_at_the_threshold_is_served(pair, certified):
    certificate, inputs = certified
    gaps = margins(answers(pair[0], inputs[:9], "test"))
    middle = float(np.sort(gaps)[4])
    exact = replace(serve(certificate, *pair), threshold=middle)
    assert exact.answer(inputs[:9])[1].tolist() == (gaps >= middle).tolist()
    assert exact.answer(inputs[:9])[1].sum() == 5


def test_other_networks_and_nothing_certified_are_refused(pair, certified):
    certificate, inputs = certified
    small, dense = pair
    with pytest.raises(BadInput, match="of another small network"):
        serve(certificate, dense, small)
    with pytest.raises(BadInput, match="of another dense network"):
        serve(certificate, small, network())
    with pytest.raises(BadInput, match="let the dense network answer alone"):
        serve(replace(certificate, selected=None), small, dense)
    unnamed = replace(certificate, small="", dense="")
    wide = nn.Linear(6, 5)
    with pytest.raises(BadInput, match="the small one answers 4 and the dense one 5"):
        serve(unnamed, small, wide).answer(inputs)
