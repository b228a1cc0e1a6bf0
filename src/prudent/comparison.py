"""How alike two masks are."""

from prudent.errors import BadInput
from prudent.masks import Mask


def overlap(mask: Mask, other: Mask) -> float:
    """Of the units that `mask` keeps, the share that `other` keeps too.

        |A and B| / |A|          A, B: the units that mask and other keep

    The same in both directions for masks that keep equally many. Two random masks that keep a share d each overlap
    by d on average.

    Args:
        mask, other: of the same layers and granularity.

    Returns: in [0, 1]; 1 if `other` keeps all that `mask` keeps.

    Raises:
        BadInput: masks of different layers, shapes or granularity.
    """
    _check_alike(mask, other)
    return sum(int((kept & other.kept[name]).sum()) for name, kept in mask.kept.items()) / mask.remaining


def chance_overlap(mask: Mask, other: Mask, *, by_layer: bool = False) -> float:
    """What `overlap` comes to on average where `mask` keeps as many units as it does, but any of them.

        |B| / units                                   any of all units
        sum_l |A_l| |B_l| / units_l / |A|             by_layer: any of each layer, as many as in that layer now

    Exact: each unit is among those drawn equally often. An overlap above the first but not above the second knows how
    much each layer is worth, and not which of its units.

    Args:
        mask, other: of the same layers and granularity.
        by_layer: whether the number kept in each layer stays.

    Returns: in [0, 1], the expected share.

    Raises:
        BadInput: masks of different layers, shapes or granularity.
    """
    _check_alike(mask, other)
    if not by_layer:
        return other.remaining / other.total
    both = sum(int(kept.sum()) * int(other.kept[n].sum()) / kept.numel() for n, kept in mask.kept.items())
    return both / mask.remaining


def agreement(mask: Mask, other: Mask) -> float:
    """Share of all units that two masks treat alike: both keep them or both remove them.

        (|A and B| + |neither A nor B|) / units

    This is what DropNet plots against its oracle. It is near 1 for any two masks that keep almost all or almost
    nothing: two random ones that keep a share d agree on d^2 + (1 - d)^2 on average. `overlap` does not count what both
    remove.

    Args:
        mask, other: of the same layers and granularity.

    Returns: in [0, 1]; 1 for equal masks.

    Raises:
        BadInput: masks of different layers, shapes or granularity.

    Source: Tan, Motani 2020, "DropNet", arXiv:2207.06646, the comparison of masks in their published code.
    """
    _check_alike(mask, other)
    return sum(int((kept == other.kept[name]).sum()) for name, kept in mask.kept.items()) / mask.total


def _check_alike(mask: Mask, other: Mask) -> None:
    shapes = [{name: tuple(kept.shape) for name, kept in m.kept.items()} for m in (mask, other)]
    units = [(m.granularity, m.block) for m in (mask, other)]
    if units[0] != units[1] or shapes[0] != shapes[1]:
        raise BadInput("two masks are compared unit by unit: they need the same layers, shapes and granularity")
