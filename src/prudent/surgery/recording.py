"""A network -> its graph of operations, recorded while it runs on tensors that have sizes and no values."""

import operator
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch.nn.modules import module as calls_of_modules
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode

from prudent.copying import PLAIN
from prudent.examples import Example, arguments
from prudent.surgery.exporting import in_evaluation, without_copies
from prudent.surgery.operations import Operations

TORCH = f"{Path(torch.__file__).parent}"
BETWEEN = tuple(f"{Path(TORCH, name)}" for name in ("_dynamo", "_compile", "_ops", "utils"))
"""Files of torch that pass an operation on to whoever watches."""
UNKNOWN = (torch.Tag.data_dependent_output, torch.Tag.inplace_view)
"""Operations that give numbers, and those that change sizes of tensors noted before. Sizes that depend on values, and
numbers asked for in other ways, are refused by torch where they come up: indices may be numbers, or a mask."""
ALIASES = ("detach", "detach_")
"""Operations that change nothing where no gradients are."""


def record(model: nn.Module, example: Example) -> Operations | None:
    """The operations of a network in evaluation mode, or None where a recording cannot be trusted: then export it.

    The network runs once on tensors without values, and each of torch's operations is noted as it is asked for, before
    it is taken apart. This is what torch.export sees, without its guards, its checks and its copies, for a tenth of
    the time. Where the network looks at a value, where sizes depend on values, where anything is raised, even if the
    network catches it, or where anything but a plain operation is called, there is no recording.

    Args:
        model: not changed: nor its modes, attributes, gradients, or the random state.
        example: inputs; their values do not matter.
    """
    if any(isinstance(module, torch.jit.ScriptModule) for module in model.modules()):
        return None
    try:
        with in_evaluation(model) as copying:
            recorder = Recorder(model)
            found = recorder.watch(model, example)
            without_copies(found.graph, model, copying)
    except Exception:  # noqa: BLE001 (whatever it is, the exporter says it better)
        return None
    found.graph.eliminate_dead_code()
    return None if recorder.failed else found


