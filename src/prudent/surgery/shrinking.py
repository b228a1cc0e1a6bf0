"""Masked network -> smaller network that computes the same, proved by running both."""

import copy
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from prudent.errors import BadInput, CannotPrune
from prudent.masks import Mask
from prudent.network import check_runs, evaluating, macs, parameters
from prudent.pruning import Pruned
from prudent.surgery.cutting import Plan, cut, plan_of

TOLERANCE = 1e-9
"""Largest difference in float64, relative to the largest answer, that rounding alone explains."""


@dataclass(frozen=True, kw_only=True)
class Proof:
    """How closely the cut network agrees with the masked one, in float64.

    Args:
        difference: largest absolute difference over all answers, divided by the largest absolute answer.
        tolerance: what it had to stay below.
        inputs: number of inputs compared, given and random ones.
    """

    difference: float
    tolerance: float
    inputs: int


@dataclass(frozen=True, kw_only=True, eq=False)
class Shrunk:
    """A physically smaller network.

    Args:
        model: the smaller network.
        plan: which channels of the original it keeps.
        proof: that it computes what the masked network computes.
        params: its number of parameters.
        macs: its multiply-accumulates for one example.
        mask: the mask that was cut.
    """

    model: nn.Module
    plan: Plan
    proof: Proof
    params: int
    macs: int
    mask: Mask

    @property
    def sparsity(self) -> float:
        """Fraction of the channels that are gone."""
        return self.mask.sparsity


def shrink(pruned: Pruned, example: Tensor) -> Shrunk:
    """Cut the removed channels out of a masked network, and prove that its function did not change.

    Args:
        pruned: with granularity "channel". Not changed.
        example: inputs (batch, ...), used for the comparison and to count multiply-accumulates.

    Returns: the smaller network with plan, proof and size.

    Raises:
        CannotPrune: the mask removes single weights, which leaves no smaller layer; the network is not a plain one; or
            cut and masked network disagree (then nothing is returned).
        BadInput: the network does not run on `example`.
    """
    if pruned.mask.granularity != "channel":
        raise CannotPrune(
            "a mask of single weights leaves every layer as large as it was: prune with granularity='channel' to "
            "get a smaller network, or save the mask (1 bit a weight)"
        )
    if len(example) == 0:
        raise BadInput("shrink needs at least one example input")
    plan = plan_of(pruned.mask)
    small = cut(pruned.model, plan)
    return Shrunk(
        model=small,
        plan=plan,
        proof=prove(pruned.model, small, example),
        params=parameters(small),
        macs=macs(small, example[:1]),
        mask=pruned.mask,
    )


def prove(masked: nn.Module, small: nn.Module, example: Tensor, *, random_inputs: int = 8) -> Proof:
    """Compare two networks in float64 on the given inputs and on as many random ones of the same shape.

    Raises:
        CannotPrune: they differ by more than rounding.
    """
    check_runs(masked, example)
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn((random_inputs, *example.shape[1:]), generator=generator, dtype=torch.float64)
    inputs = torch.cat([example.double(), noise.to(example.device)])
    answers = []
    for model in (masked, small):
        double = copy.deepcopy(model).double()
        with torch.no_grad(), evaluating(double):
            answers.append(double(inputs))
    difference = float((answers[0] - answers[1]).abs().max() / answers[0].abs().max().clamp_min(1e-300))
    if not difference <= TOLERANCE:
        raise CannotPrune(
            f"the cut network differs from the masked one by {difference:.2g} (at most {TOLERANCE:g} is rounding); "
            "nothing was cut: a module on the way does not keep its channels apart"
        )
    return Proof(difference=difference, tolerance=TOLERANCE, inputs=len(inputs))
