"""Where dropout comes from: modules of torch that drop in training mode, and the operations of a graph that do."""

import operator
from collections.abc import Callable
from typing import Any

import torch
from torch import fx, nn
from torch.nn.modules import dropout as torchs
from torch.nn.modules.dropout import _DropoutNd

from prudent.surgery.calls import operation

KINDS = ("dropout", "feature_dropout", "alpha_dropout", "feature_alpha_dropout")
"""Operations (input, p, train); with an underscore at the end, in place."""

RECURRENT = ("lstm", "gru", "rnn_tanh", "rnn_relu")
"""Operations with layers, and dropout between them."""

ATTENTION = "scaled_dot_product_attention"
"""The operation that drops weights of attention: at rate dropout_p, always."""

OWN: tuple[Callable[..., Any], ...] = (
    *(kind.forward for kind in vars(torchs).values() if isinstance(kind, type) and issubclass(kind, _DropoutNd)),
    nn.MultiheadAttention.forward, nn.LSTM.forward, nn.GRU.forward, nn.RNN.forward,
)  # fmt: skip
"""What torch's own modules with dropout do. Others may do anything while they train, and a graph would not show it."""


def drops(module: nn.Module) -> bool:
    """Whether a module of torch drops anything in training mode: by its kind, whatever else a subclass of it does."""
    if isinstance(module, nn.MultiheadAttention):
        return module.dropout > 0 and type(module).forward in OWN
    if isinstance(module, nn.RNNBase):
        return module.dropout > 0 and module.num_layers > 1 and type(module).forward in OWN
    return isinstance(module, _DropoutNd) and module.p > 0


def may_drop(node: fx.Node) -> bool:
    """Whether an operation is one that drops, if its arguments say so."""
    name = operation(node).removesuffix("_") if node.op == "call_function" else ""
    return name in (*KINDS, *RECURRENT) or name == ATTENTION


def is_dropping(node: fx.Node) -> bool:
    """Whether an operation drops anything, as it was traced."""
    if not may_drop(node):
        return False
    if operation(node) == ATTENTION:
        return bool(_argument(node, "dropout_p") > 0)
    if operation(node) in RECURRENT:
        layers, rate = _argument(node, "num_layers"), _argument(node, "dropout")
        return _argument(node, "train") is True and rate > 0 and layers > 1
    return _argument(node, "train") is True and _argument(node, "p") > 0


def put_switch(node: fx.Node, dropping: fx.Node) -> None:
    """Let a graph's input, a truth value, decide whether an operation drops. Changes the graph.

    Args:
        node: an operation that drops.
        dropping: stands before it in the same graph.
    """
    if operation(node) != ATTENTION:
        _give(node, "train", dropping)
        return
    with node.graph.inserting_before(node):
        _give(node, "dropout_p", node.graph.call_function(operator.mul, (_argument(node, "dropout_p"), dropping)))


def _argument(node: fx.Node, name: str) -> Any:  # noqa: ANN401 (whatever the operation takes)
    place, declared = _declared(node, name)
    if name in node.kwargs:
        return node.kwargs[name]
    return node.args[place] if place < len(node.args) else declared.default_value


def _give(node: fx.Node, name: str, value: fx.Node) -> None:
    place, _ = _declared(node, name)
    if place < len(node.args):
        node.update_arg(place, value)
    else:
        node.update_kwarg(name, value)


def _declared(node: fx.Node, name: str) -> tuple[int, torch.Argument]:
    declared = node.target._schema.arguments  # type: ignore[union-attr]
    return next((place, one) for place, one in enumerate(declared) if one.name == name)
