"""Train the dense network."""

from collections.abc import Mapping
from typing import Any

from prudent.building import build
from prudent.cells import Input, Made
from prudent.cells._shared import architecture_of, as_values, data_of, packed, sizes, trained
from prudent.network import fingerprint, parameters
from prudent.networks import NUMBERS, pack

INITIAL = "initial.safetensors"


def dense(options: Mapping[str, Any], inputs: Mapping[str, Input]) -> Made:  # noqa: ARG001 (a dense network has none)
    """The unpruned network of one seed: its initial weights, its trained weights and how training went.

    Args:
        options: data, model, training, seed.
        inputs: none.

    Returns: outputs network.json, network.safetensors, initial.safetensors; values fingerprint, parameters, bytes,
    macs, history.
    """
    data = data_of(options)
    architecture = architecture_of(options, data)
    seed = options["seed"]
    initial = build(architecture.name, data.shape, len(data.classes), seed=seed, options=dict(architecture.options))
    network, history = trained(initial, data, options["training"], seed=seed)
    files = packed(network, architecture)
    return Made(
        outputs={**files, INITIAL: pack(initial)[NUMBERS]},
        values={
            "fingerprint": fingerprint(network),
            "parameters": parameters(network),
            "history": as_values(history),
            **sizes(network, data, files),
        },
    )
