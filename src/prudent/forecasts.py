"""What a claim will take, before any network is trained: what `prudent plan` says."""

import math
from collections.abc import Sequence
from typing import TypedDict

from prudent.admission import BINNED
from prudent.bet_forecasts import ASSUMED, amount, examples_by_bets, least_examples_by_bets, most_lost_by_bets
from prudent.bounds.group_sequential import boundary
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
    assumed: str


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
    changed: float | None = None,
) -> Forecast:
    """How many examples a claim needs, and how many losses it allows.

    Losses of 0 and 1 are planned by counts, exactly. An accuracy drop and a Brier score are planned by simulated bets,
    under the assumption that `assumed` names; numbers of examples are then about right.

    Args:
        risk: name in prudent.risks.LOSSES.
        alpha, delta: as in `prudent.certify`.
        bound: by default the one that fits the risk.
        n: certification examples that there are.
        rate: risk that the network is thought to have, in the risk's own units.
        power: wanted chance that such a network passes, in (0, 1).
        changed: of an accuracy drop, the share of examples on which one network is right and the other wrong.

    Raises:
        UnknownName: no such risk or bound.
        BadInput: values outside their ranges, a bound that the risk cannot be certified by, one that depends on the
            order of losses of 0 and 1, which cannot be planned by their number.
    """
    fitting, known = fitting_bound(risk), LOSSES[risk]
    name = bound or fitting
    _check(risk, alpha, delta, n, rate, power)
    if (name == BINNED) != (fitting == BINNED):
        raise BadInput(f"the risk {risk!r} is certified by {fitting!r}; got bound={name!r}")
    if name == BINNED:
        return _calibration(risk, alpha, delta, n, rate)
    if changed is not None and risk != "accuracy_drop":
        raise BadInput(f"a share of changed examples belongs to 'accuracy_drop'; got it for {risk!r}")
    if (known.low, known.high) != (0.0, 1.0):
        return _by_bets(risk, name, alpha, delta, n, rate, power, changed)
    return Forecast(
        risk=risk,
        alpha=alpha,
        delta=delta,
        bound=name,
        least_examples=least_examples(alpha=alpha, delta=delta, bound=name),
        anytime_least_examples=_least_anytime(n, alpha, delta),
        n=n,
        most_losses=None if n is None else most_losses(n, alpha=alpha, delta=delta, bound=name),
        rate=rate,
        examples_for_rate=None
        if rate is None
        else examples_needed(rate, alpha=alpha, delta=delta, power=power, bound=name),
        assumed="",
    )


def _check(risk: str, alpha: float, delta: float, n: int | None, rate: float | None, power: float) -> None:
    """Refuse what can be no plan, whatever the bound."""
    low, high = (0.0, 1.0) if LOSSES[risk].bins is not None else (LOSSES[risk].low, LOSSES[risk].high)
    if not low < alpha < high or not 0 < delta < 1 or not 0 < power < 1:
        raise BadInput(
            f"alpha and delta lie in ({low:g}, {high:g}) and (0, 1), and power in (0, 1); got alpha={alpha}, "
            f"delta={delta}, power={power}"
        )
    if rate is not None and not low <= rate <= high:
        raise BadInput(f"the risk {risk!r} lies in [{low:g}, {high:g}]; got rate={rate}")
    if n is not None and (not isinstance(n, int) or n < 1):
        raise BadInput(f"the number of examples is a whole number of 1 or more; got {n}")


def _least_anytime(n: int | None, alpha: float, delta: float) -> int | None:
    """After how many examples without a loss the walk may certify, of n planned ones; without n by the mixture."""
    if n is None:
        return least_examples(alpha=alpha, delta=delta, bound="beta_mixture")
    looks, most = boundary(n, alpha=alpha, delta=delta)
    return int(looks[(most >= 0).argmax()]) if (most >= 0).any() else None


def _by_bets(
    risk: str, bound: str, alpha: float, delta: float, n: int | None, rate: float | None, power: float,
    changed: float | None,
) -> Forecast:  # fmt: skip
    if risk not in ASSUMED or bound != "betting":
        raise BadInput(f"the risk {risk!r} is planned by the bound 'betting' alone; got bound={bound!r}")
    known = LOSSES[risk]
    level = (alpha - known.low) / (known.high - known.low)
    needs = None
    if rate is not None:
        needs = examples_by_bets(risk, rate, level=level, delta=delta, power=power, changed=changed)
    return Forecast(
        risk=risk, alpha=alpha, delta=delta, bound=bound,
        least_examples=least_examples_by_bets(risk, level=level, delta=delta), anytime_least_examples=None,
        n=n, most_losses=None if n is None else most_lost_by_bets(risk, n, level=level, delta=delta, power=power),
        rate=rate, examples_for_rate=needs, assumed=ASSUMED[risk],
    )  # fmt: skip


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
    names = [f"{part['risk']} at most {amount(part['risk'], part['alpha'])}" for part in found["parts"]]
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
    spread = 2 * math.log(1 / delta)

    def enough(error: float) -> int | None:
        return math.ceil(spread / (alpha - error) ** 2) if error < alpha else None

    left = None if n is None else alpha - math.sqrt(spread / n)
    return Forecast(
        risk=risk, alpha=alpha, delta=delta, bound=BINNED, least_examples=enough(0.0), anytime_least_examples=None,
        n=n, most_losses=None if left is None or left < 0 else left, rate=rate,
        examples_for_rate=None if rate is None else enough(rate), assumed="",
    )  # fmt: skip


def forecast_lines(found: Forecast) -> list[str]:
    """The forecast in words."""
    what = f'"{found["risk"]} at most {amount(found["risk"], found["alpha"])}" with '
    what += f"{exact_percent(found['delta'], complement=True)} confidence, by {found['bound']}"
    lines = [f"To certify {what}:"]
    binned = found["bound"] == BINNED
    if found["least_examples"] is None:
        lines.append("  more examples than are searched for")
    else:
        none = "with no calibration error at all" if binned else "if none of them is lost"
        lines.append(f"  at least {plural(found['least_examples'], 'example')}, {none}")
    if found["anytime_least_examples"] is not None:
        which = " by beta_mixture" if found["n"] is None else ""
        lines.append(
            f"  anytime certification{which} may stop after {found['anytime_least_examples']:,}, if none is lost"
        )
    if found["n"] is not None:
        lines.append("  " + _allowed(found["n"], found["most_losses"], binned=binned))
    if found["rate"] is not None:
        rate, needs = amount(found["risk"], found["rate"]), found["examples_for_rate"]
        if needs is None:
            never = "any number of" if not found["assumed"] or found["rate"] >= found["alpha"] else "200,000"
            lines.append(f"  a network whose true risk is {rate} cannot be certified by {never} examples")
        elif binned:
            lines.append(f"  with an error of {found['rate']:g} in the examples, {plural(needs, 'example')}")
        else:
            about = "about " if found["assumed"] else ""
            lines.append(
                f"  a network whose true risk is {rate} passes 8 times in 10 with {about}{plural(needs, 'example')}"
            )
    if found["assumed"]:
        lines.append(f"  by simulation, {found['assumed']}")
    return lines


def _allowed(n: int, most: float | None, *, binned: bool) -> str:
    if most is None:
        return f"with {plural(n, 'example')} nothing can be certified"
    if binned:
        return f"with {plural(n, 'example')} the error in them may be at most {most:.4f}"
    return f"of {plural(n, 'example')} at most {most:,} may be lost ({percent(most / n)})"
