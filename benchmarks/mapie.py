"""Certificates beside MAPIE's: what each allows where both are right, and how often the other is wrong.

python -m benchmarks.mapie > docs/beside_mapie.md    (needs `pip install mapie`; it is no dependency)
"""

import itertools
import warnings
from collections.abc import Callable
from importlib.metadata import version

import numpy as np

from prudent.bounds.betting import betting
from prudent.planning import most_losses
from prudent.wording import percent

Excludes = Callable[[np.ndarray, float, float], bool]
"""(losses, true risk, delta) -> whether the upper bound lies below the true risk."""

DELTA = 0.1
SIZES, ALPHAS = (300, 1000, 5000), (0.01, 0.02, 0.05, 0.1)
EXACT = ((12, 0.1, 0.3), (12, 0.2, 0.3), (12, 0.2, 0.5))
"""Examples, delta and true risk of enumerations: 2^12 sequences each."""
DRAWN = ((50, 0.1), (200, 0.05), (200, 0.1), (200, 0.2), (1000, 0.1))
"""Examples and true risk of simulations at DELTA."""
DRAWS = 2000


def main() -> None:
    """Print the page."""
    warnings.simplefilter("ignore")
    print(f"""# Certificates beside MAPIE's

MAPIE {version("mapie")} and prudent on the same losses, by `python -m benchmarks.mapie`.

## Where both are right: how much may be lost

Most losses of 0 and 1 among n examples with which a single candidate is still certified, delta {percent(DELTA)}.
MAPIE tests by Hoeffding-Bentkus; `binary` leaves the factor e out, which is valid for such losses alone, and is then
near the exact binomial tail. Its count is ceil(n * mean) in floats, which may be one too high. By default it corrects
for the number of candidates by Holm's procedure: the last column is what the first of 20 may lose then. It has fixed
sequences too, which have to be asked for; the walk of prudent, densest first, is the default and corrects nothing.

| n | limit | prudent | MAPIE, binary | MAPIE | MAPIE, first of 20 |
|---|---|---|---|---|---|""")
    for n, alpha in itertools.product(SIZES, ALPHAS):
        ours = most_losses(n, alpha=alpha, delta=DELTA)
        theirs = [mapie_most(n, alpha, d, binary=b) for d, b in ((DELTA, True), (DELTA, False), (DELTA / 20, False))]
        cells = ["none" if k is None else f"{k:,}" for k in (ours, *theirs)]
        print(f"| {n:,} | {percent(alpha)} | {' | '.join(cells)} |")
    print("""
## Where MAPIE is wrong

Its bound "wsr", the default of risk-controlling prediction sets, bets on the first half of the examples, begins anew
with the second, and adds the peaks of both: the sum of two peaks is no wealth that anybody could hold. Shown is the
chance that the upper bound lies below the true risk, where delta is allowed. First over all sequences of 0 and 1:

| n | true risk | allowed | MAPIE wsr | prudent betting |
|---|---|---|---|---|""")
    for n, delta, risk in EXACT:
        mapie, own = (exact_chance(n, risk, delta, bound) for bound in (mapie_excludes, own_excludes))
        print(f"| {n} | {percent(risk)} | {percent(delta)} | {percent(mapie, 1)} | {percent(own, 1)} |")
    print(f"""
Then in {DRAWS:,} draws, with a standard error of at most {percent(0.5 / DRAWS**0.5, 1)}:

| n | true risk | allowed | MAPIE wsr | prudent betting |
|---|---|---|---|---|""")
    for n, risk in DRAWN:
        drawn = (np.random.default_rng(n).random((DRAWS, n)) < risk).astype(float)
        shares = [np.mean([bound(row, risk, DELTA) for row in drawn]) for bound in (mapie_excludes, own_excludes)]
        print(f"| {n:,} | {percent(risk)} | {percent(DELTA)} | {' | '.join(percent(float(s), 1) for s in shares)} |")


def mapie_most(n: int, alpha: float, delta: float, *, binary: bool) -> int | None:
    """The largest number of losses among n that MAPIE's Hoeffding-Bentkus p-value rejects at level delta."""
    from mapie.risk_control.methods import compute_hoeffding_bentkus_p_value

    counts = np.arange(int(n * alpha) + 1)
    p_values = compute_hoeffding_bentkus_p_value(counts / n, n, alpha, binary=binary)[:, 0]
    passed = np.flatnonzero(p_values <= delta)
    return int(passed[-1]) if len(passed) else None


def exact_chance(n: int, risk: float, delta: float, excludes: Excludes) -> float:
    """Chance that the true risk is excluded, over all sequences of n losses of 0 and 1."""
    rows = np.array(list(itertools.product((0.0, 1.0), repeat=n)))
    lost = rows.sum(axis=1)
    chance = risk**lost * (1 - risk) ** (n - lost)
    return float(chance[[excludes(row, risk, delta) for row in rows]].sum())


def mapie_excludes(losses: np.ndarray, risk: float, delta: float) -> bool:
    """Whether MAPIE's upper bound lies below the true risk, on a grid with a point just below it."""
    from mapie.risk_control.methods import get_r_hat_plus

    grid = np.array([risk * (1 - 1e-9), 1.0])
    _, upper = get_r_hat_plus(np.repeat(losses[:, None], 2, axis=1), grid, "rcps", "wsr", delta, 0.25)
    return bool(upper[0] < risk)


def own_excludes(losses: np.ndarray, risk: float, delta: float) -> bool:
    """Whether prudent certifies, by the same kind of bets, a risk just below the true one."""
    return betting(losses, risk * (1 - 1e-9), delta=delta) <= delta


if __name__ == "__main__":
    main()
