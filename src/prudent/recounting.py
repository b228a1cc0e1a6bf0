"""Verifying a certificate of 0/1 losses from its counts alone."""

import numpy as np

from prudent.bounds import BOUNDS
from prudent.certification import check
from prudent.errors import BadInput
from prudent.types import Certificate, Losses


def check_counts(certificate: Certificate) -> None:
    """Recompute p-values, walk and selection from the counts that a certificate states.

    Weaker than recomputing from losses: it cannot show that these are the counts of any examples' losses.

    Raises:
        BadInput: a certificate of losses other than 0 and 1, or whose bound depends on their order.
        BrokenCertificate: p-values or a selection that the counts do not give.
    """
    parts = certificate.parts or (certificate,)
    for part in parts:
        if part.counts is None or part.bound not in BOUNDS or BOUNDS.constant(part.bound, "ORDERED"):
            why = "losses are not 0 or 1" if part.counts is None else f"bound {part.bound!r} may depend on their order"
            raise BadInput(f"counts alone cannot show the risk {part.label!r}: its {why}. Keep the file of its losses")
    if max(part.n * len(part.names) for part in parts) > LARGEST:
        raise BadInput(f"counts of more than {LARGEST:,} examples and candidates are not recomputed")
    tables = [_table(part) for part in parts]
    check(certificate, tables if certificate.parts else tables[0])


LARGEST = 10**8
"""Examples times candidates, of which one byte each is held."""


def _table(part: Certificate) -> Losses:
    """Losses that have these counts, in some order."""
    counts = part.counts or ()
    columns, places = [], np.arange(part.n)
    for i, count in enumerate(counts):
        if not 0 <= count <= part.examples(i) <= part.n:
            raise BadInput(f"{part.names[i]!r} cannot lose {count} of {part.examples(i)} among {part.n} examples")
        columns.append((places < count).astype(np.float64))
    sizes = np.array([part.examples(i) for i in range(len(counts))])
    return Losses(
        values=np.stack(columns, axis=1),
        names=part.names,
        sparsities=part.sparsities,
        loss=part.risk,
        split="certification",
        data=part.data,
        models=part.models,
        dense=part.dense,
        counted=places[:, None] < sizes if part.sizes else None,
        group=part.group,
        options=part.options,
        stopped=part.stopped,
    )
