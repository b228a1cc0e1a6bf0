"""What a claim will take, before any network is trained: what `prudent plan` says."""

import math
from collections.abc import Sequence
from typing import TypedDict

from prudent.admission import BINNED
from prudent.errors import BadInput, UnknownName
from prudent.planning import examples_needed, least_examples, most_losses
from prudent.risks import LOSSES
from prudent.wording import exact_percent, percent, plural


class Forecast(TypedDict):
    """What is known beforehand; None where it was not asked for, or there is no answer."""

    risk: str
    alpha: float
    delta: float
    bound: str
    least_examples: int | None
    anytime_least_examples: int | None
    n: int | None
    most_losses: int | float | None
    rate: float | None
    examples_for_rate: int | None


def fitting_bound(risk: str) -> str:
    """The bound that certifies most for losses of this kind, fixed by the kind alone.

    Raises:
        UnknownName: no such loss.
    """
    if risk not in LOSSES:
        raise UnknownName.of("loss", risk, LOSSES)
    known = LOSSES[risk]
    if known.bins is not None:
        return BINNED
    # signed losses vary little about 0, and only bets that follow their variance see it
    return "betting" if (known.low, known.high) != (0.0, 1.0) else "binomial"


class JointForecast(TypedDict):
    """The same of a claim about several risks, or about every class."""

    parts: list[Forecast]
    groups: int
    least_examples: int | None
    n: int | None
    possible: bool | None
    examples_for_rate: int | None


POWER = 0.8
"""Wanted chance that a network of the risk it is thought to have is certified."""


def forecast(
    risk: str,
    *,
    alpha: float,
    delta: float,
    bound: str | None = None,
    n: int | None = None,
    rate: float | None = None,
    power: float = POWER,
) -> Forecast:
    """How many examples a claim needs, and how many losses it allows.

    Args:
        risk: name in prudent.risks.LOSSES.
        alpha, delta: as in `prudent.certify`.
        bound: by default the one that fits the risk.
        n: certification examples that there are.
        rate: risk that the network is thought to have.
        power: wanted chance that such a network passes, in (0, 1).

    Raises:
        UnknownName: no such risk or bound.
        BadInput: a bound that depends on the order of losses, which cannot be planned by their number.
    """
    name = bound or fitting_bound(risk)
    if name == BINNED:
        return _calibration(risk, alpha, delta, n, rate)
    fitting_bound(risk)  # refuses what is no loss
    known = LOSSES[risk]
    if (known.low, known.high) != (0.0, 1.0):
        raise BadInput(
            f"what {risk!r} takes depends on how its losses vary, which no count says: plan 'error' or "
            "'negative_flip', or certify the validation split's predictions first, to see what so many are enough for"
        )
    return Forecast(
        risk=risk,
        alpha=alpha,
        delta=delta,
        bound=name,
        least_examples=least_examples(alpha=alpha, delta=delta, bound=name),
        anytime_least_examples=least_examples(alpha=alpha, delta=delta, bound="beta_mixture"),
        n=n,
        most_losses=None if n is None else most_losses(n, alpha=alpha, delta=delta, bound=name),
        rate=rate,
        examples_for_rate=None
        if rate is None
        else examples_needed(rate, alpha=alpha, delta=delta, power=power, bound=name),
    )


def forecast_jointly(
    risks: Sequence[str],
    *,
    alphas: Sequence[float],
    delta: float,
    bounds: Sequence[str] | None = None,
    groups: int = 1,
    n: int | None = None,
    rate: float | None = None,
) -> JointForecast:
    """How many examples one claim about several risks, or about every class, needs.

    Each risk of each group is tested at the whole of delta (intersection-union), so none needs more examples than by
    itself; but all have to pass. Each is planned to fail with a chance of (1 - 0.8) / (risks * groups), so that all
    pass 8 times in 10 at least, whatever depends on what.

    Args:
        risks: names in prudent.risks.LOSSES.
        alphas: tolerated risk of each.
        delta: tolerated chance that the claim is wrong.
        bounds: of each; by default those that fit.
        groups: classes that the claim is about, each by itself; they are taken to be equally frequent.
        n: certification examples that there are, of all groups together.
        rate: risk that the network is thought to have, in every risk and group.

    Returns: the forecast of each risk in one group, and the examples of all groups together.

    Raises:
        UnknownName, BadInput: as `forecast`; no risks, as many alphas or bounds as risks are needed, no group.
    """
    chosen: Sequence[str | None] = [None] * len(risks) if bounds is None else bounds
    if not risks or len(alphas) != len(risks) or len(chosen) != len(risks) or groups < 1:
        raise BadInput(
            f"each risk needs its alpha and bound, and a claim one group at least; got {len(risks)} risks, "
            f"{len(alphas)} alphas, {len(chosen)} bounds and {groups} groups"
        )
    power = 1 - (1 - POWER) / (len(risks) * groups)
    each = None if n is None else n // groups
    if each == 0:
        raise BadInput(f"every class needs an example at least; got {n} for {groups} classes")
    parts = [
        forecast(risk, alpha=alpha, delta=delta, bound=bound, n=each, rate=rate, power=power)
        for risk, alpha, bound in zip(risks, alphas, chosen, strict=True)
    ]
    return JointForecast(
        parts=parts,
        groups=groups,
        least_examples=_most([part["least_examples"] for part in parts], groups),
        n=n,
        possible=None if n is None else all(part["most_losses"] is not None for part in parts),
        examples_for_rate=None if rate is None else _most([part["examples_for_rate"] for part in parts], groups),
    )


