"""Reading data leaves nothing behind."""

import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

from prudent.errors import BadInput
from prudent.observation import labelled, needed, observe, quiet, unlabelled
from prudent.scores import SCORES
from tests.conftest import assert_untouched, batches, chain, images, normalised, snapshot


def loader(*, shuffle: bool = True) -> DataLoader:
    return DataLoader(TensorDataset(*images(60)), batch_size=16, shuffle=shuffle)


@pytest.mark.parametrize("shuffle", [False, True])
@pytest.mark.parametrize("name", list(SCORES))
def test_a_data_loader_does_not_move_the_callers_random_numbers(name, shuffle):
    model = normalised() if SCORES.constant(name, "SUITS") == "normalised" else chain(norm=True)
    before = snapshot(model)
    first, second = (SCORES[name](model, loader(shuffle=shuffle)) for _ in range(2))
    assert_untouched(model, before)
    assert all(torch.equal(first[key], second[key]) for key in first)


def test_a_shuffled_loader_gives_all_examples_in_an_order_of_the_seed():
    a, b, c = ([x for x, _ in quiet(loader(), seed=seed)] for seed in (0, 0, 1))
    assert torch.equal(torch.cat(a), torch.cat(b))
    assert not torch.equal(torch.cat(a), torch.cat(c))
    assert torch.equal(torch.cat(a).sum((1, 2, 3)).sort().values, images(60)[0].sum((1, 2, 3)).sort().values)
    assert len(a) == 4
    assert len(a[-1]) == 12


def test_random_numbers_of_the_reader_and_of_the_loader_do_not_mix():
    # drawing between two batches changes neither the batches nor what is drawn
    torch.manual_seed(3)
    expected = torch.rand(4)
    torch.manual_seed(3)
    seen, drawn = [], []
    for inputs, _ in quiet(loader()):
        seen.append(inputs)
        drawn.append(torch.rand(1))
    assert torch.equal(torch.cat(drawn), expected)
    assert torch.equal(torch.cat(seen), torch.cat([x for x, _ in quiet(loader())]))


def test_what_layers_see():
    model, found = chain(), []
    before = snapshot(model)
    seen = observe(model, batches(20), {"8": model[8]}, lambda name, x, y: found.append((name, x.shape, y.shape)))
    assert_untouched(model, before)
    assert seen == 20
    assert found == [("8", (16, 24), (16, 10)), ("8", (4, 24), (4, 10))]


def test_nothing_to_see_is_refused():
    with pytest.raises(BadInput, match="batches were empty"):
        observe(chain(), [], {}, lambda *_: None)
    with pytest.raises(BadInput, match="score 'x' needs data"):
        needed(None, score="x")
    with pytest.raises(BadInput, match="score 'x' needs labels"):
        list(labelled([torch.rand(1, 1, 8, 8)], chain(), score="x"))
    assert len(list(unlabelled([torch.rand(1, 1, 8, 8)], chain()))) == 1
