"""Fit every detector to one network, and show it every set of strangers."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from prudent.archive import predictions_to_bytes
from prudent.cells import Input, Made
from prudent.cells._shared import architecture_of, data_of, module_of, network_of
from prudent.foreign import foreign_sets, some_of
from prudent.prediction import predict
from prudent.separation import separations

SIZE = 512
NETWORK = "network"


def strangers(options: Mapping[str, Any], inputs: Mapping[str, Input]) -> Made:
    """How well every detector, fitted to this network, tells each set of strangers from the task.

    Args:
        options: data, model, sets (name, options and scaled of each; see `foreign_sets`), detectors, fitted, examples
            (both None for all).
        inputs: network.

    Returns: outputs known (test examples) and ood-NAME for each set, safetensors files of `Predictions`; values
    separations (detector, strangers, values, note of each).

    Raises:
        BadInput: strangers that are among the examples of the task.
    """
    data = data_of(options)
    model = module_of(network_of(inputs["network"], architecture_of(options, data)))
    known = some_of(data.test, options["examples"]).batches(SIZE)
    sets = {one.name: one.examples.batches(SIZE) for one in foreign_sets(options, data)}
    found = separations(
        {NETWORK: model},
        some_of(data.train, options["fitted"]).batches(SIZE),
        known,
        sets,
        detectors=options["detectors"],
    )
    outputs = {f"ood-{name}": predictions_to_bytes(predict(model, batches)) for name, batches in sets.items()}
    outputs["known"] = predictions_to_bytes(predict(model, known))
    rows = [{key: value for key, value in asdict(one).items() if key != NETWORK} for one in found]
    return Made(outputs=outputs, values={"separations": rows})
