"""Random numbers of examples: their own whatever the batch, of the right distributions, alike in nothing."""

import numpy as np
import pytest
import torch
from scipy import stats

from prudent.draws import _mix, _words, draws_of

LIKE = torch.zeros(1)
IDS = torch.arange(2000)


def test_mix_is_a_bijection_by_its_inverse_and_the_published_one():
    # SplitMix64 of seed 0 gives mix(golden), mix(2 golden), ...: the first numbers of the reference implementation
    golden = np.array([0x9E3779B97F4A7C15], np.uint64)
    assert [hex(int(_mix(golden * np.uint64(k))[0])) for k in (1, 2, 3)] == [
        "0xe220a8397b1dcdaf", "0x6e789e6aa1b965f4", "0x6c45d188009454f",
    ]  # fmt: skip


def test_no_two_examples_share_a_word_and_no_draw_does():
    ids = np.arange(100_000)
    words = _words(5, 0, ids)
    assert len(np.unique(words)) == words.size
    others = np.concatenate([_words(5, 1, ids), _words(6, 0, ids)])
    assert not np.intersect1d(words, others).size
    assert np.array_equal(_words(5, 0, ids[[7, 3]]), words[[7, 3]])


@pytest.mark.parametrize("kind", ["normal", "uniform", "poisson", "integers"])
def test_an_examples_numbers_are_its_own(kind):
    def draw(ids):
        draws = draws_of("a purpose", 1, ids, LIKE)
        for _ in range(2):  # the second draw is another one
            options = {"normal": (3, 4), "uniform": (3, 4), "integers": (0, 1000, 3, 4)}
            first = draws.poisson(torch.full((len(ids), 3, 4), 40.0)) if kind == "poisson" else getattr(draws, kind)(
                *options[kind]
            )  # fmt: skip
            yield first

    whole, part = list(draw(IDS[:50])), list(draw(torch.tensor([40, 2])))
    for one, other in zip(whole, part, strict=True):
        assert torch.equal(one[[40, 2]], other)
    assert not torch.equal(whole[0], whole[1])
    known = draws_of("a purpose", 1, IDS[:50], LIKE).uniform(3)
    for purpose, seed in (("another", 1), ("a purpose", 2)):
        assert not torch.equal(draws_of(purpose, seed, IDS[:50], LIKE).uniform(3), known)


def test_the_first_numbers_of_neighbours_are_uniform_and_unrelated():
    first = draws_of("x", 0, IDS, LIKE).uniform(2).double()
    second = draws_of("x", 0, IDS, LIKE)
    second.uniform(2)
    columns = {
        "first": first[:, 0], "next": first[:, 1], "neighbour": first.roll(1, 0)[:, 0],
        "second draw": second.uniform(1).double()[:, 0], "other seed": draws_of("x", 1, IDS, LIKE).uniform(1)[:, 0],
    }  # fmt: skip
    for values in columns.values():
        assert stats.kstest(values.numpy(), "uniform").pvalue > 1e-4
    table = np.corrcoef(np.stack([values.double().numpy() for values in columns.values()]))
    # four standard deviations of a correlation of 2,000 pairs are 0.09
    assert np.abs(table - np.eye(len(columns))).max() < 0.09


def test_distributions():
    draws = draws_of("y", 3, IDS[:100], LIKE)
    assert stats.kstest(draws.normal(200).flatten().numpy(), "norm").pvalue > 1e-4
    for rate in (0.5, 8.0, 60.0):
        counts = draws.poisson(torch.full((100, 200), rate)).flatten().numpy().astype(int)
        top = int(counts.max()) + 1
        expected = stats.poisson.pmf(np.arange(top), rate) * counts.size
        seen = np.bincount(counts, minlength=top)
        likely = expected >= 5
        chi = float((np.square(seen - expected) / expected)[likely].sum())
        assert stats.chi2.sf(chi, likely.sum() - 1) > 1e-4
    sides = torch.bincount(draws.integers(0, 6, 200).flatten(), minlength=6)
    assert stats.chisquare(sides.numpy()).pvalue > 1e-4
