"""Dropout by functions: which modules of a network call it, and whether training mode does nothing else in them."""

import inspect
import random
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.parameter import is_lazy
from torch.overrides import TorchFunctionMode

from prudent.copying import duplicate
from prudent.dropout_sources import drops
from prudent.network import logits_of
from prudent.side_effects import attributes_kept, attributes_of, same_numbers, written

APART = 1e-3
"""How far, of the largest logit, two computations of the same numbers may lie apart."""

ON_BY_DEFAULT = (functional.dropout, functional.dropout1d, functional.dropout2d, functional.dropout3d)
"""Functions (input, p, training) whose `training` is True if it is left out."""

BY_RATE = (
    *ON_BY_DEFAULT, functional.alpha_dropout, functional.feature_alpha_dropout, torch.dropout, torch.feature_dropout,
    torch.alpha_dropout, torch.feature_alpha_dropout,
)  # fmt: skip
"""Functions (input, p, training)."""


@dataclass(frozen=True, eq=False)
class Dropouts:
    """What is switched on when a network is sampled under dropout, and what cannot be.

    Args:
        modules: dropout of torch, also inside its attention and recurrent layers.
        functional: modules whose training mode switches functional dropout on and changes nothing else.
        silent: names of modules with functional dropout that stays off.
    """

    modules: tuple[nn.Module, ...]
    functional: tuple[nn.Module, ...] = ()
    silent: tuple[str, ...] = ()

    @property
    def switched(self) -> tuple[nn.Module, ...]:
        """All modules that sampling puts into training mode."""
        return (*self.modules, *self.functional)


def calls_itself(model: nn.Module) -> dict[str, nn.Module]:
    """Modules with a forward pass that is not torch's: only they can call functions of dropout."""
    return {
        name: module
        for name, module in model.named_modules()
        if not drops(module) and ("forward" in vars(module) or not _written_by(module).startswith("torch.nn."))
    }


def _written_by(module: nn.Module) -> str:
    return str(getattr(getattr(type(module), "forward", None), "__module__", ""))


def find_dropouts(model: nn.Module, inputs: Tensor) -> Dropouts:
    """All dropout of a network, and which of it can be switched on without switching on anything else.

    A module with functional dropout is switched on by its training mode, which may do other things as well. So it is
    tried, on a copy: in training mode, with every dropout at rate 0, it must say what it says in evaluation mode, draw
    no random number, write to no parameter or buffer, and leave nothing else behind that evaluation mode does not
    leave as well (a count, a line in a list, the state of a generator of its own). All modules with code of their
    own are tried together, else those that call dropout, class by class. Modules for which that does not hold are
    left out, and named.

    Args:
        model: not changed.
        inputs: (n, ...), a few examples; not changed.
    """
    modules = tuple(module for module in model.modules() if drops(module))
    own = calls_itself(model)
    if not own:
        return Dropouts(modules)
    try:
        trial = duplicate(model)
    except Exception:  # noqa: BLE001 (whatever somebody's copying raises: nothing can be tried then)
        return Dropouts(modules)
    trial.eval()
    plain = _pass(trial, (), inputs)
    trained = _pass(trial, tuple(own), inputs)
    # a network that does not run in training mode is believed what it asks for, and not gets, in evaluation mode
    wanted = trained.on if trained.answer is not None else plain.on + plain.off
    hidden = [name for name in own if wanted[name] > plain.on[name]]
    if not hidden or plain.answer is None:
        return Dropouts(modules)
    chosen = _provable(trial, list(own), hidden, inputs, plain)
    found = _pass(trial, chosen, inputs).on
    return Dropouts(
        modules,
        tuple(own[name] for name in chosen),
        tuple(name or type(model).__name__ for name in hidden if found[name] < wanted[name]),
    )


@dataclass(frozen=True, eq=False)
class _Pass:
    """A pass with every dropout at rate 0.

    Args:
        answer: the logits; None where it did not run.
        on: module -> how many calls of dropout with a rate above 0 it made that were switched on.
        off: those that were switched off.
        still: whether no random numbers were drawn and no parameter or buffer was written to.
        left: the other attributes of modules that were written to.
    """

    answer: Tensor | None
    on: Counter[str]
    off: Counter[str]
    still: bool
    left: frozenset[str]


def _provable(
    trial: nn.Module, own: Sequence[str], hidden: Sequence[str], inputs: Tensor, plain: _Pass
) -> tuple[str, ...]:
    """Names of modules, as many as can be, whose training mode only drops."""

    def holds(names: Sequence[str]) -> bool:
        found = _pass(trial, names, inputs)
        if found.answer is None or plain.answer is None or found.answer.shape != plain.answer.shape:
            return False
        if not found.still or not found.left <= plain.left:
            return False
        return bool((found.answer - plain.answer).abs().max() <= APART * plain.answer.abs().max())

    if holds(own):
        return tuple(own)
    kinds = {name: type(trial.get_submodule(name)) for name in hidden}
    groups = [[name for name in hidden if kinds[name] is kind] for kind in dict.fromkeys(kinds.values())]
    good = [name for group in groups if holds(group) for name in group]
    return tuple(good) if good and holds(good) else ()


