"""Gradual magnitude pruning during training."""

from prudent.errors import BadInput
from prudent.masks import Mask, select
from prudent.scopes import Scope, check_sparsity, count
from prudent.scores.magnitude import magnitude
from prudent.upkeep import Revise, Step


def gradual(
    sparsity: float,
    *,
    begin: float = 0.0,
    end: float = 0.75,
    every: int = 100,
    scope: Scope = "global",
    seed: int = 0,  # noqa: ARG001 (the contract's)
) -> Revise:
    """Remove the smallest weights a few at a time while the network trains, most of them early.

        sparsity at step t = final * (1 - (1 - (t - first) / (last - first)) ** 3)      first <= t <= last

    Weights that are removed stay removed.

    Args:
        sparsity: final fraction of removed weights, in [0, 1).
        begin, end: first and last step that removes, as fractions of all steps, 0 <= begin < end <= 1.
        every: steps between two removals, >= 1.
        scope: how layers are compared.
        seed: not used.

    Returns: a function for `train(..., on_step=...)`. After `end` the network has the final sparsity exactly, unless
    training stopped before.

    Raises:
        BadInput: fractions out of order, every < 1, or scope isomorphic.

    Source: Zhu, Gupta 2017, "To prune, or not to prune", arXiv:1710.01878, equation 1, from initial sparsity 0.
    """
    check_sparsity(sparsity)
    if not 0 <= begin < end <= 1:
        raise BadInput(f"gradual pruning goes from begin to end, 0 <= begin < end <= 1; got {begin} and {end}")
    if scope == "isomorphic":
        raise BadInput(
            'gradual pruning removes single weights, which have no structure: scope "isomorphic" is for others'
        )
    if every < 1:
        raise BadInput(f"every counts steps between two removals, 1 or more; got {every}")

    def revise(step: Step) -> Mask | None:
        first, last = round(begin * step.total), max(round(end * step.total), round(begin * step.total) + 1) - 1
        if not (first <= step.index <= last) or ((step.index - first) % every and step.index != last):
            return None
        done = (step.index - first) / (last - first) if last > first else 1.0
        now = sparsity * (1 - (1 - done) ** 3)
        scores = magnitude(step.model)
        units = sum(score.numel() for score in scores.values())
        # rounding to whole units must not ask for weights back
        if step.mask is not None and count(now, units) < step.mask.total - step.mask.remaining:
            return None
        return select(scores, now, scope=scope, within=step.mask)

    return revise
