"""From removed families to a plan: which elements of each parameter stay, and which attributes of modules change."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from torch import nn

from prudent.errors import BadInput, CannotPrune
from prudent.submodules import modules_by_path
from prudent.surgery.plans import Plan, Slice, tensors_of
from prudent.surgery.shadow import Field, Shadow
from prudent.surgery.tracing import Trace

HEAD_COUNTS = ("num_heads", "num_attention_heads", "n_heads", "n_head", "heads", "nhead")
HEAD_WIDTHS = ("head_dim", "attention_head_size", "dim_head", "d_head", "head_size")
INNER_WIDTHS = ("all_head_size", "attn_dim", "inner_dim", "d_attn")


Keeps = Mapping[str, Sequence[np.ndarray]]
"""Parameter or buffer -> bool arrays that broadcast to its shape; an element stays if it does in all of them."""


def plan_without(model: nn.Module, traced: Trace, gone: np.ndarray) -> Plan:
    """The plan that removes these families (bool for each).

    Raises:
        CannotPrune: what stays is no rectangular tensor.
    """
    stays = ~gone[traced.families.of]
    return plan_that_keeps(model, {n: [stays[f.labels] for f in fields] for n, fields in traced.parameters.items()})


def plan_that_keeps(model: nn.Module, keeps: Keeps) -> Plan:
    """The plan that keeps these elements.

    Args:
        model: the original network.
        keeps: what stays.

    Raises:
        CannotPrune: what stays is no rectangular tensor: different numbers of channels would stay in different groups.
        BadInput: the network has no such parameter, or in another shape.
    """
    state = tensors_of(model)
    shapes = {name: tuple(value.shape) for name, value in state.items()}
    slices = _with_tied(state, slices_that_keep(shapes, keeps))
    return Plan(slices=slices, attributes=_attributes(model, slices))


def slices_that_keep(shapes: Mapping[str, tuple[int, ...]], keeps: Keeps) -> dict[str, Slice]:
    """The slices of tensors of these shapes that keep these elements. Raises as `plan_that_keeps`."""
    slices = {}
    for name, arrays in keeps.items():
        touched = [keep for keep in arrays if np.count_nonzero(keep) < keep.size]
        if not touched:
            continue
        shape = shapes.get(name)
        fits = shape is not None and all(
            keep.ndim == len(shape) and all(n in (1, m) for n, m in zip(keep.shape, shape, strict=True))
            for keep in touched
        )
        if shape is None or not fits:
            raise BadInput(f"the mask does not fit: the network has no {name!r} of the shape that it was made for")
        slices[name] = _slice(name, shape, touched)
    return slices


def left(shadow: Shadow, traced: Trace, gone: np.ndarray) -> tuple[int, ...]:
    """The shape that a traced tensor has when these families are gone.

    Raises:
        CannotPrune: it would not be rectangular.
    """
    shape = list(shadow.shape)
    for field in shadow.fields:
        keep = ~gone[traced.families.of[field.labels]]
        if not keep.all():
            for d, n in zip(field.live, _rectangle(keep, field), strict=True):
                shape[d] = min(shape[d], n)
    return tuple(shape)


def _slice(name: str, shape: tuple[int, ...], keeps: Sequence[np.ndarray]) -> Slice:
    live = [[d for d, n in enumerate(keep.shape) if n > 1] for keep in keeps]
    if all(len(dims) == 1 for dims in live):
        kept: dict[int, np.ndarray] = {}
        for (d,), keep in zip(live, keeps, strict=True):
            here = keep.reshape(-1).nonzero()[0]
            kept[d] = np.intersect1d(kept[d], here) if d in kept else here
        return Slice(shape=shape, dims=kept)
    whole = np.ones(shape, dtype=bool)
    for keep in keeps:
        whole &= keep
    sizes = [int(whole.any(axis=tuple(i for i in range(len(shape)) if i != d)).sum()) for d in range(len(shape))]
    inner = next(dims[-1] for dims in live if len(dims) > 1)
    sizes[inner] = int(whole.sum(axis=inner).max(initial=0))
    flat = np.flatnonzero(whole)
    if len(flat) != math.prod(sizes):
        raise CannotPrune(f"different numbers of channels would stay in the groups that {name!r} reads")
    return Slice(shape=shape, flat=flat.reshape(sizes))


def _rectangle(keep: np.ndarray, field: Field) -> list[int]:
    """Sizes of the live dimensions that hold what is kept: rows along the inner one, equally long."""
    live = list(field.live)
    block = keep.reshape([keep.shape[d] for d in live])
    sizes = dict.fromkeys(live, 0)
    while live:
        inner = field.inner if field.inner in live else live[-1]
        axis = live.index(inner)
        counts = block.sum(axis=axis)
        lengths = np.unique(counts[counts > 0])
        if len(lengths) > 1:
            raise CannotPrune("different numbers of units would stay in rows that must be equally long")
        sizes[inner] = int(lengths[0]) if len(lengths) else 0
        block = np.atleast_1d(counts > 0)
        live.remove(inner)
    return [sizes[d] for d in field.live]


def _with_tied(state: Mapping[str, Any], slices: Mapping[str, Slice]) -> dict[str, Slice]:
    """A tied parameter is cut under each of its names."""
    starts: dict[int, list[str]] = {}
    for name, value in state.items():
        if value.numel():
            starts.setdefault(value.data_ptr(), []).append(name)
    names: dict[object, list[str]] = {}
    for start, here in starts.items():
        for name in here if len(here) > 1 else ():
            names.setdefault((start, tuple(state[name].shape), state[name].stride()), []).append(name)
    together = {name: same for same in names.values() for name in same}
    return {other: own for name, own in slices.items() for other in together.get(name, [name])}


def _attributes(model: nn.Module, slices: Mapping[str, Slice]) -> dict[str, dict[str, Any]]:
    changed: dict[str, dict[str, Any]] = {}
    of_module: dict[str, dict[str, Slice]] = {}
    for name, own_slice in slices.items():
        path, _, key = name.rpartition(".")
        of_module.setdefault(path, {})[key] = own_slice
    modules = dict(modules_by_path(model))
    for path, own in of_module.items():
        module = modules[path]
        values = _sizes(module, own)
        values = {key: value for key, value in values.items() if getattr(module, key, value) != value}
        if values:
            changed[path] = values
    return changed


def _sizes(module: nn.Module, own: Mapping[str, Slice]) -> dict[str, Any]:
    """The attributes of a known module that say its sizes."""
    weight = own.get("weight")
    shape = weight.left if weight is not None else None
    if isinstance(module, nn.Linear) and shape is not None:
        return {"out_features": shape[0], "in_features": shape[1]}
    if isinstance(module, nn.modules.conv._ConvNd) and weight is not None and shape is not None:
        return _convolution_sizes(module, weight.shape, shape)
    if isinstance(module, (nn.LayerNorm, nn.RMSNorm)) and shape is not None:
        return {"normalized_shape": tuple(shape)}
    if isinstance(module, nn.GroupNorm) and shape is not None:
        alone = module.num_groups == module.num_channels  # each channel is a group
        return {"num_channels": shape[0], "num_groups": shape[0] if alone else module.num_groups}
    if isinstance(module, (nn.Embedding, nn.EmbeddingBag)) and shape is not None:
        return {"embedding_dim": shape[1], "num_embeddings": shape[0]}
    if isinstance(module, nn.PReLU) and shape is not None:
        return {"num_parameters": shape[0]}
    if isinstance(module, nn.modules.batchnorm._NormBase):
        first = weight or own.get("running_mean")
        return {} if first is None else {"num_features": first.left[0]}
    if isinstance(module, nn.RNNBase):
        found = {}
        if "weight_hh_l0" in own:
            found["hidden_size"] = own["weight_hh_l0"].left[1]
        if "weight_ih_l0" in own:
            found["input_size"] = own["weight_ih_l0"].left[1]
        return found
    return {}


def _convolution_sizes(module: Any, before: Sequence[int], after: Sequence[int]) -> dict[str, Any]:  # noqa: ANN401
    transposed = bool(module.transposed)
    first = "in_channels" if transposed else "out_channels"
    second = "out_channels" if transposed else "in_channels"
    groups = groups_left(before, after, int(module.groups), transposed=transposed)
    return {first: after[0], second: after[1] * groups, "groups": groups}


def groups_left(before: Sequence[int], after: Sequence[int], groups: int, *, transposed: bool) -> int:
    """How many groups a convolution has, by the sizes of its weight: fewer only if each input is one (depthwise)."""
    depthwise = before[0] == groups if transposed else before[1] == 1
    return after[0] * groups // before[0] if groups > 1 and depthwise else groups


def attention_attributes(model: nn.Module, plan: Plan, traced: Trace, gone: np.ndarray) -> dict[str, dict[str, Any]]:
    """What attention modules written in the usual way call their numbers of heads and widths, after the cut.

    A guess, so the caller has to prove what it gives.
    """
    found: dict[str, dict[str, Any]] = {}
    families = traced.families
    of_class: dict[type[nn.Module], set[str]] = {}
    for path, module in modules_by_path(model):
        kind = type(module)
        if kind not in of_class:
            of_class[kind] = {key for key in HEAD_COUNTS if hasattr(kind, key)}
        said = [key for key in HEAD_COUNTS if key in vars(module) or key in of_class[kind]]
        count = next((key for key in said if isinstance(getattr(module, key, None), int)), None)
        if count is None or isinstance(module, nn.MultiheadAttention):
            continue
        prefix = f"{path}." if path else ""
        labels = [f.labels for n, fields in traced.parameters.items() if n.startswith(prefix) for f in fields]
        own = {int(family) for part in labels for family in np.unique(families.of[part])}
        rows = [row for row in families.heads if families.rows.get(row, frozenset()) and families.rows[row] <= own]
        kept = [row for row in rows if not gone[row]]
        widths = {sum(not gone[m] for m in families.rows[row]) for row in kept}
        if not kept or (
            len(kept) == len(rows) and len(widths) == 1 and not any(n.startswith(prefix) for n in plan.slices)
        ):
            continue
        values = {count: len(kept)}
        found[path] = values | _widths(module, plan, prefix, getattr(module, count), len(kept))
    return found


def _widths(module: nn.Module, plan: Plan, prefix: str, heads: int, kept: int) -> dict[str, int]:
    """Widths of one head and of all, from the layer that reads them."""
    reads = [
        own for name, own in plan.slices.items() if name.startswith(prefix) and len(own.shape) == 2 and 1 in own.dims
    ]
    if not reads:
        return {}
    before, after = reads[-1].shape[1], reads[-1].left[1]
    values = {key: after for key in INNER_WIDTHS if getattr(module, key, None) == before}
    return values | {key: after // kept for key in HEAD_WIDTHS if getattr(module, key, None) == before // heads}
