"""What a claim will take, before any network is trained: what `prudent plan` says."""

import math
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


def forecast(
    risk: str, *, alpha: float, delta: float, bound: str | None = None, n: int | None = None, rate: float | None = None
) -> Forecast:
    """How many examples a claim needs, and how many losses it allows.

    Args:
        risk: name in prudent.risks.LOSSES.
        alpha, delta: as in `prudent.certify`.
        bound: by default the one that fits the risk.
        n: certification examples that there are.
        rate: risk that the network is thought to have.

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
        examples_for_rate=None if rate is None else examples_needed(rate, alpha=alpha, delta=delta, bound=name),
    )


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
