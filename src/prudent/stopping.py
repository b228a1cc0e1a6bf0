"""Where the anytime walk stops, from tables made once: for one claim, thousands of orders of the examples are quick."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Int64, Integer

from prudent.anytime import BOUND, FUTILITY, chance_to_pass, crossing_rule
from prudent.bounds._search import Counts, largest_counts
from prudent.errors import BadInput


@dataclass(frozen=True, kw_only=True, eq=False)
class StoppingRule:
    """When `prudent.anytime.certify_anytime` certifies a candidate and when it gives one up, as counts of losses.

    Args:
        certifies: (n,) after t + 1 examples, the largest count of losses that certifies; -1 where none does.
        ends: (batches,) how many examples have been seen after each batch.
        goes_on: (batches,) the largest count after each batch with which a candidate is not given up; -1 for none.
        batch: examples of one batch.
    """

    certifies: Int64[np.ndarray, " n"]
    ends: Int64[np.ndarray, " batches"]
    goes_on: Int64[np.ndarray, " batches"]
    batch: int


def stopping_rule(
    n: int, *, alpha: float, delta: float, bound: str = BOUND, batch: int = 64, futility: float = FUTILITY
) -> StoppingRule:
    """The rule of anytime certification for losses of 0 and 1.

    Both decisions are monotone in the count of losses k after t examples: the evidence falls with k, and so does the
    predictive chance that at most k_n of all n examples are lost. So each is one largest count, found by bisection.

    Args:
        n: most examples of a candidate, 1 or more.
        alpha, delta: as in `certify`, in (0, 1).
        bound: "group_sequential" or "beta_mixture".
        batch: examples of one batch, 1 or more.
        futility: in [0, 1), as in `certify_anytime`.

    Raises:
        BadInput: a value outside its range.

    Source: as `certify_anytime`.
    """
    if n < 1 or batch < 1 or not (0 < alpha < 1 and 0 < delta < 1 and 0 <= futility < 1):
        raise BadInput(
            "a stopping rule needs n and batch of 1 or more, alpha and delta in (0, 1) and futility in [0, 1); "
            f"got {n}, {batch}, {alpha}, {delta}, {futility}"
        )
    seen, rule = np.arange(1.0, n + 1), crossing_rule(n, alpha=alpha, delta=delta, bound=bound)
    certifies = largest_counts(lambda k: rule.certifies(k.astype(np.float64), seen), np.arange(1, n + 1))
    ends = np.minimum(np.arange(batch, n + batch, batch), n)

    def hopeful(k: Counts) -> np.ndarray:
        return np.array(
            [chance_to_pass(int(t), int(lost), n, rule.most) >= futility for t, lost in zip(ends, k, strict=True)]
        )

    going = np.minimum(largest_counts(hopeful, ends), rule.most)
    return StoppingRule(certifies=certifies, ends=ends, goes_on=going, batch=batch)


def walked(rule: StoppingRule, lost: Integer[np.ndarray, "candidates n"]) -> tuple[int, int]:
    """How far the walk comes with one order of the examples.

    Args:
        rule: for n examples.
        lost: (candidates, n) how many losses each candidate, densest first, has had after each example.

    Returns: how many candidates are certified, and how many forward examples all candidates took together.
    """
    last = len(rule.ends) - 1
    crossed = lost <= rule.certifies
    given_up = lost[:, rule.ends - 1] > rule.goes_on
    certified_in = np.where(crossed.any(axis=1), crossed.argmax(axis=1) // rule.batch, last + 1)
    # within a batch, wealth is looked at example by example before the count at its end
    ended_in = np.where(given_up.any(axis=1), given_up.argmax(axis=1), last)
    passed = certified_in <= ended_in
    evaluated = rule.ends[np.where(passed, certified_in, ended_in)]
    certified = len(passed) if passed.all() else int(passed.argmin())
    return certified, int(evaluated[: certified + 1].sum())