class Recorder(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Notes each operation that is called while it is active."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.sizes = FakeTensorMode()
        self.graph = fx.Graph()
        self.failed = False
        self.paths: dict[int, str] = {id(module): path for path, module in model.named_modules()}
        self.where: list[tuple[str, type]] = [("", type(model))]
        self.nodes: dict[int, fx.Node] = {}  # id of a tensor -> what its present value comes from
        self.empty: dict[int, Tensor] = {}  # id of a tensor with values -> the one that stands for it
        self.alive: list[Tensor] = []  # no id may be given to another tensor meanwhile

    def watch(self, model: nn.Module, example: Example) -> Operations:
        """Run the network, whose parameters are replaced: somebody else puts the old ones back."""
        parameters, buffers = self._replaced(model, "_parameters"), self._replaced(model, "_buffers")
        args, kwargs = pytree.tree_map_only(Tensor, lambda t: self._stands_for(t, "input"), arguments(example))
        with ExitStack() as stack:
            for context in (_undivided(), self._places(), self.sizes, self):
                stack.enter_context(context)
            answer = model(*args, **kwargs)
        leaves = pytree.tree_leaves(answer)
        if not all(isinstance(leaf, (Tensor, *PLAIN)) for leaf in leaves):
            raise TypeError("an answer is neither a tensor nor a number")
        answers = [self.node_of(leaf, "constant") for leaf in leaves if isinstance(leaf, Tensor)]
        self.graph.output(tuple(answers))
        return Operations(
            graph=self.graph,
            parameters=parameters,
            buffers=buffers,
            answers=frozenset(node.name for node in answers),
        )

    def _replaced(self, model: nn.Module, kind: str) -> dict[str, str]:
        """Tensors without values in the places of all parameters, or buffers; the nodes that stand for them."""
        names: dict[str, str] = {}
        changed = []
        for path, module in model.named_modules(remove_duplicate=False):
            own = {key: value for key, value in getattr(module, kind).items() if value is not None}
            for key, value in own.items():
                name = f"{path}.{key}" if path else key
                names.setdefault(self.node_of(value, name).name, name)
            changed.append((module, {**getattr(module, kind), **{key: self.empty[id(own[key])] for key in own}}))
        for module, held in changed:
            vars(module)[kind] = held
        return names

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:  # noqa: ANN401
        """Note one operation. Whatever goes wrong is remembered, since the network may catch it and go another way."""
        try:
            return self._noted(func, args, kwargs or {})
        except BaseException:
            self.failed = True
            raise

    def _noted(self, func: Any, args: Any, kwargs: Any) -> Any:  # noqa: ANN401 (any operation's)
        name = func.overloadpacket.__name__
        if any(tag in func.tags for tag in UNKNOWN) and name not in ALIASES:
            raise TypeError(f"{func} depends on values, or changes sizes in place")
        if any(argument.is_out for argument in func._schema.arguments):
            raise TypeError(f"{func} writes into a tensor that may be a part of another one")
        nodes: Any = fx.node.map_aggregate((args, kwargs), self._noted_value)
        empty: Any = fx.node.map_aggregate((args, kwargs), self._empty_value)
        out = func(*empty[0], **empty[1])
        if name in ALIASES:
            self.nodes[id(out)] = self.node_of(args[0], "constant")
            self.alive.append(out)
            return out
        if func._schema.is_mutable or isinstance(out, (Tensor, list, tuple)):
            node = self.graph.call_function(func, *nodes)
            node.meta["nn_module_stack"] = {self.where[-1][0]: self.where[-1]}
            node.meta["stack_trace"] = _line()
            self._follow(node, out)
        return out

    def _follow(self, node: fx.Node, out: Any) -> None:  # noqa: ANN401 (tensors in lists)
        """What comes out of an operation is what its node stands for, from now on."""
        node.meta["val"] = fx.node.map_aggregate(out, _sizes)
        if isinstance(out, FakeTensor):
            self.nodes[id(out)] = node
            self.alive.append(out)
        elif isinstance(out, (list, tuple)):
            for i, part in enumerate(out):
                if part is not None:
                    self._follow(self.graph.call_function(operator.getitem, (node, i)), part)
        elif out is not None:
            raise TypeError(f"{node.target} gives neither a tensor nor a list of them")

    def node_of(self, value: Tensor, name: str) -> fx.Node:
        """The node that a tensor comes from; one with values that is met for the first time is an input."""
        found = self.nodes.get(id(self.empty.get(id(value), value)))
        if found is None:
            if isinstance(value, FakeTensor):
                raise TypeError("a tensor was made that no operation gave")
            found = self.nodes[id(self._stands_for(value, name))]
        return found

    def _noted_value(self, value: Any) -> Any:  # noqa: ANN401 (an argument)
        return self.node_of(value, "constant") if isinstance(value, Tensor) else value

    def _empty_value(self, value: Any) -> Any:  # noqa: ANN401
        return self.empty.get(id(value), value)

    def _stands_for(self, value: Tensor, name: str) -> Tensor:
        """A tensor without values that is in all else like this one, and an input of the graph."""
        if type(value) not in (Tensor, nn.Parameter, nn.Buffer):
            raise TypeError("a tensor of another kind may do anything")
        with torch._C._DisableTorchDispatch():
            sizes = torch.empty_strided(
                value.shape, value.stride(), dtype=value.dtype, device="meta", requires_grad=value.requires_grad
            )
            made = FakeTensor(self.sizes, sizes, value.device)
        if isinstance(value, nn.Parameter):
            made._is_param = True
        node = self.graph.placeholder(name.replace(".", "_"))
        node.meta["val"] = sizes
        self.empty[id(value)] = made
        self.nodes[id(made)] = node
        self.alive += [value, made]
        return made

    @contextmanager
    def _places(self) -> Iterator[None]:
        """Notes in which module's forward pass the network is."""

        def enter(module: nn.Module, _: Any) -> None:  # noqa: ANN401 (torch's hooks)
            path = self.paths.get(id(module))
            self.where.append(self.where[-1] if path is None else (path, type(module)))

        def leave(*_: Any) -> None:  # noqa: ANN401
            self.where.pop()

        entering = calls_of_modules.register_module_forward_pre_hook(enter)
        leaving = calls_of_modules.register_module_forward_hook(leave, always_call=True)
        try:
            yield
        finally:
            entering.remove()
            leaving.remove()


def _sizes(value: Any) -> Any:  # noqa: ANN401 (what comes out of an operation)
    """The sizes of a tensor as they are now."""
    if not isinstance(value, Tensor):
        return value
    with torch._C._DisableTorchDispatch():
        return torch.empty(value.shape, dtype=value.dtype, device="meta")


def _line() -> str:
    """The line of code that asked for an operation, as torch writes it: the innermost that is not torch's own."""
    frame: FrameType | None = sys._getframe(3)
    first = None
    while frame is not None and frame.f_code.co_filename != __file__:
        line = f'File "{frame.f_code.co_filename}", line {frame.f_lineno}, in {frame.f_code.co_name}'
        if not frame.f_code.co_filename.startswith(TORCH):
            return line
        if not frame.f_code.co_filename.startswith(BETWEEN):
            first = first or line
        frame = frame.f_back
    return first or ""


@contextmanager
def _undivided() -> Iterator[None]:
    """Operations arrive whole, not as the smaller ones that have gradients, and code does as for an export."""
    flags = [flag for flag in ("_is_compiling_flag", "_is_exporting_flag") if hasattr(torch.compiler, flag)]
    before = {flag: getattr(torch.compiler, flag) for flag in flags}
    fast = torch.backends.mha.get_fastpath_enabled()
    try:
        torch.backends.mha.set_fastpath_enabled(False)  # one operation instead of a layer, of which nothing is known
        for flag in flags:
            setattr(torch.compiler, flag, True)
        with torch._C._AutoDispatchBelowADInplaceOrView():
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)
        for flag, value in before.items():
            setattr(torch.compiler, flag, value)
