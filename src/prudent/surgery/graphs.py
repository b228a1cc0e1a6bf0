"""A network in the form of a graph as text, and back: no code is stored, only names of torch's operations."""

import json
import operator
from collections.abc import Mapping
from typing import Any

import torch
from torch import fx, nn
from torch.utils import _pytree as pytree

from prudent.errors import BadInput
from prudent.surgery.graph_form import GraphForm

MODULES = (
    nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.Dropout, nn.Dropout1d,
)  # fmt: skip
"""Modules that a graph may call; everything else in it is an operation."""
OPTIONS = {
    "Dropout": ("p",),
    "Dropout1d": ("p",),
    **dict.fromkeys(("BatchNorm1d", "BatchNorm2d", "BatchNorm3d"), ("num_features", "eps", "momentum", "affine",
                                                                     "track_running_stats")),
}  # fmt: skip
NUMBERS = {
    name: getattr(operator, name) for name in ("add", "sub", "mul", "floordiv", "mod", "neg", "getitem", "truediv")
}
TYPES = {str(t).removeprefix("torch."): t for t in vars(torch).values() if isinstance(t, torch.dtype)}


def to_text(graph: fx.GraphModule) -> str:
    """The graph as JSON; its parameters and buffers are its state dict, stored elsewhere.

    Raises:
        BadInput: it has a node that cannot be written down.
    """
    codegen = graph.graph._codegen
    info = getattr(codegen, "pytree_info", None)
    about = {
        "nodes": [
            [n.op, n.name, _target(n), _encoded(n.args), _encoded(n.kwargs)] for n in graph.graph.nodes
        ],
        "modules": {
            path: [type(module).__name__, {key: getattr(module, key) for key in OPTIONS[type(module).__name__]}]
            for path, module in graph.named_modules()
            if isinstance(module, MODULES)
        },
        "plain": {
            name: [list(value.shape), str(value.dtype).removeprefix("torch."), isinstance(value, nn.Parameter)]
            for name, value in graph.state_dict(keep_vars=True).items()
        },
        "inputs": None if info is None else [list(info.orig_args), pytree.treespec_dumps(info.in_spec)],
        "outputs": None if info is None or info.out_spec is None else pytree.treespec_dumps(info.out_spec),
    }  # fmt: skip
    return json.dumps(about)


def from_text(text: str) -> fx.GraphModule:
    """The network that `to_text` wrote, its numbers not filled in yet.

    Raises:
        BadInput: it is not such a text, or it names something that is not an operation of torch.
    """
    try:
        about = json.loads(text)
        root = _root(about["plain"], about["modules"])
        graph = fx.Graph()
        nodes: dict[str, fx.Node] = {}
        for op, name, target, args, kwargs in about["nodes"]:
            real = _operation(target) if op == "call_function" else target
            if op not in ("placeholder", "get_attr", "call_function", "call_module", "output"):
                raise BadInput(f"a stored graph has no nodes of kind {op!r}")
            nodes[name] = graph.create_node(op, real, tuple(_decoded(args, nodes)), _decoded(kwargs, nodes), name=name)
        if about["inputs"] is not None:
            outputs = None if about["outputs"] is None else pytree.treespec_loads(about["outputs"])
            info = fx.graph._PyTreeInfo(about["inputs"][0], pytree.treespec_loads(about["inputs"][1]), outputs)
            graph.set_codegen(fx.graph._PyTreeCodeGen(info))
        graph.lint()
        return GraphForm(root, graph)
    except BadInput:
        raise
    except (KeyError, ValueError, TypeError, IndexError, AttributeError, RuntimeError, NotImplementedError) as error:
        raise BadInput(
            f"the stored graph cannot be read: {str(error).splitlines()[0] if str(error) else error!r}"
        ) from error


def _root(plain: Mapping[str, Any], modules: Mapping[str, Any]) -> nn.Module:
    root = nn.Module()
    known = {kind.__name__: kind for kind in MODULES}
    for path, (kind, options) in modules.items():
        if kind not in known:
            raise BadInput(f"a stored graph calls no modules of kind {kind!r}")
        _place(root, path).add_module(path.rpartition(".")[2], known[kind](**options))
    own = root.state_dict()
    for name, (shape, dtype, trained) in plain.items():
        if name in own:
            continue
        value = torch.empty(shape, dtype=TYPES[dtype])
        parent, key = _place(root, name), name.rpartition(".")[2]
        if trained:
            parent.register_parameter(key, nn.Parameter(value, requires_grad=value.is_floating_point()))
        else:
            parent.register_buffer(key, value)
    return root


def _place(root: nn.Module, path: str) -> nn.Module:
    """The module that holds what is at this path, made if it is not there."""
    for part in path.split(".")[:-1]:
        if part not in root._modules:
            root.add_module(part, nn.Module())
        root = root.get_submodule(part)
    return root


def _target(node: fx.Node) -> str:
    if node.op != "call_function":
        return str(node.target)
    if isinstance(node.target, torch._ops.OpOverload):
        return str(node.target)
    name = getattr(node.target, "__name__", "")
    if NUMBERS.get(name) is not node.target:
        raise BadInput(f"the graph calls {node.target}, which cannot be stored; export the network to ONNX instead")
    return f"operator.{name}"


def _operation(name: str) -> Any:  # noqa: ANN401 (an operation)
    namespace, _, rest = name.partition(".")
    if namespace == "operator" and rest in NUMBERS:
        return NUMBERS[rest]
    packet, _, overload = rest.partition(".")
    if namespace != "aten":
        raise BadInput(f"a stored graph calls torch's own operations only; got {name!r}")
    return getattr(getattr(torch.ops.aten, packet), overload)


def _encoded(value: Any) -> Any:  # noqa: ANN401 (arguments of any operation)
    if isinstance(value, fx.Node):
        return {"node": value.name}
    if isinstance(value, (list, tuple, fx.immutable_collections.immutable_list)):
        return [_encoded(part) for part in value]
    if isinstance(value, dict):
        return {"map": {str(key): _encoded(part) for key, part in value.items()}}
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        return {"float": repr(value)}
    for kind, known in (("dtype", torch.dtype), ("device", torch.device), ("layout", torch.layout)):
        if isinstance(value, known):
            return {kind: str(value).removeprefix("torch.")}
    if isinstance(value, torch.memory_format):
        return {"memory_format": str(value).removeprefix("torch.")}
    raise BadInput(f"the graph has an argument of type {type(value).__name__}, which cannot be stored")


def _decoded(value: Any, nodes: Mapping[str, fx.Node]) -> Any:  # noqa: ANN401 (arguments of any operation)
    if isinstance(value, list):
        return [_decoded(part, nodes) for part in value]
    if not isinstance(value, dict):
        return value
    ((kind, content),) = value.items()
    if kind == "node":
        return nodes[content]
    if kind == "map":
        return {key: _decoded(part, nodes) for key, part in content.items()}
    if kind == "float":
        return float(content)
    if kind == "device":
        return torch.device(content)
    made = getattr(torch, content)
    if not isinstance(made, (torch.dtype, torch.layout, torch.memory_format)):
        raise BadInput(f"the stored graph has an argument {content!r}")
    return made
