"""A network in the form of a graph as text, and back: no code is stored, only names of torch's operations."""

import json
import keyword
import operator
import re
from collections import OrderedDict, deque
from collections.abc import Mapping
from typing import Any

import torch
from torch import fx, nn
from torch.utils import _pytree as pytree

from prudent.errors import BadInput
from prudent.surgery.graph_form import GraphForm
from prudent.surgery.restoring import Attention, Recurrence

MODULES = (
    nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d,
    Attention, Recurrence,
)  # fmt: skip
"""Modules that a graph may call; everything else in it is an operation."""
OPTIONS = {
    **dict.fromkeys(("Dropout", "Dropout1d", "Dropout2d", "Dropout3d", "Attention"), ("p",)),
    "Recurrence": ("kind",),
    **dict.fromkeys(("BatchNorm1d", "BatchNorm2d", "BatchNorm3d"), ("num_features", "eps", "momentum", "affine",
                                                                     "track_running_stats")),
}  # fmt: skip
NUMBERS = {
    name: getattr(operator, name) for name in ("add", "sub", "mul", "floordiv", "mod", "neg", "getitem", "truediv")
}
WITHOUT_TENSORS = (
    "sym_size", "sym_numel", "sym_stride", "sym_constrain_range", "sym_constrain_range_for_size", "item",
    "_local_scalar_dense", "_assert_tensor_metadata", "_assert_scalar", "_assert_async",
)  # fmt: skip
"""Operations that give no tensor and may yet be stored: sizes, and what checks them."""
CONTAINERS = (list, tuple, dict, OrderedDict, deque)
PATH = re.compile(r"[\w .:/+@#-]+")
"""What a module or a parameter may be called: nothing that means something in Python, since fx writes code from it."""
TYPES = {str(t).removeprefix("torch."): t for t in vars(torch).values() if isinstance(t, torch.dtype)}


def to_text(graph: fx.GraphModule) -> str:
    """The graph as JSON; its parameters and buffers are its state dict, stored elsewhere.

    Raises:
        BadInput: it has a node that cannot be written down.
    """
    codegen = graph.graph._codegen
    info = getattr(codegen, "pytree_info", None)
    for path in (*graph.state_dict(), *(path for path, module in graph.named_modules() if isinstance(module, MODULES))):
        _path(path)
    about = {
        "class": _class_name(type(graph).__name__),
        "nodes": [
            [n.op, n.name, _target(n), _encoded(n.args), _encoded(n.kwargs)] for n in graph.graph.nodes
        ],
        "modules": {
            path: [type(module).__name__, {key: getattr(module, key) for key in OPTIONS[type(module).__name__]}]
            for path, module in graph.named_modules()
            if isinstance(module, MODULES)
        },
        "plain": {
            name: [
                list(value.shape), str(value.dtype).removeprefix("torch."), isinstance(value, nn.Parameter),
                value.requires_grad,
            ]
            for name, value in graph.state_dict(keep_vars=True).items()
        },
        "inputs": None if info is None else [list(info.orig_args), _spec_text(info.in_spec)],
        "outputs": None if info is None or info.out_spec is None else _spec_text(info.out_spec),
    }  # fmt: skip
    return json.dumps(about)


def from_text(text: str) -> fx.GraphModule:
    """The network that `to_text` wrote, its numbers not filled in yet.

    Raises:
        BadInput: it is not such a text, or it names something that is not an operation of torch on tensors. Names are
            checked before a network is made of them, since fx writes Python code with them and runs it.
    """
    try:
        about = json.loads(text)
        root = _root(about["plain"], about["modules"])
        graph = fx.Graph()
        nodes: dict[str, fx.Node] = {}
        for op, name, target, args, kwargs in about["nodes"]:
            given = _decoded(kwargs, nodes)
            for key in given:
                _identifier(key)
            nodes[name] = graph.create_node(op, _goal(op, target), tuple(_decoded(args, nodes)), given, name=name)
        if about["inputs"] is not None:
            outputs = None if about["outputs"] is None else _spec(about["outputs"])
            names = [_identifier(name) for name in about["inputs"][0]]
            info = fx.graph._PyTreeInfo(names, _spec(about["inputs"][1]), outputs)
            graph.set_codegen(fx.graph._PyTreeCodeGen(info))
        graph.lint()
        return GraphForm(root, graph, class_name=_class_name(about.get("class")))
    except BadInput:
        raise
    except (KeyError, ValueError, TypeError, IndexError, AttributeError, RuntimeError, SyntaxError) as error:
        raise BadInput(
            f"the stored graph cannot be read: {str(error).splitlines()[0] if str(error) else error!r}"
        ) from error


