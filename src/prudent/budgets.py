"""Budgets: the least sparsity at which a network has no more than so many parameters, or multiply-accumulates."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from prudent.copying import duplicate
from prudent.errors import BadInput
from prudent.examples import Example, arguments, mapped
from prudent.granularities import removed_elements
from prudent.masks import Mask
from prudent.network import evaluating, macs, macs_by_layer, parameters
from prudent.surgery.cutting import as_graph, plan_of
from prudent.surgery.plans import apply_plan

Cost = Callable[[Mask], int]


def parameters_left(model: nn.Module, mask: Mask) -> int:
    """Parameters that a mask leaves: of channels, those of the network that is left when they are cut out."""
    if mask.granularity == "channel" or mask.cover is not None:
        return parameters(_cut_without_numbers(model, mask))
    return parameters(model) - sum(int(gone.sum()) for gone in removed_elements(model, mask).values())


def macs_left(model: nn.Module, mask: Mask, example: Example) -> int:
    """Multiply-accumulates of one forward pass on `example` that a mask leaves.

    Of channels those of the smaller network, exactly. Of other units each layer's are counted in proportion to its kept
    weights, which is exact for linear layers and for convolutions without padding effects (each weight is used at every
    output position); the products inside of attention are not reduced.
    """
    if mask.cover is not None:
        return _macs_of_traced(model, mask, example)
    if mask.granularity == "channel":
        return macs(_cut_without_numbers(model, mask), mapped(lambda t: t.to("meta"), example))
    gone = _under_every_name(model, removed_elements(model, mask))
    counts = macs_by_layer(model, example)
    left = float(sum(counts.values()))
    for layer, count in counts.items():
        removed = gone.get(f"{layer}.weight")
        left -= 0.0 if removed is None else count * int(removed.sum()) / removed.numel()
    return round(left - _saved_in_attention(model, gone, example))


def _under_every_name(model: nn.Module, gone: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """What is removed, under all names of tied parameters."""
    names: dict[int, list[str]] = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        names.setdefault(id(parameter), []).append(name)
    together = {name: same for same in names.values() for name in same}
    return {other: removed for name, removed in gone.items() for other in together.get(name, [name])}


def _saved_in_attention(model: nn.Module, gone: Mapping[str, Tensor], example: Example) -> float:
    """Of torch's attention, whose projections are no layers that are called: each weight works once for each token."""
    modules = {name: m for name, m in model.named_modules() if isinstance(m, nn.MultiheadAttention)}
    saved = 0.0

    def count(name: str, given: tuple[Tensor, ...], named: Mapping[str, Any]) -> None:
        nonlocal saved
        query, key, value = (given[i] if i < len(given) else named[n] for i, n in enumerate(("query", "key", "value")))
        tokens = {"q": query, "k": key, "v": value}
        width = modules[name].embed_dim
        whole = gone.get(f"{name}.in_proj_weight")
        for i, (part, source) in enumerate(tokens.items()):
            rows = gone.get(f"{name}.{part}_proj_weight") if whole is None else whole[i * width : (i + 1) * width]
            saved += 0 if rows is None else int(rows.sum()) * source.numel() / source.shape[-1]
        out = gone.get(f"{name}.out_proj.weight")
        saved += 0 if out is None else int(out.sum()) * query.numel() / query.shape[-1]

    handles = [
        module.register_forward_pre_hook(lambda _, given, named, name=name: count(name, given, named), with_kwargs=True)
        for name, module in modules.items()
    ]
    args, kwargs = arguments(example)
    try:
        with torch.no_grad(), evaluating(model):
            model(*args, **kwargs) if modules else None
    finally:
        for handle in handles:
            handle.remove()
    return saved


def fit(make: Callable[[float], Mask], cost: Cost, *, limit: int, units: int, what: str) -> Mask:
    """The mask that removes the fewest units and costs at most `limit`.

    Args:
        make: sparsity -> mask; sparser ones must not cost more.
        cost: mask -> parameters or multiply-accumulates.
        limit: the budget.
        units: number of units in all.
        what: name of the budget in messages.

    Raises:
        BadInput: even the sparsest mask costs more; says how far one can go.
    """
    high, best = _sparsest(make, cost, units)
    if cost(best) > limit:
        raise BadInput(
            f"a budget of {limit:,} {what} cannot be met: at {high / units:.4%} sparsity, the highest that is possible "
            f"here, {cost(best):,} are left"
        )
    low = 0
    while low < high:
        middle = (low + high) // 2
        mask = make(middle / units)
        if cost(mask) <= limit:
            high, best = middle, mask
        else:
            low = middle + 1
    return best


def _sparsest(make: Callable[[float], Mask], cost: Cost, units: int) -> tuple[int, Mask]:
    """The highest number of removed units that leaves a network, and its mask."""
    low, high = 1, units - 1
    best = (0, make(0.0))
    while low <= high:
        middle = (low + high + 1) // 2
        try:
            mask = make(middle / units)
            cost(mask)
        except BadInput:  # a layer would be empty
            high = middle - 1
        else:
            best, low = (middle, mask), middle + 1
    return best


def _cut_without_numbers(model: nn.Module, mask: Mask) -> nn.Module:
    """The smaller network on the meta device: shapes, and no arithmetic."""
    plan = plan_of(model, mask)
    with torch.no_grad():
        return apply_plan(duplicate(model).to("meta"), plan)


def _macs_of_traced(model: nn.Module, mask: Mask, example: Example) -> int:
    """Of the user's class with smaller layers if it runs, else of the network as a graph."""
    try:
        return macs(_cut_without_numbers(model, mask), mapped(lambda t: t.to("meta"), example))
    except (RuntimeError, ValueError, TypeError, AttributeError):  # whatever the user's code says to smaller layers
        return macs(as_graph(model, mask, example), example)
