"""What behaves differently in training, as modules of a graph: normalisation, dropout, attention and recurrence.

A graph is traced in evaluation mode, where dropout inside of attention and between recurrent layers is a constant.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.nn import functional as F  # noqa: N812 (torch's own abbreviation)

from prudent.errors import BadInput, CannotPrune
from prudent.examples import Example
from prudent.surgery.calls import operation
from prudent.surgery.exporting import CHANNEL_DROPOUTS, export, module_of
from prudent.surgery.plans import Plan, apply_plan

RECURRENT = ("lstm", "gru", "rnn_tanh", "rnn_relu")
"""Operations of torch's recurrent layers, which have their rate of dropout among their arguments."""
RATE = 5
"""Its place; the number of layers stands before it, and whether they are in training after it."""


class Attention(nn.Module):
    """Fused attention with dropout of its weights in training.

    Args:
        p: the rate.
    """

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p

    def forward(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        attn_mask: Tensor | None = None,
        dropout_p: float = 0.0,  # noqa: ARG002 (that of evaluation, which is 0)
        is_causal: bool = False,  # noqa: FBT001, FBT002 (torch's own signature)
        *,
        scale: float | None = None,
        enable_gqa: bool = False,
    ) -> Tensor:
        """Tensors (batch, heads, length, width) -> the same."""
        return F.scaled_dot_product_attention(
            query, key, value, attn_mask, self.p if self.training else 0.0, is_causal, scale=scale,
            enable_gqa=enable_gqa,
        )  # fmt: skip

    def extra_repr(self) -> str:
        """What printing it shows."""
        return f"p={self.p:g}"


class Recurrence(nn.Module):
    """Layers of an LSTM, GRU or plain recurrent network with dropout between them in training.

    Args:
        kind: name of torch's operation, one of `RECURRENT`; its parameters come as arguments.

    Raises:
        BadInput: another one.
    """

    def __init__(self, kind: str) -> None:
        super().__init__()
        if kind not in RECURRENT:
            raise BadInput(f"recurrent layers are one of {', '.join(RECURRENT)}; got {kind!r}")
        self.kind = kind

    def forward(self, *arguments: Any) -> Any:  # noqa: ANN401 (those of torch's operation)
        """Arguments of torch's operation -> what it gives; whether it trains is this module's mode."""
        given = [*arguments[: RATE + 1], self.training, *arguments[RATE + 2 :]]
        return getattr(torch.ops.aten, self.kind).input(*given)

    def extra_repr(self) -> str:
        """What printing it shows."""
        return self.kind


def attention_rates(model: nn.Module, graph: fx.GraphModule, example: Example) -> tuple[float, ...]:
    """The dropout of each attention in training, in the graph's order, read off the graph of the network in training.

    Args:
        model: the network. Not changed.
        graph: of it, traced in evaluation mode; without attention nothing is traced.
        example: inputs.

    Returns: rates in [0, 1]; none where the network cannot be traced in training, or has other attentions there.
    """
    count = sum(_is_attention(node) for node in graph.graph.nodes)
    if not count:
        return ()
    try:
        program = export(model, example, training=list(model.modules()))
    except CannotPrune:
        return ()
    rates = tuple(_rate(node) for node in program.graph.nodes if _is_attention(node))
    return rates if len(rates) == count else ()


def _is_attention(node: fx.Node) -> bool:
    return node.op == "call_function" and operation(node) == "scaled_dot_product_attention"


def _rate(node: fx.Node) -> float:
    value = node.args[4] if len(node.args) > 4 else node.kwargs.get("dropout_p", 0.0)
    return float(value) if isinstance(value, (int, float)) else 0.0


def restore_modules(graph: fx.GraphModule, model: nn.Module, plan: Plan, rates: Sequence[float] = ()) -> None:
    """Let a graph call modules for what behaves differently in training, in place.

    Args:
        graph: of operations; changed.
        model: the network that it was traced from, of the original sizes. Not changed.
        plan: what stays of it.
        rates: dropout of each attention, in the graph's order; not used if there are more or fewer attentions.
    """
    small = apply_plan(model, Plan(slices=plan.slices, attributes=_of_norms(model, plan)))
    done: set[str] = set()
    attentions = [node for node in graph.graph.nodes if _is_attention(node)]
    dropping = dict(zip(attentions, rates, strict=True)) if len(rates) == len(attentions) else {}
    for n, node in enumerate(list(graph.graph.nodes)):
        if node.op != "call_function":
            continue
        name = operation(node)
        if name == "batch_norm":
            weight = next((a for a in node.args[1:5] if isinstance(a, fx.Node) and a.op == "get_attr"), None)
            path = str(weight.target).rpartition(".")[0] if weight is not None else ""
            known = dict(small.named_modules())
            if isinstance(known.get(path), nn.modules.batchnorm._BatchNorm):
                if path not in done:
                    _replace(graph, path, _plain(known[path], node.meta["val"].ndim))
                    done.add(path)
                _call(graph, node, path)
        elif name == "dropout" or (name == "feature_dropout" and type(module_of(node, model)) in CHANNEL_DROPOUTS):
            rank = node.meta["val"].ndim
            kind = nn.Dropout if name == "dropout" else {4: nn.Dropout2d, 5: nn.Dropout3d}.get(rank, nn.Dropout1d)
            path = f"dropout_of_graph_{n}"
            graph.add_module(path, kind(float(node.args[1])))
            _call(graph, node, path)
        elif dropping.get(node, 0.0) > 0:
            path = f"attention_of_graph_{n}"
            graph.add_module(path, Attention(dropping[node]))
            _call(graph, node, path, whole=True)
        elif name in RECURRENT and node.args[RATE] > 0 and node.args[RATE - 1] > 1:
            path = f"recurrence_of_graph_{n}"
            graph.add_module(path, Recurrence(name))
            _call(graph, node, path, whole=True)


def _plain(norm: nn.Module, ndim: int) -> nn.Module:
    """A batch normalisation of torch's own kind: one of another class may do more, which the graph does itself."""
    assert isinstance(norm, nn.modules.batchnorm._BatchNorm)  # noqa: S101 (the caller looked)
    kind = {4: nn.BatchNorm2d, 5: nn.BatchNorm3d}.get(ndim, nn.BatchNorm1d)
    own = kind(norm.num_features, norm.eps, norm.momentum, norm.affine, norm.track_running_stats)
    own._parameters.update(norm._parameters)
    own._buffers.update(norm._buffers)
    return own.train(norm.training)


def _of_norms(model: nn.Module, plan: Plan) -> dict[str, Mapping[str, Any]]:
    modules = dict(model.named_modules())
    return {
        path: values
        for path, values in plan.attributes.items()
        if isinstance(modules[path], nn.modules.batchnorm._BatchNorm)
    }


def _replace(graph: fx.GraphModule, path: str, module: nn.Module) -> None:
    parent, _, name = path.rpartition(".")
    own = graph.get_submodule(path)
    for key, parameter in own._parameters.items():
        module._parameters[key] = parameter
    for key, buffer in own._buffers.items():
        module._buffers[key] = buffer
    setattr(graph.get_submodule(parent), name, module)


def _call(graph: fx.GraphModule, node: fx.Node, path: str, *, whole: bool = False) -> None:
    """Call a module in place of an operation: with its first argument, or with all."""
    with graph.graph.inserting_after(node):
        new = (
            graph.graph.call_module(path, node.args, node.kwargs)
            if whole
            else graph.graph.call_module(path, (node.args[0],))
        )
    new.meta = dict(node.meta)
    node.replace_all_uses_with(new)
    graph.graph.erase_node(node)
