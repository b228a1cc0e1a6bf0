"""Randomness of training that a network loses when it becomes a graph, which is traced in evaluation mode."""

from torch import fx, nn

from prudent.surgery.calls import operation
from prudent.surgery.exporting import module_of
from prudent.surgery.restoring import Attention, Recurrence

DROPOUTS = (
    nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout, nn.FeatureAlphaDropout,
)  # fmt: skip

RESTORED = (Attention, Recurrence)


def forgotten(model: nn.Module, graph: fx.GraphModule) -> tuple[str, ...]:
    """What of a network's dropout its graph no longer has: one entry each, in words.

    Dropout that stands in the graph by itself is a module there, and works in training, as do attention and recurrent
    layers that were restored (see prudent.surgery.restoring). Where attention could not be, its dropout is the
    constant 0 of evaluation mode; other kinds of dropout are no operation of their own there, and leave nothing.
    Dropout of whole channels that is called as a function answers its very input in evaluation mode, so that nothing
    tells who reads what it drops: it is not put back.

    Args:
        model: the network that was traced.
        graph: what `emit` made of it, whose nodes still say from which modules they are.
    """
    kept: set[str] = set()
    fused: set[str] = set()
    restored: dict[str, float] = {}
    for node in graph.graph.nodes:
        paths = [str(where[0]) for where in node.meta.get("nn_module_stack", {}).values()]
        if node.op == "call_module" and isinstance(graph.get_submodule(str(node.target)), DROPOUTS):
            kept.update(paths[-1:])
        elif node.op == "call_module" and isinstance(module := graph.get_submodule(str(node.target)), RESTORED):
            restored |= {path: getattr(module, "p", 1.0) for path in paths[-1:]}
        elif node.op == "call_function" and operation(node) == "scaled_dot_product_attention":
            fused.update(paths[-1:])
    lost: list[str] = [
        f"dropout {node.args[1]:g} of whole channels, called as a function in {type(module_of(node, model)).__name__}"
        for node in graph.graph.nodes
        if node.op == "call_function" and operation(node) == "feature_dropout"
    ]
    for path, module in model.named_modules():
        if isinstance(module, DROPOUTS):
            # one that attention has by itself is never called
            if module.p > 0 and path not in kept and restored.get(path.rpartition(".")[0]) != module.p:
                lost.append(f"dropout {module.p:g} of {path!r}")
        elif isinstance(module, nn.RNNBase):
            if module.dropout > 0 and module.num_layers > 1 and path not in restored:
                lost.append(f"dropout {module.dropout:g} between the layers of {path!r}")
        elif isinstance(module, nn.MultiheadAttention):
            if module.dropout > 0 and path not in restored:
                lost.append(f"dropout {module.dropout:g} of the attention of {path!r}")
        elif path in fused:
            rates = [v for k, v in vars(module).items() if "drop" in k and isinstance(v, float) and 0 < v < 1]
            lost += [f"dropout {rate:g} of the attention of {path!r}" for rate in rates]
    return tuple(lost)
