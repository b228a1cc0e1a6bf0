"""E-processes batch by batch: a state that can be saved, and goes on where it stopped."""

import json
import math
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Literal, get_args

import numpy as np
from jaxtyping import Float64

from prudent.bounds._checks import check_binary
from prudent.eprocesses import (
    BET,
    TUNED_FOR,
    betting_stakes,
    check_bet,
    check_process,
    check_tuning,
    log_beta_mixture,
    p_value,
    running,
    steps,
)
from prudent.errors import BadInput

Bet = Literal["fixed_bet", "betting", "beta_mixture"]


@dataclass(frozen=True, kw_only=True)
class Wealth:
    """Where an e-process stands: its bet, what it is tuned for, and what it has seen.

    A new one, `Wealth(bet=..., alpha=...)`, has seen nothing. Everything but its sums is fixed before the first loss.

    Args:
        bet: "fixed_bet", "betting", or "beta_mixture" (losses of 0 and 1 only); see `prudent.eprocesses`.
        alpha: tolerated risk, in (0, 1).
        lam: stake of the fixed bet.
        delta, horizon: the chance of error and the number of examples for which the stakes of "betting" are tuned.
            More examples than `horizon` are valid, too.
        n: number of losses seen.
        log_wealth: logarithm of the wealth now, in nats.
        log_peak: the highest it has been, at least 0; its reciprocal is a p-value at any time.
        total: sum of the losses.
        squares: sum of the squares in the variance that "betting" goes by.

    Raises:
        BadInput: an unknown bet, alpha or delta outside (0, 1), a stake that could lose everything, sums that no n
            losses can have.
    """

    bet: Bet
    alpha: float
    lam: float = BET
    delta: float = TUNED_FOR
    horizon: int = 1000
    n: int = 0
    log_wealth: float = 0.0
    log_peak: float = 0.0
    total: float = 0.0
    squares: float = 0.0

    def __post_init__(self) -> None:
        if self.bet not in get_args(Bet):
            raise BadInput(f"a bet is one of {', '.join(get_args(Bet))}; got {self.bet!r}")
        if not 0 < self.alpha < 1:
            raise BadInput(f"alpha lies in (0, 1); got {self.alpha}")
        if self.bet == "fixed_bet":
            check_bet(self.lam, self.alpha)
        check_tuning(self.delta, self.horizon)
        sums = 0 <= self.total <= self.n and 0 <= self.squares <= self.n
        if not (sums and math.isfinite(self.log_wealth) and self.log_peak >= max(0.0, self.log_wealth)):
            raise BadInput("the state of an e-process has finite wealth, at most its peak, and sums between 0 and n")

    @property
    def p_value(self) -> float:
        """Of H0 "risk > alpha", in (0, 1]: valid now and whenever one stops; it never rises."""
        return float(p_value(self.log_peak))


def advance(state: Wealth, losses: Float64[np.ndarray, " n"]) -> tuple[Wealth, Float64[np.ndarray, " n"]]:
    """The state after some more losses, and the logarithm of the wealth after each of them.

    The same numbers as in one run over all losses (`prudent.eprocesses`), however they are cut into batches.

    Args:
        state: where the process stands. Not changed.
        losses: (n,), the next ones, in the order in which they were seen.

    Raises:
        BadInput: losses outside [0, 1], or none; losses other than 0 and 1 for "beta_mixture".
    """
    if losses.ndim != 1:
        raise BadInput(f"the next losses of one process are (n,); got shape {losses.shape}")
    check_process(losses, state.alpha)
    start, squares = np.asarray(state.log_wealth), state.squares
    totals = running(np.asarray(state.total), losses)[1:]
    if state.bet == "beta_mixture":
        check_binary(losses, "beta_mixture", instead="betting")
        path = log_beta_mixture(totals, state.n + np.arange(1.0, len(losses) + 1), state.alpha)
    elif state.bet == "fixed_bet":
        path = running(start, steps(losses, state.alpha, state.lam))[1:]
    else:
        stakes, _, after = betting_stakes(
            losses, state.delta, state.horizon, seen=state.n, total=state.total, squares=squares
        )
        path, squares = running(start, steps(losses, state.alpha, stakes))[1:], float(after)
    return replace(
        state,
        n=state.n + len(losses),
        log_wealth=float(path[-1]),
        log_peak=max(state.log_peak, float(path.max())),
        total=float(totals[-1]),
        squares=squares,
    ), path


def to_json(state: Wealth) -> str:
    """The state as JSON, from which `from_json` makes exactly the same one."""
    return json.dumps(asdict(state), allow_nan=False)


def from_json(text: str) -> Wealth:
    """The state that `to_json` wrote.

    Raises:
        BadInput: text that is no such state, naming what is wrong.
    """
    try:
        values = json.loads(text)
    except json.JSONDecodeError as error:
        raise BadInput(
            f"the state of an e-process is JSON as to_json writes it; got text that is none: {error}"
        ) from error
    names = {field.name: field.type for field in fields(Wealth)}
    if not isinstance(values, dict) or set(values) != set(names):
        raise BadInput(f"the state of an e-process has the fields {', '.join(names)}, and no others")
    for name, value in values.items():
        number = isinstance(value, int if names[name] is int else int | float) and not isinstance(value, bool)
        if not (isinstance(value, str) if name == "bet" else number):
            raise BadInput(f"the field {name!r} of an e-process's state cannot be {value!r}")
    state: dict[str, Any] = {k: float(v) if names[k] is float else v for k, v in values.items()}
    return Wealth(**state)
