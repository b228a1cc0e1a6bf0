"""Labels under reshapes and joins against brute force: data are really moved, and looked at element by element."""

import numpy as np
import pytest
import torch

from prudent.bundles import bundle_order, bundled, keep_highest_bundles, unbundled
from prudent.errors import BadInput
from prudent.masks import Mask, select
from prudent.surgery.families import resolve
from prudent.surgery.joining import join
from prudent.surgery.ledger import Ledger
from prudent.surgery.shadow import Field, Shadow, labelled, permuted, reshaped
from prudent.surgery.statistics import OVER_CHANNELS

RESHAPES = [
    ((2, 6), (2, 6)), ((2, 6), (12,)), ((2, 6), (2, 2, 3)), ((2, 6), (2, 3, 2)), ((2, 6), (2, 1, 6)),
    ((4, 1, 6), (4, 6)), ((4, 6), (4, 1, 2, 3)), ((2, 3, 4), (2, 12)), ((2, 3, 4), (6, 4)), ((2, 3, 4), (24,)),
    ((2, 12), (2, 3, 4)), ((2, 12), (2, 3, 2, 2)), ((2, 3, 4), (2, 2, 6)), ((5, 6, 1), (5, 2, 3)),
]  # fmt: skip


def whole(field: Field, shape: tuple[int, ...]) -> np.ndarray:
    return np.broadcast_to(field.labels, shape)


@pytest.mark.parametrize(("old", "new"), RESHAPES, ids=str)
def test_labels_are_moved_as_a_full_tensor_is(old: tuple[int, ...], new: tuple[int, ...]):
    for dim, n in enumerate(old):
        if n == 1:
            continue
        ledger = Ledger()
        vector = ledger.fresh(n)
        field = Field(vector.reshape([-1 if d == dim else 1 for d in range(len(old))]))
        made = reshaped(ledger, Shadow(old, (field,)), new)
        expected = whole(field, old).reshape(new)
        own = [f for f in made.fields if not f.rows]
        assert len(own) == 1
        assert np.array_equal(whole(own[0], new), expected)
        for rows in (f for f in made.fields if f.rows):
            labels = whole(rows, new)
            for row in np.unique(labels):  # a row is the set of labels at its places
                assert set(expected[labels == row]) == set(ledger.rows[int(row)])


def test_a_split_and_a_join_give_back_the_labels_and_rows_keep_equally_many():
    ledger = Ledger()
    vector = ledger.fresh(12)
    start = Shadow((2, 12), (Field(vector.reshape(1, -1)),))
    split = reshaped(ledger, start, (2, 3, 4))
    back = reshaped(ledger, split, (2, 12))
    assert np.array_equal(back.along(1), vector)
    families = resolve(ledger)
    groups = {frozenset(int(families.of[x]) for x in vector[i : i + 4]) for i in (0, 4, 8)}
    assert any(groups == set(found) for found in families.balanced)
    assert not families.frozen


def test_joined_in_another_order_the_places_of_each_row_go_together():
    """A channel shuffle's halves: (group, channel) turned and flattened reads the channels in another order."""
    ledger = Ledger()
    vector = ledger.fresh(6)
    split = reshaped(ledger, Shadow((6,), (Field(vector),)), (2, 3))
    turned = reshaped(ledger, permuted(split, [1, 0]), (6,))
    expected = vector.reshape(2, 3).T.reshape(-1)
    assert np.array_equal(turned.along(0), expected)
    of = resolve(ledger).of
    for a, b in zip(vector[:3], vector[3:], strict=True):
        assert of[a] == of[b]


def test_two_live_dimensions_that_become_one_stay():
    ledger = Ledger()
    made = reshaped(ledger, labelled(ledger, (3, 4)), (12,))
    assert made.fields
    frozen = resolve(ledger).frozen
    assert frozen
    assert all("become one" in reason for reason in frozen.values())


# joins: union-find by brute force


def classes(pairs: list[tuple[int, int]], n: int) -> set[frozenset[int]]:
    """Connected components by repeated merging."""
    parts = [{i} for i in range(1, n + 1)]
    for a, b in pairs:
        one, other = (next(p for p in parts if x in p) for x in (a, b))
        if one is not other:
            parts.remove(other)
            one |= other
    return {frozenset(p) for p in parts}


def found(ledger: Ledger) -> set[frozenset[int]]:
    of = resolve(ledger).of
    return {frozenset(int(i) for i in np.flatnonzero(of == f)) for f in np.unique(of[1:])}


def test_a_join_unites_what_runs_together_and_leaves_the_rest():
    """Matrix product (i, k) x (k, j): k is united, i and j pass on."""
    ledger = Ledger()
    a, b = labelled(ledger, (3, 4)), labelled(ledger, (4, 2))
    made = join(ledger, [(a, (0, 2)), (b, (2, 1))], (0, 1))
    pairs = [(int(x), int(y)) for x, y in zip(a.along(1), b.along(0), strict=True)]
    assert found(ledger) == classes(pairs, ledger.count)
    shadow = Shadow((3, 2), made)
    assert np.array_equal(shadow.along(0), a.along(0))
    assert np.array_equal(shadow.along(1), b.along(1))


def test_what_meets_a_full_dimension_without_labels_stays():
    ledger = Ledger()
    a = labelled(ledger, (3, 4))
    join(ledger, [(a, (0, 1)), (Shadow((4,)), (1,))], (0, 1))
    frozen = set(resolve(ledger).frozen)
    of = resolve(ledger).of
    assert frozen == {int(of[x]) for x in a.along(1)}


