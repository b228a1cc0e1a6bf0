"""Take the dense network from a file instead of training it."""

from collections.abc import Mapping
from typing import Any

from prudent.building import build
from prudent.cells import Input, Made
from prudent.cells._shared import architecture_of, data_of, packed, sizes, training_values
from prudent.cells.dense import INITIAL
from prudent.given_weights import give_weights
from prudent.network import fingerprint, parameters
from prudent.networks import NUMBERS, pack


def given(options: Mapping[str, Any], inputs: Mapping[str, Input]) -> Made:  # noqa: ARG001 (a dense network has none)
    """The unpruned network with the weights of a file, not trained any further.

    Args:
        options: data, model, weights (file and sha256), seed.
        inputs: none.

    Returns: outputs and values as of `dense`; the initial weights are the given ones, and the history is empty.

    Raises:
        PrudentError: the file cannot be read.
        BadInput: the file has another hash, or its weights are not this network's.
    """
    data = data_of(options)
    architecture = architecture_of(options, data)
    network = build(
        architecture.name, data.shape, len(data.classes), seed=options["seed"], options=dict(architecture.options)
    )
    give_weights(network, options["weights"]["file"], sha256=options["weights"]["sha256"])
    network.eval()
    files = packed(network, architecture)
    return Made(
        outputs={**files, INITIAL: pack(network)[NUMBERS]},
        values={
            "fingerprint": fingerprint(network),
            "parameters": parameters(network),
            **training_values(network, data, []),
            **sizes(network, data, files),
        },
    )
