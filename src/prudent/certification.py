"""Losses -> Certificate: how sparse may the network be, with a guarantee from finitely many examples?"""

from collections.abc import Callable

import numpy as np
from jaxtyping import Float64

from prudent.bounds import BOUNDS
from prudent.errors import BadInput, BrokenCertificate, SplitMisuse
from prudent.types import Certificate, Losses

Bound = Callable[[Float64[np.ndarray, " n"], float], float]


def certify(losses: Losses, *, alpha: float, delta: float, bound: str | Bound = "binomial") -> Certificate:
    """Certify the sparsest candidate that fixed-sequence testing reaches.

    Candidates are tested from the densest on, each at level `delta`; the first whose p-value exceeds `delta` ends the
    walk. The order is fixed by sparsity before any loss is seen, so no correction for their number is needed:
    P(the selected candidate's risk exceeds alpha) <= delta, whatever the networks are and however many there are.

    Args:
        losses: of the certification split, examples independent and never used to train, prune or choose. Candidates
            of the same sparsity are tested in the order given, which must be fixed beforehand, too.
        alpha: tolerated risk, in (0, 1).
        delta: tolerated chance that the claim is wrong, in (0, 1).
        bound: name of a p-value in prudent.bounds, or such a function.

    Returns: the certificate; `selected` is None if not even the densest candidate passes, which is a result.

    Raises:
        SplitMisuse: losses of another split.
        BadInput: alpha or delta outside (0, 1); losses that the bound is not valid for; a function of one's own that
            has the name of a bound in prudent.bounds, or returns something outside of [0, 1].
        UnknownName: no bound of that name.

    Source: Angelopoulos et al. 2021, "Learn then Test", arXiv:2110.01052, section 2.2 (fixed-sequence testing);
    Bauer 1991, "Multiple testing in clinical trials".
    """
    if losses.split != "certification":
        raise SplitMisuse(
            f"a certificate needs the certification split; these losses come from {losses.split!r}: "
            'predict(..., split="certification") on examples that were used for nothing else'
        )
    for name, value in (("alpha", alpha), ("delta", delta)):
        if not 0 < value < 1:
            raise BadInput(f"{name} lies in (0, 1); got {value}")
    # NumPy's own floats would be written otherwise, in claims and in files
    alpha, delta = float(alpha), float(delta)
    name, p_value = _bound(bound)
    p_values = tuple(_chance(p_value(column, alpha), name) for column in losses.values.T)
    passed = [p <= delta for p in p_values]
    walked = passed.index(False) if False in passed else len(passed)
    return Certificate(
        risk=losses.loss,
        alpha=alpha,
        delta=delta,
        n=losses.n,
        bound=name,
        procedure="fixed_sequence",
        names=losses.names,
        sparsities=losses.sparsities,
        counts=losses.counts,
        empirical_risks=tuple(float(r) for r in losses.values.mean(axis=0)),
        p_values=p_values,
        selected=walked - 1 if walked else None,
        data=losses.data,
        models=losses.models,
        dense=losses.dense,
    )


def _bound(bound: str | Bound) -> tuple[str, Bound]:
    """The name that the certificate gives to a bound, and its function."""
    if isinstance(bound, str):
        return bound, BOUNDS[bound]
    name = str(getattr(bound, "__name__", "custom"))
    if name in BOUNDS and bound is not BOUNDS[name]:
        raise BadInput(f"a bound of your own needs a name of its own: {name!r} is prudent's, and claims would say so")
    return name, bound


def _chance(value: object, name: str) -> float:
    """A p-value, if it is one."""
    try:
        p = float(value)  # type: ignore[arg-type]  # refused below if it is no number
    except (TypeError, ValueError):
        p = float("nan")
    if not 0 <= p <= 1:
        raise BadInput(f"a p-value lies in [0, 1]; the bound {name!r} returned {value!r}")
    return p


def check(certificate: Certificate, losses: Losses) -> None:
    """Recompute a certificate from its losses and refuse it unless everything agrees.

    p-values and risks may differ in the last digits, which depend on the SciPy version (1e-6 relative); counts,
    decisions and everything else must be equal.

    Raises:
        BrokenCertificate: naming the first thing that differs.
        UnknownName: a bound that is not in prudent.bounds (a private bound cannot be verified).
    """
    again = certify(losses, alpha=certificate.alpha, delta=certificate.delta, bound=certificate.bound)
    for name in Certificate.__dataclass_fields__:
        claimed, recomputed = getattr(certificate, name), getattr(again, name)
        if name in ("p_values", "empirical_risks"):
            same = len(claimed) == len(recomputed) and bool(np.allclose(claimed, recomputed, rtol=1e-6, atol=0))
        else:
            same = claimed == recomputed
        if not same:
            raise BrokenCertificate(
                f"the certificate says {name} = {claimed}; its losses give {recomputed}. Do not rely on it"
            )
