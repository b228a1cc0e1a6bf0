"""Networks that other tools pruned: zeros and masks in a state dict -> Pruned."""

import copy
from collections.abc import Mapping

from torch import Tensor, nn

from prudent.errors import BadInput
from prudent.granularities import removed_elements, zero
from prudent.masks import Mask
from prudent.network import prunable
from prudent.pruning import Pruned

SUFFIXES = ("_orig", "_mask")
"""What torch.nn.utils.prune appends to a parameter's name for its values and its mask."""


def adopt(state: Mapping[str, Tensor] | nn.Module, model: nn.Module) -> Pruned:
    """A masked network from a state dict that another tool left: masks of torch.nn.utils.prune, or plain zeros.

    Where there is a mask it decides; elsewhere exact zeros count as removed, whoever made them. Biases and other
    parameters that torch.nn.utils.prune masked keep their masked values, and are not part of the mask.

    Args:
        state: a state dict (as read by torch with weights_only=True), or a module that has one.
        model: a network of the same architecture, not masked. Not changed; its weights do not matter.

    Returns: the network with those weights, and the mask of single weights; `score` is "adopted".

    Raises:
        BadInput: entries that are missing, left over, or of another shape; a mask that is not 0 and 1; a network in
            which nothing is zero, or everything.
        CannotPrune: `model` has nothing to prune, or is itself masked.
    """
    given = dict(state.state_dict() if isinstance(state, nn.Module) else state)
    masks = {name.removesuffix("_mask"): given.pop(name) for name in list(given) if _is_mask(name, given)}
    for name, mask in masks.items():
        if not ((mask == 0) | (mask == 1)).all():
            raise BadInput(f"a mask is 0 and 1; {name + '_mask'!r} has other values")
        original = given.pop(f"{name}_orig")
        if original.shape != mask.shape:
            raise BadInput(f"{name + '_mask'!r} has shape {tuple(mask.shape)}, its weight {tuple(original.shape)}")
        given[name] = original * mask
    adopted = copy.deepcopy(model)
    weights = prunable(adopted)
    _check_entries(given, adopted.state_dict())
    adopted.load_state_dict(given)
    kept = {name: (masks[name] != 0) if name in masks else weight.detach() != 0 for name, weight in weights.items()}
    mask = Mask(kept=kept, granularity="weight")
    if mask.remaining in (0, mask.total):
        raise BadInput(
            f"{'everything' if mask.remaining == 0 else 'nothing'} is zero in this state: is it a pruned one?"
        )
    zero(adopted, removed_elements(adopted, mask))
    return Pruned(model=adopted, mask=mask, score="adopted", scope="adopted", requested=mask.sparsity)


def _is_mask(name: str, state: Mapping[str, Tensor]) -> bool:
    return name.endswith("_mask") and f"{name.removesuffix('_mask')}_orig" in state


def _check_entries(given: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> None:
    missing, extra = sorted(set(own) - set(given)), sorted(set(given) - set(own))
    if missing or extra:
        what = f"lacks {missing[0]!r}" if missing else f"has {extra[0]!r}, which the network has not"
        raise BadInput(f"the state does not fit {len(own)} entries of the network: it {what}")
    for name, value in own.items():
        if given[name].shape != value.shape:
            raise BadInput(
                f"{name!r} has shape {tuple(given[name].shape)} in the state, {tuple(value.shape)} in the network"
            )
