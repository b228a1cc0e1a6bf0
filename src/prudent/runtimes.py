"""What runs a network: PyTorch as it is, PyTorch compiled, or ONNX Runtime."""

import warnings
from collections.abc import Callable
from functools import partial
from typing import Literal

import torch
from torch import Tensor, nn

from prudent.errors import BadInput, PrudentError, reason
from prudent.latency import one_pass
from prudent.onnx_graph import check_onnx, session, standalone, to_onnx
from prudent.scopes import check_choice

Runtime = Literal["eager", "compile", "onnxruntime"]

Work = Callable[[], object]
"""One forward pass that returns when it is done."""


def starter(model: nn.Module, example: Tensor, runtime: Runtime) -> Callable[[Tensor, int], Work]:
    """Make a network ready for a runtime.

    Args:
        model: any network. Not changed; a copy in evaluation mode runs.
        example: inputs (n, ...) that it takes.
        runtime: "eager" is PyTorch as it is, "compile" is torch.compile, "onnxruntime" ONNX Runtime on the CPU, which
            runs the file that `export_onnx` would write.

    Returns: from inputs (batch, ...) and a number of threads to one forward pass on them, without arguments. The passes
    of PyTorch are to be run under torch.inference_mode and with that many threads of torch.

    Raises:
        UnknownName: no such runtime.
        PrudentError: ONNX Runtime is not installed.
        BadInput: the network cannot be exported. What torch.compile cannot compile is refused when a pass is made.
    """
    check_choice("runtime", runtime, Runtime)
    if runtime == "onnxruntime":
        check_onnx()
        content = to_onnx(model, example)
        return partial(_onnx_pass, content)
    copied = standalone(model).to(example.device)
    return partial(_compiled_pass if runtime == "compile" else _eager_pass, copied)


def _eager_pass(model: nn.Module, inputs: Tensor, threads: int) -> Work:  # noqa: ARG001 (the caller sets torch's)
    return partial(one_pass, model, inputs)


def _compiled_pass(model: nn.Module, inputs: Tensor, threads: int) -> Work:  # noqa: ARG001 (the caller sets torch's)
    import torch._inductor.config as inductor

    try:
        # in this process: a pool of compilers would still be there while others are timed
        with warnings.catch_warnings(), inductor.patch(compile_threads=1):
            warnings.simplefilter("ignore")
            compiled = torch.compile(model, dynamic=False)
            one_pass(compiled, inputs)
    except Exception as error:
        raise BadInput(f"torch.compile does not work for this network here: {reason(error)}") from error
    return partial(one_pass, compiled, inputs)


def _onnx_pass(content: bytes, inputs: Tensor, threads: int) -> Work:
    running = session(content, threads=threads)
    name, values = running.get_inputs()[0].name, inputs.detach().cpu().numpy()
    if inputs.device.type != "cpu":
        raise PrudentError(f"ONNX Runtime is timed on the CPU; the inputs are on {inputs.device}")
    return partial(running.run, None, {name: values})
