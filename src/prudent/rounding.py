"""How many channels of each layer to keep, so that the machine is not left with widths that it runs badly."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from prudent.layer_times import Ask, Known, Site, Widths, timings
from prudent.masks import Mask
from prudent.probing import Probe, good_widths

BLOCKS = (4, 8, 16, 32)
"""Channels that runtimes compute at once, as far as known; which of them a machine likes is measured."""


def rounded_widths(
    mask: Mask,
    sites: Sequence[Site],
    widths: Mapping[str, Widths],
    known: Known,
    ask: Ask,
    *,
    least: float = 0.75,
) -> dict[str, int]:
    """Entry of a mask -> how many channels to keep there: those wanted, or fewer where that is cheaper a channel.

    Only whole layers are rounded: those that lose something and whose channels are all in one entry of the mask.
    Grouped convolutions and attention heads keep what is wanted. Which width is best is measured for the layer that
    makes the channels, between the width wanted and the multiples of 4, 8, 16 and 32 below it.

    Args:
        mask: what would be kept.
        sites: of the dense network.
        widths: weight -> inputs, outputs and groups that the mask leaves.
        known: what was timed before; what is timed now is added.
        ask: times what is not known yet.
        least: smallest fraction of a wanted width that may be chosen, in (0, 1].
    """
    place = {site.weight: site for site in reversed(sites)}
    chosen = {name: int(kept.sum()) for name, kept in mask.kept.items()}
    for name, wanted in list(chosen.items()):
        site, kept = place.get(name), mask.kept[name]
        whole = mask.granularity == "channel" and site is not None and site.width == kept.numel()
        if site is None or not whole or wanted == kept.numel() or f"{name}#2" in mask.kept or site.layer.groups > 1:
            continue
        rows = len(kept) if kept.ndim == 2 else 1
        candidates = _candidates(wanted, rows, least)
        if len(candidates) == 1:
            continue
        inputs = widths[name][0]
        layer = replace(site.layer, inputs=inputs if inputs < BLOCKS[1] else inputs - inputs % BLOCKS[1])
        times = timings(layer, candidates, known, ask)
        probed = Probe(layer=layer, runtime="eager", threads=1, machine="", timings=tuple(times.values()))
        chosen[name] = good_widths(probed, [wanted], least=least)[wanted]
    return chosen


def _candidates(wanted: int, rows: int, least: float) -> list[int]:
    """The width wanted and the next multiples of each block below it, of which each row can have equally many."""
    below = {wanted - wanted % block for block in BLOCKS}
    return sorted({wanted} | {width for width in below if width >= max(rows, least * wanted) and width % rows == 0})