def test_families_by_brute_force():
    rng = np.random.default_rng(0)
    for _ in range(20):
        ledger = Ledger()
        labels = ledger.fresh(15)
        pairs = []
        for _ in range(4):
            a, b = rng.choice(labels, 3), rng.choice(labels, 3)
            ledger.unite(a, b)
            pairs += [(int(x), int(y)) for x, y in zip(a, b, strict=True)]
        stays = rng.choice(labels, 2)
        ledger.freeze(stays, "so")
        assert found(ledger) == classes(pairs, 15)
        families = resolve(ledger)
        kept = {label for label in labels if int(families.of[label]) in families.frozen}
        assert kept == {x for part in classes(pairs, 15) if part & {int(s) for s in stays} for x in part}


def test_a_row_goes_with_its_members_and_stays_with_one_that_must():
    ledger = Ledger()
    labels = ledger.fresh(6)
    first, second = ledger.row(labels[:3]), ledger.row(labels[3:])
    assert ledger.row(labels[:3].copy()) == first
    ledger.freeze(labels[4:5], "so")
    families = resolve(ledger)
    of = families.of
    assert int(of[second]) in families.frozen
    assert int(of[first]) not in families.frozen
    chosen = np.zeros(int(of.max()) + 1, dtype=bool)
    chosen[of[first]] = True
    gone = families.removed(chosen)
    assert set(np.flatnonzero(gone)) == {int(of[first]), *(int(of[x]) for x in labels[:3])}


def test_reasons_name_the_place():
    ledger = Ledger()
    ledger.place = lambda: "conv2d in 'stem'"
    ledger.freeze(ledger.fresh(1), "so")
    assert list(resolve(ledger).frozen.values()) == ["so (conv2d in 'stem')"]
    assert "layer_norm" in OVER_CHANNELS


# bundles


def by_hand(value: np.ndarray, removed: int) -> np.ndarray:
    """In each row the `removed` lowest go, of equal ones the first."""
    keep = np.ones(value.shape, dtype=bool)
    for row in range(len(value)):
        for i in sorted(range(value.shape[1]), key=lambda i, row=row: (value[row, i], i))[:removed]:
            keep[row, i] = False
    return keep


@pytest.mark.parametrize("seed", range(5))
def test_rows_lose_equally_many_each_its_lowest(seed: int):
    rng = np.random.default_rng(seed)
    value = rng.integers(0, 4, (3, 7)).astype(float)  # with ties

    for removed in range(1, 7):
        mask = select({"a": torch.from_numpy(value)}, removed / 7, scope="layer", granularity="channel")
        assert np.array_equal(mask.kept["a"].numpy(), by_hand(value, removed))
    first = select({"a": torch.from_numpy(value)}, 2 / 7, scope="layer", granularity="channel")
    later = select({"a": torch.from_numpy(-value)}, 4 / 7, scope="layer", granularity="channel", within=first)
    assert not (later.kept["a"] & ~first.kept["a"]).any()
    assert (later.kept["a"].sum(dim=1) == 3).all()
    copied = select({"a": torch.from_numpy(-value)}, granularity="channel", like=later)
    assert copied.removed_by_layer == later.removed_by_layer
    assert (copied.kept["a"].sum(dim=1) == 3).all()


def test_bundles_go_back_to_their_places():
    value = np.array([[3.0, 1.0, 2.0], [5.0, 6.0, 4.0]])
    order = bundle_order(value, None)
    means, living = bundled(value, None, order)
    assert living is None
    assert means.tolist() == [(1 + 4) / 2, (2 + 5) / 2, (3 + 6) / 2]
    kept = unbundled(np.array([False, True, True]), order)
    assert kept.tolist() == [[True, False, True], [True, True, False]]
    uneven = np.array([[True, True, False], [True, True, True]])
    with pytest.raises(BadInput, match="different numbers"):
        bundled(value, uneven, bundle_order(value, uneven))
    with pytest.raises(BadInput, match="finite"):
        bundle_order(np.array([[np.nan, 1.0]]), None)


def test_bundles_of_several_sizes_fill_a_budget_and_never_exceed_it():
    rng = np.random.default_rng(1)
    for _ in range(40):
        weights = rng.integers(1, 4, 3).tolist()
        values = [rng.random(int(n)) for n in rng.integers(2, 6, 3)]
        total = sum(w * len(v) for w, v in zip(weights, values, strict=True))
        removed = int(rng.integers(0, total - sum(weights) + 1))
        try:
            kept = keep_highest_bundles(values, [None] * 3, weights, removed, 1)
        except BadInput as error:
            if "units fewer can be removed" not in str(error):  # a bundle that does not fit into what is left
                raise
            continue
        gone = sum(w * int((~k).sum()) for w, k in zip(weights, kept, strict=True))
        assert removed - max(weights) < gone <= removed
        assert all(k.any() for k in kept)
        for value, keep in zip(values, kept, strict=True):  # within a layer always the lowest
            assert value[keep].min() >= max(value[~keep], default=-1.0)


def test_masks_are_of_whole_rows():

    kept = torch.tensor([[True, False], [False, True]])
    assert Mask(kept={"a": kept}, granularity="channel").sparsity == 0.5
