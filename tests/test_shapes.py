"""Generated shapes: every figure's pixels by another definition, what pictures show, and splits that carry masks."""

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial import ConvexHull

from prudent.data.shapes import CORNERS, KINDS, Figures, pixels, shapes
from prudent.errors import BadInput
from prudent.splits import Data, Examples

SMALL = {"train": 60, "validation": 50, "certification": 80, "test": 40}


def figures(kind, n=40, seed=0):
    rng = np.random.default_rng(seed)
    corners = rng.integers(3, CORNERS + 1, n)
    angles = np.empty((n, CORNERS))
    for i, k in enumerate(corners):
        angles[i] = np.append((np.arange(k) + rng.uniform(-0.1, 0.1, k)) / k, np.full(CORNERS - k, np.nan))
        angles[i] = 2 * math.pi * (np.where(np.isnan(angles[i]), angles[i, 0], angles[i]) + rng.random())
    radius = rng.uniform(0.1, 0.4, n)
    return Figures(
        kind=np.full(n, KINDS.index(kind)), y=rng.uniform(0.3, 0.7, n), x=rng.uniform(0.3, 0.7, n), radius=radius,
        flatness=rng.uniform(0.3, 0.9, n), angles=angles,
    )  # fmt: skip


def inside(f, i, y, x):
    """Whether a point lies in figure i: by the distance, by the two foci, by the hull of the corners."""
    cy, cx, r = f.y[i], f.x[i], f.radius[i]
    if KINDS[f.kind[i]] == "disc":
        return math.dist((y, x), (cy, cx)) <= r
    if KINDS[f.kind[i]] == "ellipse":
        focus = r * math.sqrt(1 - f.flatness[i] ** 2)
        dy, dx = focus * math.sin(f.angles[i, 0]), focus * math.cos(f.angles[i, 0])
        return math.dist((y, x), (cy + dy, cx + dx)) + math.dist((y, x), (cy - dy, cx - dx)) <= 2 * r
    corners = np.unique(np.stack([cy + r * np.sin(f.angles[i]), cx + r * np.cos(f.angles[i])], axis=1), axis=0)
    return bool((ConvexHull(corners).equations @ np.array([y, x, 1.0]) <= 0).all())


@pytest.mark.parametrize("kind", KINDS)
def test_pixels_by_another_definition(kind):
    size, some = 12, figures(kind)
    found = pixels(some, size)
    expected = [
        [[inside(some, i, (row + 0.5) / size, (column + 0.5) / size) for column in range(size)] for row in range(size)]
        for i in range(len(some.kind))
    ]
    np.testing.assert_array_equal(found, expected)
    assert found.any(axis=(1, 2)).all()


def test_areas_are_those_of_geometry():
    size = 400
    for kind, area in (
        ("disc", lambda f: math.pi * f.radius**2),
        ("ellipse", lambda f: math.pi * f.radius**2 * f.flatness),
    ):
        some = replace(figures(kind, n=8), y=np.full(8, 0.5), x=np.full(8, 0.5))
        np.testing.assert_allclose(pixels(some, size).mean(axis=(1, 2)), area(some), rtol=0.02)


def test_what_the_pictures_show():
    data = shapes(**SMALL, noise=0.0, distractors=1.0, size=48)
    plain = shapes(**SMALL, noise=0.0, distractors=0.0, size=48)
    darker = 0
    for i in range(len(data.train)):
        picture, alone, mask = data.train.inputs[i, 0], plain.train.inputs[i, 0], data.train.masks[i]
        near = np.zeros_like(mask)  # neighbours of the object that are not of it: the slope is nearly none there
        near[1:] |= mask[:-1]
        near[:-1] |= mask[1:]
        step = alone[mask].min() - alone[near & ~mask].max()
        assert step > 0, "the object is brighter than what is around it"
        assert np.array_equal(picture[mask], alone[mask]), "never hidden"
        below = (alone - picture)[~mask]
        assert below.min() >= 0
        touched = below > 1e-6
        darker += bool(touched.any())
        if touched.any():
            assert 0.0999 <= below.max() <= 0.3001
    assert darker > 50, "a second figure in every picture, but for those wholly behind the object"
    assert 0 <= data.train.inputs.min() < data.train.inputs.max() <= 1