def _most(needs: Sequence[int | None], groups: int) -> int | None:
    """Examples of all groups together, None if some risk has no answer."""
    known = [need for need in needs if need is not None]
    return groups * max(known) if len(known) == len(needs) else None


def joint_lines(found: JointForecast) -> list[str]:
    """The joint forecast in words."""
    among = f" in each of {found['groups']} classes" if found["groups"] > 1 else ""
    names = [f"{part['risk']} at most {exact_percent(part['alpha'])}" for part in found["parts"]]
    lines = [f'To certify "{" and ".join(names)}{among}", in one claim:']
    if found["least_examples"] is not None:
        lines.append(f"  at least {plural(found['least_examples'], 'example')}, if nothing is lost")
    if found["n"] is not None:
        of = f"of {plural(found['n'] // found['groups'], 'example')}" + (" of a class" if among else "")
        for part in found["parts"]:
            most = part["most_losses"]
            allowed = "nothing can be certified" if most is None else f"at most {most:,} may be lost"
            lines.append(f"  {of} {allowed} by {part['risk']}")
    if found["parts"][0]["rate"] is not None:
        needs = found["examples_for_rate"]
        what = "no number of examples" if needs is None else f"{plural(needs, 'example')} 8 times in 10"
        rate = percent(found["parts"][0]["rate"])
        lines.append(f"  a network whose true risks are all {rate} passes with {what}")
    if among:
        lines.append("  classes are taken to be equally frequent: of a rare one, more are needed")
    return lines


def _calibration(risk: str, alpha: float, delta: float, n: int | None, rate: float | None) -> Forecast:
    """By McDiarmid's bound: ECE + sqrt(2 ln(1/delta) / n) <= alpha."""
    if not (0 < alpha < 1 and 0 < delta < 1):
        raise BadInput(f"alpha and delta lie in (0, 1); got alpha={alpha}, delta={delta}")
    spread = 2 * math.log(1 / delta)

    def enough(error: float) -> int | None:
        return math.ceil(spread / (alpha - error) ** 2) if error < alpha else None

    left = None if n is None else alpha - math.sqrt(spread / n)
    return Forecast(
        risk=risk, alpha=alpha, delta=delta, bound=BINNED, least_examples=enough(0.0), anytime_least_examples=None,
        n=n, most_losses=None if left is None or left < 0 else left, rate=rate,
        examples_for_rate=None if rate is None else enough(rate),
    )  # fmt: skip


def forecast_lines(found: Forecast) -> list[str]:
    """The forecast in words."""
    what = f'"{found["risk"]} at most {exact_percent(found["alpha"])}" with '
    what += f"{exact_percent(found['delta'], complement=True)} confidence, by {found['bound']}"
    lines = [f"To certify {what}:"]
    binned = found["bound"] == BINNED
    if found["least_examples"] is not None:
        none = "with no calibration error at all" if binned else "if none of them is lost"
        lines.append(f"  at least {plural(found['least_examples'], 'example')}, {none}")
    if found["anytime_least_examples"] is not None:
        lines.append(f"  anytime certification may stop after {found['anytime_least_examples']:,}, if none is lost")
    if found["n"] is not None:
        lines.append("  " + _allowed(found["n"], found["most_losses"], binned=binned))
    if found["rate"] is not None:
        rate, needs = percent(found["rate"]), found["examples_for_rate"]
        if needs is None:
            lines.append(f"  a network whose true risk is {rate} cannot be certified by any number of examples")
        elif binned:
            lines.append(f"  with an error of {found['rate']:g} in the examples, {plural(needs, 'example')}")
        else:
            lines.append(f"  a network whose true risk is {rate} passes 8 times in 10 with {plural(needs, 'example')}")
    return lines


def _allowed(n: int, most: float | None, *, binned: bool) -> str:
    if most is None:
        return f"with {plural(n, 'example')} nothing can be certified"
    if binned:
        return f"with {plural(n, 'example')} the error in them may be at most {most:.4f}"
    return f"of {plural(n, 'example')} at most {most:,} may be lost ({percent(most / n)})"