def _pass(trial: nn.Module, training: Sequence[str], inputs: Tensor) -> _Pass:
    modules = [trial.get_submodule(name) for name in training]
    tensors, attributes = {name: tensor.clone() for name, tensor in _tensors(trial)}, attributes_of(trial)
    answer = None
    with ExitStack() as stack:
        path = stack.enter_context(_followed(trial))
        before = stack.enter_context(_random_states())
        stack.callback(_give_back, trial, tensors)
        stack.enter_context(attributes_kept(trial))
        stack.callback(_set_training, modules, on=False)
        _set_training(modules, on=True)
        calls = _Calls(path)
        try:
            with torch.no_grad(), calls:
                answer = logits_of(trial, inputs.clone())
        except Exception:  # noqa: BLE001 (a network that does not train is no error: it is only asked)
            answer = None
        after = dict(_tensors(trial))
        same = after.keys() == tensors.keys() and all(same_numbers(after[name], old) for name, old in tensors.items())
        left = written(attributes, attributes_of(trial))
        return _Pass(answer, calls.on, calls.off, same and _states_equal(before, _states()), left)


def _tensors(model: nn.Module) -> Iterator[tuple[str, Tensor]]:
    for name, tensor in (*model.named_parameters(), *model.named_buffers()):
        if not is_lazy(tensor):  # which has no numbers before the first pass
            yield name, tensor


@dataclass(eq=False)
class _Calls(TorchFunctionMode):
    """Notes every call of dropout with a rate above 0, and lets it pass as if the rate were 0."""

    path: list[str]
    on: Counter[str] = field(default_factory=Counter)
    off: Counter[str] = field(default_factory=Counter)

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:  # noqa: ANN401
        given = dict(kwargs or {})
        if func in BY_RATE:
            return self._by_rate(func, list(args), given)
        if func is functional.scaled_dot_product_attention:
            args, given = self._attention(list(args), given)
        elif func is functional.multi_head_attention_forward:
            bound = inspect.signature(func).bind(*args, **given)
            bound.apply_defaults()
            self._note(bound.arguments["dropout_p"], on=bound.arguments["training"])
            bound.arguments["dropout_p"] = 0.0
            args, given = bound.args, bound.kwargs
        return func(*args, **given)

    def _by_rate(self, func: Callable[..., Any], args: list[Any], given: dict[str, Any]) -> Any:  # noqa: ANN401
        rate = given.get("p", args[1] if len(args) > 1 else 0.5)
        on = given.get("training", given.get("train", args[2] if len(args) > 2 else func in ON_BY_DEFAULT))
        self._note(rate, on=on)
        if not on or rate <= 0:
            return func(*args, **given)
        tensor = args[0] if args else given["input"]
        in_place = given.get("inplace", len(args) > 3 and args[3])
        return tensor if in_place else tensor.clone()  # as it would be if something were dropped

    def _attention(self, args: list[Any], given: dict[str, Any]) -> tuple[list[Any], dict[str, Any]]:
        rate = given.pop("dropout_p", args[4] if len(args) > 4 else 0.0)
        self._note(rate, on=True)
        if len(args) > 4:
            args[4] = 0.0
        return args, given

    def _note(self, rate: float, *, on: bool) -> None:
        if rate > 0:
            (self.on if on else self.off)[self.path[-1]] += 1


@contextmanager
def _followed(model: nn.Module) -> Iterator[list[str]]:
    """The names of the modules that are at work, outermost first."""
    path: list[str] = [""]

    def left(*_: Any) -> None:  # noqa: ANN401 (a hook's arguments; what it answers would be the module's answer)
        path.pop()

    handles = []
    for name, module in model.named_modules():
        if isinstance(module, torch.jit.ScriptModule):  # takes no hooks, and its functions of dropout are not seen
            continue
        handles.append(module.register_forward_pre_hook(lambda *_, name=name: path.append(name)))
        handles.append(module.register_forward_hook(left, always_call=True))
    try:
        yield path
    finally:
        for handle in handles:
            handle.remove()


def _states() -> tuple[Any, ...]:
    devices = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else []  # type: ignore[no-untyped-call]
    return (torch.get_rng_state(), *devices), random.getstate(), np.random.get_state(legacy=False)  # noqa: NPY002


@contextmanager
def _random_states() -> Iterator[tuple[Any, ...]]:
    """The state of all generators that a network may draw from; afterwards it is what it was."""
    before = _states()
    try:
        yield before
    finally:
        torch.set_rng_state(before[0][0])
        if before[0][1:]:
            torch.cuda.set_rng_state_all(before[0][1:])
        random.setstate(before[1])
        np.random.set_state(before[2])  # noqa: NPY002


def _states_equal(one: tuple[Any, ...], other: tuple[Any, ...]) -> bool:
    torchs = all(torch.equal(a, b) for a, b in zip(one[0], other[0], strict=True))
    numpys = all(np.array_equal(one[2]["state"][key], other[2]["state"][key]) for key in one[2]["state"])
    return torchs and one[1] == other[1] and numpys


def _give_back(model: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    with torch.no_grad():
        for name, tensor in _tensors(model):
            if name in tensors and tensor.shape == tensors[name].shape:
                tensor.copy_(tensors[name])


def _set_training(modules: Sequence[nn.Module], *, on: bool) -> None:
    for module in modules:
        module.training = on
