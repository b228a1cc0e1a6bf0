"""Watching a certified network in use: an alarm when its risk is no longer what the certificate says."""

import json
import math
from dataclasses import dataclass, replace
from operator import itemgetter

import numpy as np
from jaxtyping import Float64
from scipy.special import logsumexp

from prudent.errors import BadInput
from prudent.wealth import Bet, Wealth, advance, from_json, to_json

EVERY = 1000
"""A new bet begins after every so many examples."""

MOST = 16
"""So many bets are kept, those that hold most: giving up the others can only lower the evidence."""


@dataclass(frozen=True, kw_only=True)
class Monitor:
    """Where the watch stands. A new one, `Monitor(alpha=..., delta=...)`, has seen nothing.

    Args:
        alpha: the certified risk, in (0, 1).
        delta: tolerated chance of any false alarm, ever, in (0, 1).
        bet: "beta_mixture" for losses of 0 and 1, "betting" for losses in between.
        n: number of losses seen.
        lost: sum of them.
        begun: how many bets have begun; see `watch`.
        bets: those that are not given up, each with its number.
        alarm_at: after how many losses the alarm was raised, None if it was not. It stays raised.

    Raises:
        BadInput: alpha or delta outside (0, 1), another bet.
    """

    alpha: float
    delta: float
    bet: Bet = "beta_mixture"
    n: int = 0
    lost: float = 0.0
    begun: int = 0
    bets: tuple[tuple[int, Wealth], ...] = ()
    alarm_at: int | None = None

    def __post_init__(self) -> None:
        for name in ("alpha", "delta"):
            if not 0 < getattr(self, name) < 1:
                raise BadInput(f"{name} lies in (0, 1); got {getattr(self, name)}")
        if self.bet not in ("beta_mixture", "betting"):
            raise BadInput(f"a monitor bets by 'beta_mixture' or 'betting'; got {self.bet!r}")

    @property
    def alarm(self) -> bool:
        """Whether the certified risk is shown not to hold any more."""
        return self.alarm_at is not None

    @property
    def log_evidence(self) -> float:
        """Logarithm of the e-value against "the risk is still at most alpha", now; the alarm is at ln(1 / delta)."""
        # bets that have not begun hold their share of 1
        return float(logsumexp([*map(_held, self.bets), -math.log(self.begun + 1)]))


def share(j: int) -> float:
    """The share of the stake that bet j holds: 1 / ((j + 1) (j + 2)); those from j on hold 1 / (j + 1) together."""
    return 1 / ((j + 1) * (j + 2))


def watch(monitor: Monitor, losses: Float64[np.ndarray, " n"]) -> Monitor:
    """The watch after some more losses.

    Wealth against "the risk is at most alpha", as in anytime certification but on the other side:

        E_t = sum_j w_j E_t^(j),    alarm at the first t with E_t >= 1 / delta

    where bet j begins after 1000 j losses, so that a change after a long quiet time is found soon, too. As long as
    every loss is lost with a chance of at most alpha given those before, E is at most 1 on average whenever one looks:
    P(an alarm ever) <= delta (Ville's inequality). The examples need not be independent for that.

    Args:
        monitor: where the watch stands. Not changed.
        losses: (n,) the next ones, in the order in which they came, each in [0, 1].

    Returns: the watch after them; once raised, the alarm stays.

    Raises:
        BadInput: no losses, losses outside [0, 1], losses other than 0 and 1 under the bet "beta_mixture".

    Source: Ville 1939, "Etude critique de la notion de collectif"; Shin, Ramdas, Rinaldo 2022, "E-detectors: a
    nonparametric framework for sequential change detection", arXiv:2203.03532 (bets that begin later).
    """
    values = np.asarray(losses, dtype=np.float64)
    if values.ndim != 1 or not len(values) or not ((values >= 0) & (values <= 1)).all():
        raise BadInput(f"the monitor takes losses (n,) in [0, 1], at least one; got shape {values.shape}")
    first = -(-(monitor.n + 1) // EVERY) * EVERY
    for piece in np.split(values, range(first - monitor.n, len(values), EVERY)):
        if len(piece):
            monitor = _watch_piece(monitor, piece)
    return monitor


def _watch_piece(monitor: Monitor, losses: Float64[np.ndarray, " k"]) -> Monitor:
    """Some losses before which a bet may begin, but none within."""
    begun = monitor.n // EVERY + 1
    # the other side of alpha: that losses are at most alpha on average, is that 1 - losses are at least 1 - alpha
    fresh = [(j, Wealth(bet=monitor.bet, alpha=1 - monitor.alpha)) for j in range(monitor.begun, begun)]
    moved = [(j, *advance(bet, 1 - losses)) for j, bet in (*monitor.bets, *fresh)]
    after = [(j, bet) for j, bet, _ in moved]
    paths = [math.log(share(j)) + path for j, _, path in moved]
    evidence = logsumexp([*paths, np.full(len(losses), -math.log(begun + 1))], axis=0)
    crossed = evidence >= -math.log(monitor.delta)
    alarm_at = monitor.alarm_at
    if alarm_at is None and crossed.any():
        alarm_at = monitor.n + int(crossed.argmax()) + 1
    return replace(
        monitor,
        n=monitor.n + len(losses),
        lost=monitor.lost + float(losses.sum()),
        begun=begun,
        bets=tuple(sorted(sorted(after, key=_held)[-MOST:], key=itemgetter(0))),
        alarm_at=alarm_at,
    )


def _held(numbered: tuple[int, Wealth]) -> float:
    """Logarithm of what a bet holds of the whole."""
    return math.log(share(numbered[0])) + numbered[1].log_wealth


def monitor_to_json(monitor: Monitor) -> str:
    """The state as JSON, from which `monitor_from_json` makes exactly the same one."""
    state = {"alpha": monitor.alpha, "delta": monitor.delta, "bet": monitor.bet, "n": monitor.n,
             "lost": monitor.lost, "alarm_at": monitor.alarm_at, "begun": monitor.begun,
             "bets": [[j, json.loads(to_json(bet))] for j, bet in monitor.bets]}  # fmt: skip
    return json.dumps(state, allow_nan=False)


def monitor_from_json(text: str) -> Monitor:
    """The state that `monitor_to_json` wrote.

    Raises:
        BadInput: text that is no such state.
    """
    try:
        state = json.loads(text)
        bets = [(int(j), from_json(json.dumps(bet))) for j, bet in state["bets"]]
        numbers = {name: state[name] for name in ("alpha", "delta", "bet", "n", "lost", "begun", "alarm_at")}
        found = Monitor(**numbers, bets=tuple(bets))
        counts = (found.n, found.begun, 0 if found.alarm_at is None else found.alarm_at)
        consistent = all(type(k) is int and 0 <= k <= found.n for k in counts)
        consistent = consistent and found.begun == -(-found.n // EVERY) and bool(bets) == bool(found.n)
        consistent = consistent and all(
            0 <= j < found.begun and bet.n == found.n - EVERY * j and bet.alpha == 1 - found.alpha for j, bet in bets
        )
        if not consistent:
            raise ValueError("its numbers do not belong together")
        return found
    except BadInput:
        raise
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise BadInput(
            f"the state of a monitor is JSON as prudent writes it; got text that is none: {error}"
        ) from error
