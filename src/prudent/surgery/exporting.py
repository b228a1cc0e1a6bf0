"""A network -> its graph of operations, by torch.export, in evaluation mode."""

import inspect
import logging
import traceback
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stderr
from io import StringIO
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, fx, nn

from prudent.errors import CannotPrune
from prudent.examples import Example, arguments
from prudent.network import check_goes, evaluating
from prudent.side_effects import attributes_kept

CHANNEL_DROPOUTS = (nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout, nn.FeatureAlphaDropout)
"""Modules that in evaluation mode answer their very input, not a copy."""
PACKAGES = (str(Path(torch.__file__).parent), str(Path(__file__).parents[1]), str(Path(inspect.__file__).parent), "<")
"""Where lines of code are that are not the user's: torch, this package, Python's own, and what was generated."""


def export(
    model: nn.Module, example: Example, *, dynamic: bool = False, training: Sequence[nn.Module] = ()
) -> torch.export.ExportedProgram:
    """The network's graph in evaluation mode. Modes, gradients and the random state are left as they were.

    Args:
        model: not changed.
        example: inputs; their values do not matter.
        dynamic: let the first dimension of every input vary, where the network allows it.
        training: modules of it that are in training mode all the same.

    Raises:
        CannotPrune: it cannot be exported; says why.
        BadInput: it does not run on the example at all.
    """
    args, kwargs = arguments(example)
    first = {0: torch.export.Dim.AUTO}
    shapes: Any = None
    if dynamic:
        shapes = torch.utils._pytree.tree_map(
            lambda t: first if isinstance(t, Tensor) and t.ndim else None, (args, kwargs)
        )
        shapes = (*shapes[0], *shapes[1].values())
    try:
        with in_evaluation(model, training=training) as copying:
            program = torch.export.export(model, args, kwargs, dynamic_shapes=shapes, strict=False)
    except Exception as error:
        check_goes(model, example)
        raise CannotPrune(
            f"the network's graph cannot be traced, so nothing can be cut out of it: {_why(error)}; prune single "
            'weights instead (granularity="weight")'
        ) from error
    without_copies(program.graph, model, copying)
    program.graph.eliminate_dead_code()
    return program


@contextmanager
def in_evaluation(model: nn.Module, *, training: Sequence[nn.Module] = ()) -> Iterator[list[nn.Module]]:
    """The network ready to be traced, with those of its modules that trace as in training, to be undone in the graph.

    Args:
        model: afterwards its modes, attributes and the random state are what they were.
        training: modules of it that are in training mode all the same.
    """
    with (
        warnings.catch_warnings(),
        torch.random.fork_rng(devices=[]),
        evaluating(model),
        attributes_kept(model),
        _quiet(),
    ):
        warnings.simplefilter("ignore")
        copying = [m for m in model.modules() if _answers_its_input(m) and m not in training]
        for module in (*training, *copying):
            module.training = True
        yield copying


def without_copies(graph: fx.Graph, model: nn.Module, copying: Sequence[nn.Module]) -> None:
    """Dropouts of these modules were traced as in training; now they say that it is none."""
    for node in graph.nodes if copying else ():
        if node.op == "call_function" and module_of(node, model) in copying and node.args[2:] == (True,):
            node.args = (*node.args[:2], False)


def module_of(node: fx.Node, model: nn.Module) -> nn.Module:
    """The innermost module of the network in whose forward pass an operation was met."""
    stack = list((node.meta.get("nn_module_stack") or {}).values())
    try:
        return model.get_submodule(stack[-1][0] if stack else "")
    except AttributeError:
        return model


def _answers_its_input(module: nn.Module) -> bool:
    """Whether in evaluation mode it answers its very input, so that a trace mistakes who reads which of the two."""
    return type(module) in CHANNEL_DROPOUTS and not module.inplace


@contextmanager
def _quiet() -> Iterator[None]:
    """Without what torch logs about sizes, and about what it then raises: errors say it where it matters."""
    before = logging.root.manager.disable
    logging.disable(logging.ERROR)
    try:
        with redirect_stderr(StringIO()):
            yield
    finally:
        logging.disable(before)


def _why(error: Exception) -> str:
    """The error in one line, with the line of the user's code that it comes from."""
    text = str(error).strip().splitlines()
    first = next((line.strip() for line in text if line.strip()), "")
    if "data-dependent" in first or "DataDependent" in type(error).__name__:
        first = "what it computes depends on the numbers in a tensor (an if, a loop, .item())"
    else:
        first = f"{type(error).__name__}: {first}"[:300]
    frames = [f for f in traceback.extract_tb(error.__traceback__) if not f.filename.startswith(PACKAGES)]
    return f"{first} at {Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else first
