"""Drawing with given probabilities until a budget is spent, unbiased: order of first appearance, corrections, errors.

A multinomial sequence, watched on a clock where draws come at random times with rate 1, draws unit j for the first time
after an exponential time of rate p_j, independent of the others. Keeping the k units that come first therefore is what
drawing until k distinct units have appeared is. Given when the first of the others comes (tau), each of those k came
before it with chance 1 - exp(-p_j tau): divided by that chance, the sum of what is kept is unbiased, and k is exact.
"""

import math

import torch
from torch import Tensor


def arrivals(probabilities: Tensor, *, generator: torch.Generator, keep_large: bool = False) -> Tensor:
    """When each unit is drawn for the first time: what comes first is kept.

        time_j ~ Exponential(p_j),   with keep_large Uniform(0, 1 / p_j)

    Args:
        probabilities: (..., units), >= 0. Drawings along different leading axes are independent.
        generator: of the CPU.
        keep_large: draw so that units with p_j >= 1 / tau are certain (priority sampling).

    Returns: float64 of the same shape; infinite where the probability is 0.

    Source: Cohen & Kaplan 2007, "Summarizing Data using Bottom-k Sketches"; Duffield et al. 2007, "Priority sampling
    for estimation of arbitrary subset sums" (arXiv: none).
    """
    uniform = torch.rand(probabilities.shape, generator=generator, dtype=torch.float64).to(probabilities.device)
    waited = uniform if keep_large else -torch.log1p(-uniform)
    return torch.where(probabilities > 0, waited / probabilities, torch.inf)


def corrections(probabilities: Tensor, times: Tensor, kept: Tensor, *, keep_large: bool = False) -> Tensor:
    """What the kept units are multiplied with so that their sum estimates the sum of all without bias.

        1 / (1 - exp(-p_j tau)),   with keep_large max(1, 1 / (p_j tau));   tau = first arrival of what is not kept

    The expectation is exact for each unit by itself, whatever the other units are, if how many are kept does not
    depend on the arrivals. Corrections of different units are uncorrelated if two or more are kept, and the variance of
    a sum of y_j with |y_j| <= a p_j then is at most a sum |y_j| / (kept - 1): that of one draw with replacement less
    than are kept. A unit that is kept alone came first with chance p_j, and is divided by that: one draw. (With
    keep_large the formula stays; that one sum is unbiased, but of no finite variance.)

    Args:
        probabilities: (..., units).
        times: their arrivals, of the same shape.
        kept: bool, of the same shape.
        keep_large: as the times were drawn.

    Returns: float64 of the same shape. 1 for what is not kept, for a row that keeps everything, and for a row whose
    kept units are not those that came first: a mask of another's choosing has no correction.
    """
    possible = probabilities > 0
    first_lost = times.masked_fill(kept, torch.inf).amin(dim=-1, keepdim=True)
    last_kept = times.masked_fill(~(kept & possible), -torch.inf).amax(dim=-1, keepdim=True)
    waited = torch.where(possible, probabilities.double() * first_lost, torch.inf)
    chance = waited.clamp(max=1) if keep_large else -torch.expm1(-waited)
    if not keep_large:
        lost_some = first_lost < torch.inf
        alone = (kept & possible).sum(dim=-1, keepdim=True) == 1
        chance = torch.where(alone & lost_some & possible, probabilities.double(), chance)
    return torch.where(kept & (last_kept < first_lost) & (chance > 0), 1 / chance, 1.0)


def draws_for(distinct: Tensor, probabilities: Tensor) -> Tensor:
    """How many draws it takes until so many distinct units are expected.

        N with sum_j 1 - (1 - p_j) ** N = distinct

    Args:
        distinct: (targets,), each above 0 and below the number of units with a probability above 0.
        probabilities: (units,), which sum to 1.

    Returns: float64 (targets,), not rounded, found by bisection.
    """
    if len(distinct) == 0:
        return distinct.double()
    p = probabilities[probabilities > 0].double().clamp(max=1 - 2**-40)  # a unit that is certain still takes a draw
    stay = torch.log1p(-p)
    low = torch.full_like(distinct, math.log(1e-15), dtype=torch.float64)
    # at the upper end the missing units, each at most as likely as the rarest, are below what any target leaves
    rest = (len(p) - distinct.double()).clamp_min(1e-9)
    high = torch.log(torch.log(2 * len(p) / rest) / -stay.max())
    for _ in range(60):
        middle = (low + high) / 2
        expected = -torch.expm1(middle.exp()[:, None] * stay).sum(dim=-1)
        low, high = torch.where(expected < distinct, middle, low), torch.where(expected < distinct, high, middle)
    return ((low + high) / 2).exp()


def relative_error(draws: Tensor, total: Tensor) -> Tensor:
    """Bound eps on the relative error of a sampled sum of terms of one sign, by Bernstein's inequality.

        eps = A + sqrt(A ** 2 + 6 A),   A = total / (3 draws),   that is   draws = (6 + 2 eps) total / (3 eps ** 2)

    With total = ln(2 / delta) * (sum of the sensitivities), |estimate - sum| <= eps sum with chance >= 1 - delta.
    Convex and decreasing in the draws; infinite for none.

    Args:
        draws: number of draws, >= 0, of any shape.
        total: >= 0, of a shape that fits.

    Returns: float64, without unit.
    """
    a = torch.where(total > 0, total.double() / (3 * draws.double()), 0.0)
    return a + (a**2 + 6 * a).sqrt()
