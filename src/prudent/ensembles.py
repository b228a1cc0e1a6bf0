"""Several networks as one: an ensemble that votes softly inside, and its members' answers in one pass."""

import statistics
from collections.abc import Iterable, Sequence
from functools import partial

import torch
from torch import Tensor, fx, nn
from torch.func import functional_call, stack_module_state

from prudent.batches import Batch
from prudent.copying import duplicate
from prudent.errors import BadInput
from prudent.granularities import removed_elements, zero
from prudent.identity import identity
from prudent.latency import take_turns
from prudent.low_rank.factorisation import Factorised
from prudent.masks import Mask
from prudent.network import evaluating, logits_of
from prudent.prediction import predict
from prudent.pruning import Pruned
from prudent.surgery.shrinking import Shrunk
from prudent.types import Predictions, Split
from prudent.voting import combine, joint_name

NEAR = 1e-4
"""Largest difference, relative to the largest answer, of members that are evaluated together and one by one."""


class Ensemble(nn.Module):
    """A network that answers the logarithm of the mean probability of its members.

        logits(x) = log( mean over members of softmax(member(x)) )

    Their softmax is that mean, so every metric and certificate takes the ensemble for one network.

    Args:
        members: networks that answer logits (n, classes) to the same inputs.
    """

    def __init__(self, members: Sequence[nn.Module]) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)

    def forward(self, inputs: Tensor) -> Tensor:
        """Logits (n, classes) of inputs (n, ...)."""
        each = torch.stack([torch.log_softmax(member(inputs), dim=-1) for member in self.members])
        mean: Tensor = torch.logsumexp(each, dim=0) - torch.log(torch.tensor(float(len(self.members))))
        return mean


def join(members: Sequence[nn.Module | Factorised | Pruned | Shrunk]) -> Ensemble:
    """An ensemble of copies of networks: plain, masked or smaller ones, of any architectures.

    Args:
        members: at least one; not changed.

    Returns: the ensemble, in evaluation mode.

    Raises:
        BadInput: no members, or something that is no network.

    Source: Lakshminarayanan et al. 2017, "Simple and Scalable Predictive Uncertainty Estimation using Deep Ensembles",
    arXiv:1612.01474, section 2.4.
    """
    modules = [_module(member) for member in members]
    if not modules:
        raise BadInput("an ensemble needs at least one member; got none")
    return Ensemble([duplicate(module) for module in modules]).eval()


def join_masks(model: nn.Module, masks: Sequence[Mask]) -> Ensemble:
    """An ensemble of one network under several masks: members that no second training was needed for.

    Args:
        model: the dense network; not changed.
        masks: at least one, each of this network.

    Raises:
        BadInput: no masks.
        CannotPrune: a mask of another network.
    """
    if not masks:
        raise BadInput("an ensemble of one network needs at least one mask; got none")
    members = [duplicate(model) for _ in masks]
    for member, mask in zip(members, masks, strict=True):
        zero(member, removed_elements(member, mask))
    return Ensemble(members).eval()


def predict_members(
    members: Sequence[nn.Module | Factorised | Pruned | Shrunk],
    batches: Iterable[Batch],
    *,
    split: Split | None = None,
    together: bool | None = False,
) -> Predictions:
    """What every member answers, as the predictions of one ensemble.

    Args:
        members: networks; not changed.
        batches: inputs with labels, or inputs alone; read once for each member.
        split: as in `prudent.predict`.
        together: evaluate members of one architecture in one pass (torch.func.vmap): False for one by one; None for
            what is faster on the first batch, by the clock. Then the last digits may differ from run to run; members
            that cannot be joined, or answer otherwise when they are, go one by one. True refuses those.

    Returns: logits (members, n, classes), in the order given.

    Raises:
        BadInput: no members, and what `prudent.predict` refuses; with together=True, members of several architectures.
    """
    modules = [_module(member) for member in members]
    if not modules:
        raise BadInput("an ensemble needs at least one member; got none")
    stacked = None
    if together is not False and len(modules) > 1:
        first = next(iter(batches), None)
        inputs = first if isinstance(first, Tensor) or first is None else first[0]
        stacked = None if inputs is None else _stacked(modules, inputs, measured=together is None)
        if stacked is None and together:
            raise BadInput("members are evaluated together only if they are of one architecture: leave together out")
    if stacked is None:
        return combine([predict(module, batches, split=split) for module in modules])
    flat = predict(stacked, batches, split=split)
    logits = flat.logits.reshape(flat.n, len(modules), -1).swapaxes(0, 1)
    name = joint_name([identity(module) for module in modules])
    return Predictions(logits=logits, labels=flat.labels, split=flat.split, data=flat.data, model=name)


class _Stacked(nn.Module):
    """Members of one architecture in one pass: answers (n, members * classes), member by member."""

    def __init__(self, members: Sequence[nn.Module]) -> None:
        super().__init__()
        weights, buffers = stack_module_state(list(members))
        self.state = {name: value.detach() for name, value in {**weights, **buffers}.items()}
        # in a list, so that it is no submodule: its own weights are of no account
        self.skeleton = [duplicate(members[0]).eval()]

    def forward(self, inputs: Tensor) -> Tensor:
        def one(state: dict[str, Tensor]) -> Tensor:
            answer: Tensor = functional_call(self.skeleton[0], state, (inputs,))
            return answer

        each = torch.func.vmap(one)(self.state)
        return each.transpose(0, 1).reshape(len(inputs), -1)


def _stacked(modules: Sequence[nn.Module], inputs: Tensor, *, measured: bool) -> _Stacked | None:
    """The members as one, if they can be, answer the same, and, where `measured`, are faster so."""
    shapes = [{name: (value.shape, value.dtype) for name, value in m.state_dict().items()} for m in modules]
    alike = all(str(m) == str(modules[0]) and s == shapes[0] for m, s in zip(modules, shapes, strict=True))
    # of graphs the text does not say what they compute
    if not alike or not shapes[0] or any(isinstance(part, fx.GraphModule) for m in modules for part in m.modules()):
        return None

    def each() -> Tensor:
        answers = []
        for module in modules:
            with evaluating(module):
                answers.append(logits_of(module, inputs))
        return torch.cat(answers, dim=1)

    with torch.inference_mode():
        try:
            joined = _Stacked(modules)
            own = joined(inputs)
        except (RuntimeError, NotImplementedError, ValueError, TypeError):
            return None  # something in it that vmap cannot join
        plain = each()
        if own.shape != plain.shape or not bool((own - plain).abs().max() <= NEAR * plain.abs().max()):
            return None
        if not measured:
            return joined
        own_times, plain_times = take_turns(partial(joined, inputs), each, turns=5, warm_up=1)
    return joined if statistics.median(own_times) < statistics.median(plain_times) else None


def _module(member: object) -> nn.Module:
    found = member.model if isinstance(member, (Factorised, Pruned, Shrunk)) else member
    if not isinstance(found, nn.Module):
        raise BadInput(f"members of an ensemble are networks, masked or smaller ones; got {type(member).__name__}")
    return found
