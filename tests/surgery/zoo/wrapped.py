"""One small network in the states that users bring: frozen, in another precision, compiled, distributed, masked."""

import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, distributed, nn
from torch.nn.utils import prune

from tests.surgery.zoo.case import Case, normal, randomised


def small_cnn() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 6, 3, padding=1), nn.BatchNorm2d(6),
        nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 4),
    )  # fmt: skip


def frozen_all() -> nn.Module:
    return randomised(small_cnn).requires_grad_(False)


def frozen_part() -> nn.Module:
    model = randomised(small_cnn)
    model[0].requires_grad_(False)
    model[1].requires_grad_(False)
    return model


def half() -> nn.Module:
    return randomised(small_cnn).half()


def bfloat16() -> nn.Module:
    return randomised(small_cnn).bfloat16()


def float64() -> nn.Module:
    return randomised(small_cnn).double()


def mixed_precision() -> nn.Module:
    """Only the head in double precision, with the conversion in between."""

    class Convert(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.double()

    model = randomised(small_cnn)
    return nn.Sequential(*model[:8], Convert(), model[8].double())


def channels_last() -> nn.Module:
    return randomised(small_cnn).to(memory_format=torch.channels_last)


def compiled() -> nn.Module:
    return torch.compile(randomised(small_cnn), backend="eager")


def distributed_wrapper() -> nn.Module:
    """In a group of one process, which ends before this function does."""
    if not distributed.is_available() or distributed.is_initialized():
        pytest.skip("needs torch.distributed, and no process group of somebody else")
    try:
        distributed.init_process_group("gloo", store=distributed.HashStore(), rank=0, world_size=1)
    except RuntimeError as problem:
        pytest.skip(f"no process group can be made here: {problem}")
    try:
        return nn.parallel.DistributedDataParallel(randomised(small_cnn))
    finally:
        distributed.destroy_process_group()


def prune_masks() -> nn.Module:
    model = randomised(small_cnn)
    prune.l1_unstructured(model[0], "weight", 0.3)
    prune.ln_structured(model[3], "weight", 0.34, n=2, dim=0)
    return model


def scripted_part() -> nn.Module:
    model = randomised(small_cnn)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # TorchScript is no longer advised
        model[3] = torch.jit.script(model[3])
    return model


def hooked() -> nn.Module:
    """A forward hook that doubles a layer's output."""
    model = randomised(small_cnn)
    model[0].register_forward_hook(lambda _module, _inputs, output: 2 * output)
    return model


def data_parallel() -> nn.Module:
    if torch.cuda.is_available():
        pytest.skip("with accelerators the wrapper wants the network on them")
    return nn.DataParallel(randomised(small_cnn))


IMAGE = normal((2, 3, 8, 8))


def _as(change: Callable[[Tensor], Tensor]) -> Callable[[], tuple[Any, ...]]:
    return lambda: tuple(change(x) for x in IMAGE())


BOTH = ("0", "3")

CASES = (
    Case(
        name="frozen_all", build=frozen_all, args=IMAGE, expect="exact", exact=BOTH,
        why="requires_grad says nothing about removal, and stays False",
    ),
    Case(
        name="frozen_part", build=frozen_part, args=IMAGE, expect="exact", exact=BOTH,
        why="frozen layers are cut too, and stay frozen",
    ),
    Case(name="half", build=half, args=_as(Tensor.half), expect="exact", exact=BOTH, why="proof in float64, kept half"),
    Case(
        name="bfloat16", build=bfloat16, args=_as(Tensor.bfloat16), expect="exact", exact=BOTH,
        why="proved in float64, kept in bfloat16",
    ),
    Case(name="float64", build=float64, args=_as(Tensor.double), expect="exact", exact=BOTH, why="a chain"),
    Case(
        name="mixed_precision", build=mixed_precision, args=IMAGE, expect="exact", exact=BOTH,
        why="each parameter keeps its own type; the conversion in the code stays",
    ),
    Case(
        name="channels_last", build=channels_last, args=_as(lambda x: x.to(memory_format=torch.channels_last)),
        expect="exact", exact=BOTH, why="the smaller weights are channels-last as well",
    ),
    Case(
        name="compiled", build=compiled, args=IMAGE, expect="exact", exact=("_orig_mod.0", "_orig_mod.3"),
        why="the module inside is cut; compiling again is the caller's choice",
    ),
    Case(
        name="distributed_wrapper", build=distributed_wrapper, args=IMAGE, expect="refused", frozen=("module.?",),
        exports=False,
        why="the wrapper holds buckets of the old tensors: `model.module` is to be given instead",
    ),
    Case(
        name="data_parallel", build=data_parallel, args=IMAGE, expect="exact", exact=("module.0", "module.3"),
        why="on a machine without accelerators the wrapper passes everything through",
    ),
    Case(
        name="prune_masks", build=prune_masks, args=IMAGE, expect="exact", exact=BOTH,
        why="weight = weight_orig x weight_mask: both are cut, or prune.remove is asked for first; two channels of the "
        "second layer are masked whole, but their biases and shifts still speak",
    ),
    Case(
        name="scripted_part", build=scripted_part, args=IMAGE, expect="refused", frozen=("?",), exports=False,
        why="TorchScript is not traced: the plain module is asked for",
    ),
    Case(
        name="hooked", build=hooked, args=IMAGE, expect="exact", exact=BOTH,
        why="the hook is part of the function: it is kept, or becomes part of the exported graph",
    ),
)  # fmt: skip