def test_chances_and_noise():
    quiet = shapes(train=2000, validation=1, certification=1, test=1, size=16, noise=0.0, distractors=0.0)
    some = shapes(train=2000, validation=1, certification=1, test=1, size=16, noise=0.0, distractors=0.3)
    every = shapes(train=2000, validation=1, certification=1, test=1, size=16, noise=0.0, distractors=1.0)
    hidden, drawn = ((quiet.train.inputs != other.train.inputs).any(axis=(1, 2, 3)) for other in (every, some))
    assert not (drawn & ~hidden).any()
    assert abs(drawn.sum() / hidden.sum() - 0.3) < 4 * math.sqrt(0.3 * 0.7 / hidden.sum())
    noisy = shapes(train=200, validation=1, certification=1, test=1, noise=0.05, distractors=0.0)
    still = shapes(train=200, validation=1, certification=1, test=1, noise=0.0, distractors=0.0)
    inner = (
        (noisy.train.inputs > 0) & (noisy.train.inputs < 1) & (still.train.inputs > 0.2) & (still.train.inputs < 0.8)
    )
    added = (noisy.train.inputs - still.train.inputs)[inner]
    assert abs(added.std() - 0.05) < 0.001
    assert abs(added.mean()) < 0.001
    shares = np.bincount(quiet.train.labels) / 2000
    assert abs(shares - 1 / 3).max() < 4 * math.sqrt(2 / 9 / 2000)


@pytest.mark.parametrize("size", [16, 21, 32])
def test_every_object_is_seen_and_wholly_inside(size):
    masks = shapes(train=3000, validation=1, certification=1, test=1, size=size, noise=0.0).train.masks
    area = np.count_nonzero(masks, axis=(1, 2))
    assert area.min() >= 4
    # pi 0.35 ** 2 is the largest disc; the rim of half a pixel may add to it
    assert area.max() <= math.pi * (0.35 * size + 0.75) ** 2


def test_splits_are_drawn_by_themselves():
    data, more, other = shapes(**SMALL), shapes(**(SMALL | {"train": 70})), shapes(**SMALL, seed=1)
    assert {split: len(examples) for split, examples in data.splits.items()} == SMALL
    for split in ("validation", "certification", "test"):
        assert np.array_equal(data.splits[split].inputs, more.splits[split].inputs)
        assert np.array_equal(data.splits[split].masks, more.splits[split].masks)
        assert not np.array_equal(data.splits[split].masks, other.splits[split].masks)
    assert data.repeated == {"validation": 0, "certification": 0, "test": 0}
    assert data.shape == (1, 32, 32)
    alike = shapes(train=9, validation=9, certification=9, test=9)
    assert len({examples.masks.tobytes() for examples in alike.splits.values()}) == 4


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"test": 0}, "every split of 'shapes' needs examples; .* test 0"),
        ({"train": -5}, "train -5"),
        ({"size": 15}, "at least 16 x 16 pixels; got size=15"),
        ({"noise": -0.1}, r"noise >= 0 and distractors in \[0, 1\]; got noise=-0.1"),
        ({"noise": math.nan}, "noise=nan"),
        ({"distractors": 1.1}, "distractors=1.1"),
    ],
)
def test_refusals(options, message):
    with pytest.raises(BadInput, match=message):
        shapes(**(SMALL | options))


# --------------------------------------------------------------------------------------------- masks beside examples


def one(**change):
    good = {
        "inputs": np.zeros((3, 1, 4, 5), np.float32), "labels": np.zeros(3, int), "ids": np.arange(3), "split": "test",
        "masks": np.zeros((3, 4, 5), bool),
    }  # fmt: skip
    return Examples(**(good | change))


def test_fingerprints_see_masks_and_are_the_old_ones_without():
    assert one(masks=None).fingerprint == "5368f32a5d76a2f5f470ee9d23e21623b808033dda6d7a0e48f51df8e0ea5036"
    other = np.zeros((3, 4, 5), bool)
    other[2, 3, 4] = True
    assert len({one().fingerprint, one(masks=None).fingerprint, one(masks=other).fingerprint}) == 3
    assert one(masks=other).fingerprint == one(masks=other.copy()).fingerprint


def test_masks_are_copies():
    mine = np.zeros((3, 4, 5), bool)
    examples = one(masks=mine)
    mine[:] = True
    assert not examples.masks.any()


@pytest.mark.parametrize(
    "change",
    [
        {"masks": np.zeros((3, 4, 5))},
        {"masks": np.zeros((2, 4, 5), bool)},
        {"masks": np.zeros((3, 5, 4), bool)},
        {"masks": np.zeros((3, 1, 4, 5), bool)},
        {"inputs": np.zeros((3, 4)), "masks": np.zeros((3,), bool)},
    ],
)
def test_masks_that_do_not_fit(change):
    with pytest.raises(BadInput, match=r"masks are bool \(n, height, width\) beside pictures .*; got .* beside \(3, "):
        one(**change)


def test_masks_are_in_all_splits_or_in_none():
    data = shapes(**SMALL)
    bare = {split: replace(examples, masks=None) for split, examples in data.splits.items()}
    assert Data(name="x", classes=KINDS, splits=bare, about="").train.masks is None
    with pytest.raises(BadInput, match="have masks or none has; there are none in test$"):
        Data(name="x", classes=KINDS, splits={**data.splits, "test": bare["test"]}, about="")
