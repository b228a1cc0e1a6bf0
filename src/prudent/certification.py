"""Losses -> Certificate: how sparse may the network be, with a guarantee from finitely many examples?"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from jaxtyping import Float64

from prudent.admission import BINNED, check_claim, check_tables
from prudent.binned import binned_error, calibration_p_value
from prudent.bounds import BOUNDS
from prudent.catalogue import check_options
from prudent.errors import BadInput, BrokenCertificate
from prudent.multirisk import join_risks
from prudent.procedures import PROCEDURES
from prudent.types import Certificate, Losses

Bound = Callable[[Float64[np.ndarray, " n"], float], float]

WALK = "fixed_sequence"
"""The procedure whose certified candidates are always the first ones."""


def certify(
    losses: Losses | Sequence[Losses],
    *,
    alpha: float | Sequence[float],
    delta: float,
    bound: str | Bound | Sequence[str | Bound] = "binomial",
    procedure: str = WALK,
    settings: Mapping[str, object] | None = None,
) -> Certificate:
    """Certify the sparsest candidate that the procedure reaches; by default by fixed-sequence testing.

    Candidates are tested from the densest on, each at level `delta`; the first whose p-value exceeds `delta` ends the
    walk. The order is fixed by sparsity before any loss is seen, so no correction for their number is needed:
    P(the selected candidate's risk exceeds alpha) <= delta, whatever the networks are and however many there are.

    With several tables the claim is that every one of their risks is small: a candidate's p-value is then the largest
    of its p-values (intersection-union test), which needs no correction for the number of risks either.

    Args:
        losses: of the certification split, examples independent and never used to train, prune or choose. Candidates
            of the same sparsity are tested in the order given, which must be fixed beforehand, too. A list of tables
            of the same candidates makes one claim about all their risks.
        alpha: tolerated risk in the risk's own units, in (0, 1) for most; one for each table, or one for all.
        delta: tolerated chance that the claim is wrong, in (0, 1).
        bound: name of a p-value in prudent.bounds, or such a function; one for each table, or one for all. The
            calibration error has a bound of its own, "mcdiarmid".
        procedure: name in prudent.procedures.
        settings: of the procedure, such as {"starts": [0, 5]} of "fixed_sequence_starts"; fixed beforehand.

    Returns: the certificate; `selected` is None if not even the densest candidate passes, which is a result.

    Raises:
        SplitMisuse: losses of another split.
        BadInput: alpha or delta outside (0, 1); losses that the bound is not valid for; a function of one's own that
            has the name of a bound in prudent.bounds, or returns something outside of [0, 1]; tables of other
            candidates; a procedure that does not control the chance of a wrong claim.
        UnknownName: no bound or procedure of that name.

    Source: Angelopoulos et al. 2021, "Learn then Test", arXiv:2110.01052, section 2.2 (fixed-sequence testing);
    Bauer 1991, "Multiple testing in clinical trials"; Berger 1982, "Multiparameter hypothesis testing and acceptance
    sampling" (several risks).
    """
    tables = [losses] if isinstance(losses, Losses) else list(losses)
    check_tables(tables)
    alphas: list[float] = _each(alpha, len(tables), "alphas")
    bounds: list[str | Bound] = _each(bound, len(tables), "bounds")
    for what, each in (("alpha", alphas), ("delta", [delta])):
        if not all(isinstance(number, int | float | np.number) for number in each):
            raise BadInput(
                f"{what} is a number; got {each[0]!r}" if len(each) == 1 else f"{what}s are numbers; got {each}"
            )
    if not 0 < delta < 1:
        raise BadInput(f"delta lies in (0, 1); got {delta}")
    method, chosen = PROCEDURES[procedure], _plain(settings or {})
    if chosen:
        check_options(method, chosen, noun=f"procedure {procedure!r}", given=("p_values", "delta"))
    # NumPy's own floats would be written otherwise, in claims and in files
    parts = [
        _judged(table, float(a), float(delta), b, procedure) for table, a, b in zip(tables, alphas, bounds, strict=True)
    ]
    whole = parts[0] if isinstance(losses, Losses) else _joined(parts)
    passed = tuple(bool(r) for r in method(np.array(whole.p_values), delta=float(delta), **chosen))
    certified = [i for i, yes in enumerate(passed) if yes]
    return replace(
        whole,
        selected=certified[-1] if certified else None,
        passed=() if procedure == WALK else passed,
        settings=tuple(sorted(chosen.items())),
    )


def check(certificate: Certificate, losses: Losses | Sequence[Losses]) -> None:
    """Recompute a certificate from its losses and refuse it unless everything agrees.

    p-values and risks may differ in the last digits, which depend on the SciPy version (1e-6 relative); counts,
    decisions and everything else must be equal.

    Raises:
        BrokenCertificate: naming the first thing that differs.
        UnknownName: a bound that is not in prudent.bounds (a private bound cannot be verified).
    """
    if certificate.procedure not in PROCEDURES:
        raise BrokenCertificate(
            f"its losses give no claim by procedure {certificate.procedure!r}: prudent has no such one"
        )
    parts = certificate.parts or (certificate,)
    again = certify(
        losses,
        alpha=[part.alpha for part in parts] if certificate.parts else certificate.alpha,
        delta=certificate.delta,
        bound=[part.bound for part in parts] if certificate.parts else certificate.bound,
        procedure=certificate.procedure,
        settings=dict(certificate.settings),
    )
    if len(again.parts) != len(certificate.parts):
        raise BrokenCertificate(f"the certificate is about {len(parts)} risks; its losses about {len(again.parts)}")
    for claimed, found in [(certificate, again), *zip(certificate.parts, again.parts, strict=True)]:
        _compare(claimed, found)


def _compare(certificate: Certificate, again: Certificate) -> None:
    for name in Certificate.__dataclass_fields__:
        if name == "parts":
            continue  # each is compared by itself, as far as digits may differ
        claimed, recomputed = getattr(certificate, name), getattr(again, name)
        if name in ("p_values", "empirical_risks"):
            same = len(claimed) == len(recomputed) and bool(np.allclose(claimed, recomputed, rtol=1e-6, atol=0))
        else:
            same = claimed == recomputed
        if not same:
            raise BrokenCertificate(
                f"the certificate says {name} = {claimed}; its losses give {recomputed}. Do not rely on it"
            )


def _judged(losses: Losses, alpha: float, delta: float, bound: str | Bound, procedure: str) -> Certificate:
    """The table of one risk with its p-values, nothing selected yet."""
    name, _ = _bound(bound)
    p_values, risks = _evidence(losses, alpha, bound)
    return Certificate(
        risk=losses.loss,
        alpha=alpha,
        delta=delta,
        n=losses.n,
        bound=name,
        procedure=procedure,
        names=losses.names,
        sparsities=losses.sparsities,
        counts=losses.counts,
        empirical_risks=risks,
        p_values=p_values,
        selected=None,
        data=losses.data,
        models=losses.models,
        dense=losses.dense,
        sizes=() if losses.counted is None else losses.sizes,
        group=losses.group,
        options=losses.options,
        stopped=losses.stopped,
    )


def candidate_p_values(losses: Losses, *, alpha: float, bound: str | Bound = "binomial") -> tuple[float, ...]:
    """The p-value of H0 "risk > alpha" of each candidate, as `certify` takes it; 1 for a risk about no example.

    Raises:
        BadInput: alpha outside its range, losses that the bound is not valid for.
        UnknownName: no bound of that name.
    """
    return _evidence(losses, alpha, bound)[0]


def _evidence(losses: Losses, alpha: float, bound: str | Bound) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """p-value and empirical risk of each candidate."""
    name, p_value = _bound(bound)
    check_claim(losses, alpha, name)
    if losses.bins is not None:
        residuals = losses.low + (losses.high - losses.low) * losses.values
        pairs = [(residuals[:, i], losses.bins[:, i]) for i in range(len(losses.names))]
        return tuple(calibration_p_value(r, b, alpha) for r, b in pairs), tuple(binned_error(r, b) for r, b in pairs)
    level = (alpha - losses.low) / (losses.high - losses.low)
    columns = [losses.column(i) for i in range(len(losses.names))]
    if losses.stopped and BOUNDS.constant(name, "PLANNED"):
        p_value = partial(BOUNDS[name], n=losses.n)  # the table has a row for each example that was planned
    # a risk about no example at all is known to be nothing: its p-value counts as 1
    return tuple(_chance(p_value(c, level), name) if len(c) else 1.0 for c in columns), losses.means


def _joined(parts: Sequence[Certificate]) -> Certificate:
    """One claim about the risks of all parts: a candidate's p-value is the largest, its risk the one that binds."""
    joined = join_risks(np.array([part.p_values for part in parts]))
    at = joined.binding.tolist()
    first = parts[0]
    names = list(dict.fromkeys(part.label for part in parts))
    return replace(
        first,
        risk=" and ".join(names) if len(names) <= 3 else f"{first.risk} in each of {len(names)} groups",
        alpha=max(part.alpha for part in parts),
        bound=", ".join(dict.fromkeys(part.bound for part in parts)),
        counts=None,
        empirical_risks=tuple(parts[k].empirical_risks[i] for i, k in enumerate(at)),
        p_values=tuple(joined.p_values.tolist()),
        n=max(part.n for part in parts),
        dense=next((part.dense for part in parts if part.dense), ""),
        sizes=(),
        group="",
        options=(),
        parts=tuple(parts),
    )


def _bound(bound: str | Bound) -> tuple[str, Bound]:
    """The name that the certificate gives to a bound, and its function."""
    if isinstance(bound, str):
        return bound, (_never if bound == BINNED else BOUNDS[bound])
    name = str(getattr(bound, "__name__", "custom"))
    if name in BOUNDS and bound is not BOUNDS[name]:
        raise BadInput(f"a bound of your own needs a name of its own: {name!r} is prudent's, and claims would say so")
    return name, bound


def _never(losses: Float64[np.ndarray, " n"], alpha: float) -> float:
    raise AssertionError(f"{BINNED} judges bins, not {len(losses)} losses at {alpha}")


def _each(given: Any, count: int, what: str) -> list[Any]:  # noqa: ANN401 (alphas and bounds)
    """One for each table: a single one serves all."""
    given = given.tolist() if isinstance(given, np.ndarray) else given
    if isinstance(given, str) or not isinstance(given, Sequence):
        return [given] * count
    if len(given) != count:
        raise BadInput(f"{count} tables of losses need as many {what}, or one for all; got {len(given)}")
    return list(given)


def _plain(settings: Mapping[str, object]) -> dict[str, Any]:
    """Settings as a file gives them back: arrays and lists as tuples of numbers."""

    def plain(value: object) -> Any:  # noqa: ANN401 (numbers and tuples of them)
        listed = value.tolist() if isinstance(value, np.ndarray | np.generic) else value
        return tuple(plain(v) for v in listed) if isinstance(listed, list | tuple) else listed

    return {name: plain(value) for name, value in settings.items()}


def _chance(value: object, name: str) -> float:
    """A p-value, if it is one."""
    try:
        p = float(value)  # type: ignore[arg-type]  # refused below if it is no number
    except (TypeError, ValueError):
        p = float("nan")
    if not 0 <= p <= 1:
        raise BadInput(f"a p-value lies in [0, 1]; the bound {name!r} returned {value!r}")
    return p