def _class_name(name: object) -> str:
    """That of the user's network, if it is a plain name; older files have none."""
    plain = isinstance(name, str) and name.isascii() and name.isidentifier() and not keyword.iskeyword(name)
    return str(name) if plain else "GraphModule"


def _goal(op: str, target: str) -> Any:  # noqa: ANN401 (an operation, or a name)
    if op == "call_function":
        return _operation(target)
    if op == "placeholder":
        return _identifier(target)
    if op in ("get_attr", "call_module"):
        return _path(target)
    if op != "output" or target != "output":
        raise BadInput(f"a stored graph has no nodes of kind {op!r} to {target!r}")
    return target


def _identifier(name: str) -> str:
    """A name that stands in the code that fx writes as it is."""
    if not (isinstance(name, str) and name.isascii() and name.isidentifier() and not keyword.iskeyword(name)):
        raise BadInput(f"a stored graph has an argument called {name!r}, which is no name")
    return name


def _path(name: str) -> str:
    """A path of a module or a parameter, which stands in that code between quotes."""
    if not (isinstance(name, str) and PATH.fullmatch(name)):
        raise BadInput(f"a graph is stored with plain names of modules and parameters only; got {name!r}")
    return name


def _spec_text(spec: pytree.TreeSpec) -> str:
    text = pytree.treespec_dumps(spec)
    _spec(text)  # what could not be read back is not written
    return text


def _spec(text: str) -> pytree.TreeSpec:
    """How arguments and answers are packed. Only containers: others could name a module to be imported."""
    _check_spec(json.loads(text)[1])
    return pytree.treespec_loads(text)


def _check_spec(found: Mapping[str, Any]) -> None:
    kind, context = found["type"], found["context"]
    known = pytree.SERIALIZED_TYPE_TO_PYTHON_TYPE.get(kind)
    container = known in CONTAINERS or (isinstance(known, type) and issubclass(known, OrderedDict))
    if kind == "collections.namedtuple":  # its context is a name that is looked up among registered ones
        container = context in pytree.SERIALIZED_TYPE_TO_PYTHON_TYPE
    elif kind is not None and context is not None:
        keys = json.loads(context) if isinstance(context, str) else context
        container = container and (keys is None or isinstance(keys, (int, list)))
        container = container and all(isinstance(key, (str, int)) for key in (keys if isinstance(keys, list) else ()))
    if kind is not None and not container:
        raise BadInput(
            f"a graph takes and gives tensors in tuples, lists and dicts, so that it can be stored; got {kind!r}: wrap "
            "the network in a module that takes and gives those"
        )
    for child in found["children_spec"]:
        _check_spec(child)


def _root(plain: Mapping[str, Any], modules: Mapping[str, Any]) -> nn.Module:
    root = nn.Module()
    known = {kind.__name__: kind for kind in MODULES}
    for path in (*modules, *plain):
        _path(path)
    for path, (kind, options) in modules.items():
        if kind not in known:
            raise BadInput(f"a stored graph calls no modules of kind {kind!r}")
        _place(root, path).add_module(path.rpartition(".")[2], known[kind](**options))
    own = root.state_dict(keep_vars=True)
    for name, (shape, dtype, trained, *grad) in plain.items():
        if name in own:
            own[name].requires_grad_(bool(trained and all(grad)))
            continue
        value = torch.empty(shape, dtype=TYPES[dtype])
        parent, key = _place(root, name), name.rpartition(".")[2]
        if trained:
            parent.register_parameter(key, nn.Parameter(value, requires_grad=value.is_floating_point() and all(grad)))
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
    found = getattr(getattr(torch.ops.aten, packet), overload)
    schema = getattr(found, "_schema", None)
    if not isinstance(found, torch._ops.OpOverload) or schema is None:
        raise BadInput(f"a stored graph calls torch's own operations only; got {name!r}")
    gives = any(isinstance(r.type, (torch.TensorType, torch.ListType)) for r in schema.returns)
    if any(a.name == "filename" for a in schema.arguments) or not (gives or packet in WITHOUT_TENSORS):
        raise BadInput(f"a stored graph computes tensors and does nothing else; {name!r} does")
    return found


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
