"""Compare what the layers of two networks make of the same images."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from prudent.alignment import Alignment, unbiased_hsic
from prudent.cells import Input, Made
from prudent.cells._shared import architecture_of, data_of, module_of, network_of
from prudent.foreign import some_of
from prudent.network import PRUNABLE
from prudent.observation import observe

SIZE = 64
"""Examples in a batch: HSIC is estimated without bias in each, whatever its size."""


def aligned(options: Mapping[str, Any], inputs: Mapping[str, Input]) -> Made:
    """Linear CKA of every linear and convolution layer that both networks have under one name.

    Args:
        options: data, model, aligned (test examples, at most).
        inputs: network, and dense, which it is compared with.

    Returns: values layers {name: CKA, None where a layer answers the same to everything}, n, and note: why there are no
    layers.
    """
    data = data_of(options)
    architecture = architecture_of(options, data)
    both = [module_of(network_of(inputs[name], architecture)) for name in ("network", "dense")]
    examples = some_of(data.test, options["aligned"])
    names = [name for name in _layers(both[0]) if name in _layers(both[1])]
    if not names:
        note = f"a {type(both[0]).__name__} has no layer of the dense network's names"
        return Made(values={"layers": {}, "n": len(examples), "note": note})
    sums = {name: np.zeros(3) for name in names}
    # parts of equal size, so that none has too few examples
    for part in torch.tensor_split(torch.from_numpy(examples.inputs), max(1, len(examples) // SIZE)):
        own, dense = (_answers(model, part, names) for model in both)
        for name in names:
            sums[name] += _hsic(own[name], dense[name])
    layers = {name: _alignment(*found.tolist()) for name, found in sums.items()}
    return Made(values={"layers": layers, "n": len(examples), "note": ""})


def _layers(model: nn.Module) -> dict[str, nn.Module]:
    return {name: module for name, module in model.named_modules() if isinstance(module, PRUNABLE)}


def _answers(model: nn.Module, inputs: Tensor, names: list[str]) -> dict[str, np.ndarray]:
    """What each layer answers, (n, numbers); of one that runs again, the last answer."""
    layers = _layers(model)
    found: dict[str, np.ndarray] = {}

    def keep(name: str, _: Tensor, output: Tensor) -> None:
        found[name] = output.flatten(1).double().cpu().numpy()

    observe(model, [inputs], {name: layers[name] for name in names}, keep)
    return found


def _hsic(own: np.ndarray, dense: np.ndarray) -> list[float]:
    return [unbiased_hsic(own, dense), unbiased_hsic(own, own), unbiased_hsic(dense, dense)]


def _alignment(both: float, one: float, other: float) -> float | None:
    cka = Alignment(both=both, one=one, other=other).cka
    return cka if np.isfinite(cka) else None
