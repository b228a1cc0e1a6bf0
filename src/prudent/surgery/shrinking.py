"""Masked network -> smaller network that computes the same, proved by running both."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor, nn

from prudent.errors import BadInput, CannotPrune, reason
from prudent.examples import Example, first, size
from prudent.masks import Mask
from prudent.network import check_goes, macs, parameters
from prudent.pruning import Pruned
from prudent.surgery.burial import bury
from prudent.surgery.cutting import plan_of
from prudent.surgery.layouts import layout
from prudent.surgery.plans import Plan, apply_plan
from prudent.surgery.proving import Proof, prove
from prudent.surgery.removal import Form, Removal, remove
from prudent.surgery.tracing import trace
from prudent.wording import plural


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
        form: "module", the user's class with smaller layers; "graph", the traced graph with smaller sizes, where the
            user's code says sizes that cannot be changed.
        kept: layer -> why its units were kept as zeros, though the mask empties them.
        changing: normalisations that now have the statistics of what is left; the proof takes that into account.
        lost: dropout inside of attention, LSTMs and GRUs that a graph no longer has when it is trained; in evaluation
            mode, for which the proof is, nothing differs.
    """

    model: nn.Module
    plan: Plan
    proof: Proof
    params: int
    macs: int
    mask: Mask
    form: Form = "module"
    kept: Mapping[str, str] = field(default_factory=dict)
    changing: tuple[str, ...] = ()
    lost: tuple[str, ...] = ()

    @property
    def sparsity(self) -> float:
        """Fraction of the channels that are gone."""
        return self.mask.sparsity

    def __str__(self) -> str:
        """What is left, how well it is proved, and what to know before it is trained."""
        form = "" if self.form == "module" else ", as a graph"
        differs = f"{self.proof.difference:.1g} of its largest answer on {plural(self.proof.inputs, 'input')}"
        size = f"{self.params:,} parameters and {self.macs:,} multiply-accumulates{form}"
        lines = [f"{size}; differs from the masked network by {differs}"]
        lines += [f"kept as zeros: {layer}: {why}" for layer, why in self.kept.items()]
        lines += [f"normalises over what is left: {norm}" for norm in self.changing]
        lines += [f"lost in training mode: {what}" for what in self.lost]
        return "\n".join(lines)


def shrink(pruned: Pruned, example: Example) -> Shrunk:
    """Cut the removed channels or heads out of a masked network, and prove that its function did not change.

    Of a mask of single weights the channels are cut that it has made dead: those that no weight reads any more, and
    those that no weight makes, whose constant goes into the next biases.

    Args:
        pruned: a masked network. Not changed.
        example: inputs (batch, ...), used to trace the network, for the comparison and to count multiply-accumulates.

    Returns: the smaller network with plan, proof and size. Where the proof fails for some layers only, their units are
    kept, as zeros, and `kept` says why.

    Raises:
        CannotPrune: the mask removes single weights and no channel is dead, so no layer would be smaller; or nothing
            can be cut, or cut and masked network disagree (then nothing is returned).
        BadInput: the network does not run on `example`.
    """
    if isinstance(example, Tensor) and len(example) == 0:
        raise BadInput("shrink needs at least one example input")
    if pruned.mask.granularity not in ("channel", "head"):
        pruned = _with_dead_channels(pruned, example)
    if pruned.mask.cover is None and pruned.mask.granularity == "head":
        raise CannotPrune("heads are cut out of traced networks: give prune an example=..., so that it traces this one")
    made = _plain(pruned, example) if pruned.mask.cover is None else _traced(pruned, example)
    return Shrunk(
        model=made.model,
        plan=made.plan,
        proof=made.proof,
        params=parameters(made.model),
        macs=_macs_of_one(made.model, example),
        mask=pruned.mask,
        form=made.form,
        kept=made.kept,
        changing=made.changing,
        lost=made.lost,
    )


def _with_dead_channels(pruned: Pruned, example: Example) -> Pruned:
    """The network masked by channels: those that the zeros among its weights have made dead."""
    check_goes(pruned.model, example)
    units = layout(trace(pruned.model, example), granularity="channel")
    found = bury(pruned.model, units, example)
    if not any(which.any() for which in found.dead.values()):
        raise CannotPrune(
            "a mask of single weights leaves every layer as large as it was, and it has made no channel dead: prune "
            "with granularity='channel' to get a smaller network, or save the mask (1 bit a weight)"
        )
    kept = {name: torch.from_numpy(~which) for name, which in found.dead.items() if which.any()}
    mask = Mask(kept=kept, granularity="channel", cover=units.cover_of(kept))
    return replace(pruned, model=found.model, mask=mask, layout=units)


def _macs_of_one(model: nn.Module, example: Example) -> int:
    stumbled = (RuntimeError, ValueError, TypeError, AssertionError, IndexError)
    try:
        return macs(model, first(example))
    except stumbled:  # its code says how many examples there are
        pass
    try:
        return macs(model, example) // max(size(example), 1)
    except stumbled as error:
        raise BadInput(f"the network does not run on the example as it is given: {reason(error)}") from error


def _plain(pruned: Pruned, example: Example) -> Removal:
    check_goes(pruned.model, example)
    plan = plan_of(pruned.model, pruned.mask)
    small = apply_plan(pruned.model, plan)
    return Removal(model=small, plan=plan, proof=prove(pruned.model, small, example, plan=plan), form="module")


def _traced(pruned: Pruned, example: Example) -> Removal:
    mask, units = pruned.mask, pruned.layout
    if units is None:
        units = layout(trace(pruned.model, example), granularity=mask.granularity, changing=True)
        shapes = {entry.name: entry.families.shape for entry in units.entries}
        if any(shapes.get(name) != tuple(kept.shape) for name, kept in mask.kept.items()):
            raise BadInput("the mask does not fit: its layers, or their units, are not those of this network")
    return remove(pruned.model, units, {name: ~kept.numpy() for name, kept in mask.kept.items()}, example)
