"""How far can a network be pruned on each task, and does pruning cost more where the data shift?"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

import numpy as np
from jaxtyping import Float64, Int64

from prudent.errors import BadInput
from prudent.intervals import over_seeds
from prudent.seeds import stream
from prudent.types import Metric
from prudent.wording import percent, plural

TOLERATED = 0.005
"""Half a percentage point more errors than dense: the habit of the field."""


@dataclass(frozen=True, kw_only=True)
class TaskErrors:
    """Wrong answers on one task, as whole numbers.

    Args:
        wrong: (seeds, sparsities) of the pruned networks.
        dense: (seeds,) of the dense network that each was pruned from.
        n: number of examples.
    """

    wrong: Int64[np.ndarray, "seeds sparsities"]
    dense: Int64[np.ndarray, " seeds"]
    n: int


@dataclass(frozen=True, kw_only=True)
class Potentials:
    """Prune potentials, mean over seeds with intervals; higher is better.

    Args:
        by_task: task -> potential.
        mean: of each seed's mean over tasks.
        lowest: of each seed's lowest task. The mean of minima, not the minimum of means.
    """

    by_task: Mapping[str, Metric]
    mean: Metric
    lowest: Metric


def prune_potential(
    wrong: Sequence[int], sparsities: Sequence[float], *, dense_wrong: int, n: int, delta: float = TOLERATED
) -> float:
    """Largest sparsity at which a network makes at most delta more errors than dense: in [0, 1), higher is better.

        max of the sparsities with (wrong - dense_wrong) / n <= delta, 0 if there is none

    The largest, also where a smaller one fails: errors need not rise with sparsity. The comparison is exact, with delta
    as the decimal that was written. It picks the best of several on the examples it reports, so it is a description of
    these examples and promises nothing about others; that is what certificates are for.

    Args:
        wrong: wrong answers at each sparsity.
        sparsities: in [0, 1), in any order.
        dense_wrong: wrong answers of the dense network.
        n: number of examples of the task.
        delta: tolerated difference of the error rates, in [-1, 1].

    Raises:
        BadInput: no sparsities, lengths that differ, counts outside 0 .. n, sparsities outside [0, 1), delta outside
            [-1, 1].

    Source: Liebenwein et al. 2021, "Lost in Pruning: The Effects of Pruning Neural Networks beyond Test Accuracy",
    arXiv:2103.03014, definition 1.
    """
    if not wrong or len(wrong) != len(sparsities):
        raise BadInput(f"as many counts of errors as sparsities are needed; got {len(wrong)} and {len(sparsities)}")
    if n < 1 or not all(0 <= k <= n for k in (*wrong, dense_wrong)):
        raise BadInput(f"counts of errors lie in 0 .. n, n >= 1; got n={n}, {list(wrong)} and {dense_wrong} of dense")
    _check_sparsities(sparsities)
    if not -1 <= delta <= 1:
        raise BadInput(f"delta is a difference of error rates, in [-1, 1]; got {delta}")
    tolerated = Decimal(repr(float(delta))) * n
    return float(
        max((s for k, s in zip(wrong, sparsities, strict=True) if int(k) - dense_wrong <= tolerated), default=0)
    )


def prune_potentials(
    tasks: Mapping[str, TaskErrors], sparsities: Sequence[float], *, delta: float = TOLERATED
) -> Potentials:
    """`prune_potential` of several tasks over seeds: where a network can be pruned less than test accuracy says.

    Args:
        tasks: name ("nominal", a corruption, noise ...) -> errors, all of the same seeds and sparsities.
        sparsities: (sparsities,) of the columns.
        delta: tolerated difference of the error rates.

    Raises:
        BadInput: no tasks, tasks with other seeds or sparsities, and what `prune_potential` refuses.

    Source: Liebenwein et al. 2021, arXiv:2103.03014, section 4.
    """
    if not tasks:
        raise BadInput("prune potentials need at least one task")
    seeds = len(next(iter(tasks.values())).dense)
    rows = []
    for name, task in tasks.items():
        if task.wrong.shape != (seeds, len(sparsities)) or task.dense.shape != (seeds,):
            raise BadInput(
                f"{name}: errors of {plural(seeds, 'seed')} at {len(sparsities)} sparsities are needed; "
                f"got {task.wrong.shape} and {task.dense.shape} of dense"
            )
        rows.append(
            [
                prune_potential(
                    task.wrong[i].tolist(), sparsities, dense_wrong=int(task.dense[i]), n=task.n, delta=delta
                )
                for i in range(seeds)
            ]
        )
    table = np.array(rows)
    return Potentials(
        by_task={name: over_seeds(row, better="higher", within=(0, 1)) for name, row in zip(tasks, rows, strict=True)},
        mean=over_seeds(table.mean(axis=0).tolist(), better="higher", within=(0, 1)),
        lowest=over_seeds(table.min(axis=0).tolist(), better="higher", within=(0, 1)),
    )


@dataclass(frozen=True, kw_only=True, eq=False)
class ExcessError:
    """Excess error under shift as a line through 0: excess = slope x sparsity. Lower is better.

    Args:
        slope: mean over seeds, with a bootstrap interval. Above 0: pruning costs more where the data shift.
        slopes: (seeds,) of each seed by itself.
        excess: (seeds, sparsities) what the lines were fitted to.
    """

    slope: Metric
    slopes: Float64[np.ndarray, " seeds"]
    excess: Float64[np.ndarray, "seeds sparsities"]


def excess_error(
    nominal: TaskErrors,
    shifted: TaskErrors,
    sparsities: Sequence[float],
    *,
    level: float = 0.95,
    resamples: int = 10_000,
    seed: int = 0,
) -> ExcessError:
    """Fit how much more pruned networks lose by a shift of the data than dense ones do, and how that grows.

        excess = [error(pruned, shifted) - error(pruned, nominal)] - [error(dense, shifted) - error(dense, nominal)]
        slope  = sum of sparsity x excess / sum of sparsity^2        least squares through 0: no pruning, no excess

    Seeds are resampled whole, because networks pruned from one dense network share its luck; the interval is the
    bootstrap's percentiles. With few seeds it is too narrow: by a factor of about sqrt((seeds - 1) / seeds), and more
    for its tails. The line is a summary; look at `excess` for its shape.

    Args:
        nominal, shifted: errors of the same networks on both kinds of data.
        sparsities: (sparsities,) of the columns, not all 0.
        level: of the interval, in (0, 1).
        resamples: of the seeds, >= 1.
        seed: of the resampling.

    Raises:
        BadInput: fewer than two seeds, other seeds or sparsities in one, counts outside 0 .. n, sparsities outside
            [0, 1) or all 0, level outside (0, 1), resamples < 1.

    Source: Liebenwein et al. 2021, arXiv:2103.03014, section 5; there points are resampled, here seeds.
    """
    x = np.array(sparsities, np.float64)
    _check_sparsities(sparsities)
    seeds = len(nominal.dense)
    if seeds < 2:
        raise BadInput(f"a bootstrap over seeds needs at least two; got {seeds}")
    if not 0 < level < 1 or resamples < 1 or not x.any():
        raise BadInput(
            f"level in (0, 1), resamples >= 1 and a sparsity above 0 are needed; got {level}, {resamples}, {x}"
        )
    rates = []
    for task in (nominal, shifted):
        if task.wrong.shape != (seeds, len(x)) or task.dense.shape != (seeds,):
            raise BadInput(f"errors of {seeds} seeds at {len(x)} sparsities are needed; got {task.wrong.shape}")
        counts = np.column_stack([task.wrong, task.dense])
        if task.n < 1 or counts.min() < 0 or counts.max() > task.n:
            raise BadInput(f"counts of errors lie in 0 .. n, n >= 1; got {counts.min()} .. {counts.max()}, n={task.n}")
        rates.append((task.wrong - task.dense[:, None]) / task.n)
    excess = rates[1] - rates[0]
    slopes = excess @ x / (x @ x)
    drawn = np.random.default_rng(stream("bootstrap of seeds", seed)).integers(0, seeds, (resamples, seeds))
    lo, hi = np.quantile(slopes[drawn].mean(axis=1), [(1 - level) / 2, (1 + level) / 2])
    name = f"{percent(level)} bootstrap over {plural(seeds, 'seed')}"
    slope = Metric(value=float(slopes.mean()), lo=float(lo), hi=float(hi), interval=name)
    return ExcessError(slope=slope, slopes=slopes, excess=excess)


def _check_sparsities(sparsities: Sequence[float]) -> None:
    # written so that NaN fails it too
    if len(sparsities) == 0 or not all(0 <= s < 1 for s in sparsities):
        raise BadInput(f"sparsities lie in [0, 1), at least one; got {list(sparsities)}")
