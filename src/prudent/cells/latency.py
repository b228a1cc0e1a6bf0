"""Time one network beside the dense one."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from prudent.cells import Input, Made
from prudent.cells._shared import architecture_of, data_of, example_of, module_of, network_of
from prudent.latency import measure


def latency(options: Mapping[str, Any], inputs: Mapping[str, Input]) -> Made:
    """Measured time of a network, turn by turn with the dense network of the same seed, in PyTorch eager mode.

    Args:
        options: data, model, batch (examples in a pass), turns.
        inputs: dense, network.

    Returns: values milliseconds, beside, speedup, lo, hi (see prudent.latency.Latency). They differ from run to run.
    """
    data = data_of(options)
    architecture, example = architecture_of(options, data), example_of(data, options["batch"])
    network, dense = (module_of(network_of(inputs[name], architecture)) for name in ("network", "dense"))
    return Made(values=asdict(measure(network, dense, example, turns=options["turns"], threads=1)))
