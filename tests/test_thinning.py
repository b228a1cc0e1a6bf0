"""Scores found in several steps: the schedule, the counts, and that one select makes the last step."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from prudent.errors import BadInput
from prudent.masks import select
from prudent.scopes import count
from prudent.thinning import thin

WEIGHTS = {"a": torch.zeros(5, 8), "b": torch.zeros(60)}


def changing(seen: list[int]):
    """Scores that depend on what is kept, drawn anew from its number."""

    def score(kept):
        left = sum(int(k.sum()) for k in kept.values())
        seen.append(left)
        generator = torch.Generator().manual_seed(left)
        return {name: torch.rand(k.shape, generator=generator) for name, k in kept.items()}

    return score


def by_hand(score, sparsity: float, steps: int, *, revive: bool) -> dict[str, torch.Tensor]:
    """What is kept after the last step, by sorting all weights in each step."""
    kept = {name: torch.ones(w.shape, dtype=torch.bool) for name, w in WEIGHTS.items()}
    for step in range(1, steps + 1):
        removed = count(1 - (1 - sparsity) ** (step / steps) if step < steps else sparsity, 100)
        flat = torch.cat([s.flatten() for s in score(kept).values()])
        if not revive:
            flat[~torch.cat([k.flatten() for k in kept.values()])] = -1
        alive = torch.ones(100, dtype=torch.bool)
        alive[flat.argsort(stable=True)[:removed]] = False
        kept = {"a": alive[:40].view(5, 8), "b": alive[40:]}
    return kept


@given(sparsity=st.floats(0, 0.98), steps=st.integers(1, 9), revive=st.booleans())
@settings(max_examples=60, deadline=None)
def test_the_last_step_is_one_select(sparsity, steps, revive):
    scores = thin(changing([]), WEIGHTS, sparsity=sparsity, steps=steps, revive=revive)
    mask = select(scores, sparsity)
    assert mask.total - mask.remaining == count(sparsity, 100)
    expected = by_hand(changing([]), sparsity, steps if sparsity > 0 else 1, revive=revive)
    assert all(torch.equal(mask.kept[name], expected[name]) for name in WEIGHTS)


def test_densities_fall_by_the_same_factor():
    seen: list[int] = []
    thin(changing(seen), WEIGHTS, sparsity=0.9375, steps=4)
    assert seen == [100, 50, 25, 12]  # 12.5, and halves are removed


def test_what_went_earlier_scores_lower_and_sums_do_not_feel_it():
    seen: list[int] = []
    scores = thin(changing(seen), WEIGHTS, sparsity=0.9, steps=5)
    flat = torch.cat([s.flatten() for s in scores.values()]).sort().values
    assert (flat[: 100 - seen[-1]] < 1e-30).all()
    assert (flat[100 - seen[-1] :] > 1e-6).all()
    assert (flat >= 0).all()
    gone = torch.diff(torch.tensor([100 - n for n in seen])).tolist()
    assert [int((flat[: 100 - seen[-1]] == v).sum()) for v in flat[: 100 - seen[-1]].unique()] == gone


def test_zero_scores_of_the_kept_are_above_those_of_the_removed():
    ones = thin(lambda kept: {n: k.float() * 0 for n, k in kept.items()}, WEIGHTS, sparsity=0.5, steps=3)
    flat = torch.cat([s.flatten() for s in ones.values()])
    assert len(flat.unique()) == 3
    kept = select(ones, 0.5).kept  # ties: those that come first go first, in every step
    assert not kept["a"].any()
    assert int(kept["b"].sum()) == 50


def test_half_precision_has_room_below_it():
    scores = thin(lambda kept: {n: k.half() for n, k in kept.items()}, WEIGHTS, sparsity=0.5, steps=3)
    assert all(s.dtype == torch.float32 for s in scores.values())


def test_refusals():
    for options, message in (
        ({"sparsity": 1.0, "steps": 2}, r"in \[0, 1\)"),
        ({"sparsity": 0.5, "steps": 0}, "got steps=0"),
    ):
        with pytest.raises(BadInput, match=message):
            thin(changing([]), WEIGHTS, **options)
