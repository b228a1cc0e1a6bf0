"""Generated pictures of one object each, with the object's pixels."""

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool

from prudent.errors import BadInput
from prudent.seeds import stream
from prudent.splits import TASK, Data, Examples
from prudent.types import Split

KINDS = ("disc", "ellipse", "polygon")
"""What an object may be; its class."""

CORNERS = 5
"""A polygon has three corners or more, and at most so many."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Figures:
    """One figure in each of n pictures; lengths and places as shares of the picture's side.

    Args:
        kind: (n,) index in KINDS.
        y, x: (n,) its centre, from the upper left corner.
        radius: (n,) of the disc, of the circle through a polygon's corners, or half of an ellipse's longer axis.
        flatness: (n,) shorter by longer axis of an ellipse.
        angles: (n, CORNERS) directions of a polygon's corners, increasing, those it lacks being the first one again;
            the first is also that of an ellipse's longer axis. In radians.
    """

    kind: np.ndarray
    y: np.ndarray
    x: np.ndarray
    radius: np.ndarray
    flatness: np.ndarray
    angles: np.ndarray


def shapes(
    *,
    train: int = 800,
    validation: int = 200,
    certification: int = 1000,
    test: int = 1000,
    size: int = 32,
    noise: float = 0.15,
    distractors: float = 0.5,
    seed: int = 0,
) -> Data:
    """Grey pictures of a bright disc, ellipse or polygon, with noise and sometimes a darker figure behind it.

    The object is brighter than its background by 0.15 to 0.5, and never hidden; the background has a slope. A second
    figure, where there is one, is darker by 0.1 to 0.3 and belongs to no mask. A pixel is the object's if
    its centre is.

    Args:
        train, validation, certification, test: pictures in the splits. Each split is drawn by itself, so that more of
            one leaves the others as they are.
        size: pixels of a picture's side, at least 16.
        noise: standard deviation of the noise of each pixel, on the scale from 0 to 1.
        distractors: chance of a second figure, in [0, 1].
        seed: of the pictures.

    Returns: inputs (1, size, size) in [0, 1], classes "disc", "ellipse" and "polygon", and masks (n, size, size) of the
        objects' pixels, for segmentation.

    Raises:
        BadInput: an empty split, pictures that are too small, a negative noise, a chance outside [0, 1].

    Source: our own; it stands in for pictures of polyps (Ali et al. 2023, "PolypGen", arXiv:2106.04463).
    """
    sizes: dict[Split, int] = dict(zip(TASK, (train, validation, certification, test), strict=True))
    if min(sizes.values()) < 1:
        asked = ", ".join(f"{split} {n}" for split, n in sizes.items())
        raise BadInput(f"every split of 'shapes' needs examples; asked for {asked}")
    if size < 16:
        raise BadInput(f"shapes need pictures of at least 16 x 16 pixels; got size={size}")
    if not 0 <= noise < math.inf or not 0 <= distractors <= 1:
        raise BadInput(
            f"shapes need noise >= 0 and distractors in [0, 1]; got noise={noise}, distractors={distractors}"
        )
    splits: dict[Split, Examples] = {}
    first = 0
    for split, n in sizes.items():
        generator = np.random.default_rng(stream(f"shapes of the {split} split", seed))
        inputs, labels, masks = _drawn(n, size, noise, distractors, generator)
        ids = np.arange(first, first + n, dtype=np.int64)
        splits[split] = Examples(inputs=inputs, labels=labels, ids=ids, split=split, masks=masks)
        first += n
    return Data(
        name="shapes", classes=KINDS, splits=splits, about=f"generated shapes, {size} x {size} grey, with masks"
    )


def _drawn(
    n: int, size: int, noise: float, distractors: float, generator: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pictures (n, 1, size, size), kinds (n,) and masks (n, size, size) of the objects."""
    objects = _figures(n, 0.15, 0.35, generator)
    others = _figures(n, 0.08, 0.2, generator)
    mask = pixels(objects, size)
    behind = pixels(others, size) & (generator.random(n) < distractors)[:, None, None]

    def each(low: float, high: float) -> np.ndarray:
        return generator.uniform(low, high, (n, 1, 1))

    along = np.linspace(-1, 1, size)
    picture = each(0.3, 0.5) + each(-0.1, 0.1) * along[:, None] + each(-0.1, 0.1) * along
    lighter, darker = each(0.15, 0.5), each(0.1, 0.3)
    picture += np.where(mask, lighter, np.where(behind, -darker, 0.0)) + noise * generator.standard_normal(
        picture.shape
    )
    return np.clip(picture, 0, 1).astype(np.float32)[:, None], objects.kind, mask


def _figures(n: int, low: float, high: float, generator: np.random.Generator) -> Figures:
    """Figures with radii between `low` and `high`, wholly inside of the picture."""
    radius = generator.uniform(low, high, n)
    corners = generator.integers(3, CORNERS + 1, (n, 1))
    places = np.arange(CORNERS)
    # corners keep their order, and no two are half a turn apart: the centre stays inside
    turned = (places + generator.uniform(-0.15, 0.15, (n, CORNERS))) / corners
    turned = np.where(places < corners, turned, turned[:, :1]) + generator.random((n, 1))
    return Figures(
        kind=generator.integers(0, len(KINDS), n),
        y=generator.uniform(radius, 1 - radius),
        x=generator.uniform(radius, 1 - radius),
        radius=radius,
        flatness=generator.uniform(0.4, 0.7, n),
        angles=2 * np.pi * turned,
    )


def pixels(figures: Figures, size: int) -> Bool[np.ndarray, "n size size"]:
    """Which pixels have their centre inside of the figure, (n, size, size)."""
    centres = (np.arange(size) + 0.5) / size
    y = centres[:, None] - figures.y[:, None, None]
    x = centres - figures.x[:, None, None]
    radius, first = figures.radius[:, None, None], figures.angles[:, :1, None]
    along, across = x * np.cos(first) + y * np.sin(first), y * np.cos(first) - x * np.sin(first)
    flatness = np.where(figures.kind == KINDS.index("ellipse"), figures.flatness, 1.0)[:, None, None]
    inside: np.ndarray = along**2 + (across / flatness) ** 2 <= radius**2
    corner_y, corner_x = (radius[:, :, 0] * f(figures.angles) for f in (np.sin, np.cos))
    convex = np.ones_like(inside)
    for i in range(CORNERS):
        here, following = (slice(None), i, None, None), (slice(None), (i + 1) % CORNERS, None, None)
        edge_y, edge_x = corner_y[following] - corner_y[here], corner_x[following] - corner_x[here]
        convex &= edge_x * (y - corner_y[here]) - edge_y * (x - corner_x[here]) >= 0
    polygon = (figures.kind == KINDS.index("polygon"))[:, None, None]
    return np.where(polygon, convex, inside)
