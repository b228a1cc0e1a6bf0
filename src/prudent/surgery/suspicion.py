"""Which operations of a cut network compute something else than in the masked one: what they read is suspected."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, fx
from torch.utils import _pytree as pytree

from prudent.errors import CannotPrune
from prudent.examples import Example, arguments
from prudent.network import seeded
from prudent.surgery.calls import tensors_in
from prudent.surgery.proving import in_type
from prudent.surgery.shadow import Shadow
from prudent.surgery.slicing import left
from prudent.surgery.tracing import Trace, place_of

CLOSE = {torch.float64: 1e-8, torch.float32: 1e-4}
"""Types of numbers that are tried -> how far one operation's result, relative to its largest, differs by rounding."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Cut:
    """What is cut out of a traced network.

    Args:
        traced: its labels.
        gone: bool for each family.
        wrong: names of operations that are known to be wrong then -> why.
    """

    traced: Trace
    gone: np.ndarray
    wrong: Mapping[str, str]


def suspected_families(graph: fx.GraphModule, small: fx.GraphModule, cut: Cut, example: Example) -> dict[int, str]:
    """The removed families of operations whose results are not what is left of the masked network's.

    Each operation of the small graph gets what is left of the masked network's numbers, so that all that go wrong
    are found at once, and not those that only follow.

    Args:
        graph: of the masked network. Neither graph is changed.
        small: with the same operations in the sizes that are left; it may say nothing sensible where it is wrong.
        cut: what is cut, in the labels of `graph`.
        example: inputs.

    Returns: family that such an operation reads or makes -> which one it was, with the line of code. None where the
    graph cannot be run operation by operation.
    """
    found: dict[int, str] = {}
    for node in _differing(graph, small, cut, example):
        for family in _touched(node, cut):
            found.setdefault(family, cut.wrong.get(node.name, f"first seen at {place_of(node)}"))
    return found


def _touched(node: fx.Node, cut: Cut) -> set[int]:
    read = _families([cut.traced.shadows.get(source.name) for source in node.all_input_nodes], cut)
    made = _families([cut.traced.shadows.get(node.name)], cut)
    return read | made


def _families(shadows: list[Any], cut: Cut) -> set[int]:
    found = [cut.traced.families.of[f.labels].ravel() for shadow in tensors_in(shadows) for f in shadow.fields]
    there = np.unique(np.concatenate(found)) if found else np.zeros(0, dtype=int)
    return set(there[cut.gone[there]].tolist())


def _differing(graph: fx.GraphModule, small: fx.GraphModule, cut: Cut, example: Example) -> list[fx.Node]:
    for dtype in CLOSE:
        large, own = in_type(graph, dtype), in_type(small, dtype)
        assert isinstance(large, fx.GraphModule)  # noqa: S101 (copies of graphs are graphs)
        assert isinstance(own, fx.GraphModule)  # noqa: S101
        try:
            with torch.no_grad(), seeded(0):
                return list(_compared(large, own, cut, example, dtype))
        except Exception:  # noqa: BLE001, S112 (whatever the user's operations raise in this type of numbers)
            continue
    return []


def _compared(
    graph: fx.GraphModule, small: fx.GraphModule, cut: Cut, example: Example, dtype: torch.dtype
) -> Iterator[fx.Node]:
    whole, part = fx.Interpreter(graph), fx.Interpreter(small)
    own = dict(zip(graph.graph.nodes, small.graph.nodes, strict=True))
    given = iter(pytree.tree_leaves(arguments(example)))
    for node, mine in own.items():
        if node.op == "output":
            return
        if node.op == "placeholder":
            part.env[mine] = whole.env[node] = _cast(next(given), dtype)
            continue
        whole.env[node] = got = whole.run_node(node)
        expected, same = got, False
        try:
            expected = _left(got, cut.traced.shadows.get(node.name), cut)
            if node.name not in cut.wrong:
                got = part.run_node(mine)
                same = _close(expected, got, CLOSE[dtype])
        except Exception:  # noqa: BLE001, S110 (it does not run with what is left: that is what is looked for)
            pass
        if not same and node.op == "call_function":
            yield node
        part.env[mine] = expected if _has_tensors(expected) and node.op != "get_attr" else got
        for done in whole.user_to_last_uses.get(node, ()):
            del whole.env[done], part.env[own[done]]


def _cast(value: Any, dtype: torch.dtype) -> Any:  # noqa: ANN401 (an input)
    return value.to(dtype) if isinstance(value, Tensor) and value.is_floating_point() else value


def _has_tensors(value: Any) -> bool:  # noqa: ANN401 (nested as outputs are)
    return any(isinstance(leaf, Tensor) for leaf in pytree.tree_leaves(value))


def _left(value: Any, shadow: Any, cut: Cut) -> Any:  # noqa: ANN401 (nested as outputs are)
    """What is left of a result, copied, since the operations that follow may write into it."""
    if isinstance(value, (list, tuple)):
        shadows = shadow if isinstance(shadow, (list, tuple)) else [None] * len(value)
        return [_left(part, one, cut) for part, one in zip(value, shadows, strict=True)]
    if not isinstance(value, Tensor) or not isinstance(shadow, Shadow):
        return value
    keep = np.ones(value.shape, dtype=bool)
    for field in shadow.fields:
        keep &= ~cut.gone[cut.traced.families.of[field.labels]]
    if keep.all():
        return value.clone()
    sizes = [
        after if before != after else n
        for n, before, after in zip(value.shape, shadow.shape, left(shadow, cut.traced, cut.gone), strict=True)
    ]
    kept = value[torch.from_numpy(keep).to(value.device)]
    if kept.numel() != np.prod(sizes):
        raise CannotPrune("what is left is no rectangular tensor")
    return kept.reshape(sizes)


def _close(expected: Any, got: Any, tolerance: float) -> bool:  # noqa: ANN401 (nested as outputs are)
    if isinstance(expected, (list, tuple)):
        return len(expected) == len(got) and all(_close(a, b, tolerance) for a, b in zip(expected, got, strict=True))
    if not isinstance(expected, Tensor):
        return True
    if expected.shape != got.shape:
        return False
    if not expected.is_floating_point():
        return torch.equal(expected, got)
    finite = expected[expected.isfinite()]
    size = float(finite.abs().max()) if finite.numel() else 0.0
    return torch.allclose(expected, got, rtol=0.0, atol=tolerance * size, equal_nan=True)
