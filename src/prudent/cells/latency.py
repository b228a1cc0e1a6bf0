"""Time one network beside the dense one."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from prudent.cells import Input, Made
from prudent.cells._shared import data_of, example_of, module_of, network_of
from prudent.latency import measure


def latency(options: Mapping[str, Any], inputs: Mapping[str, Input]) -> Made:
    """Measured time of a network, turn by turn with the dense network of the same seed, in PyTorch eager mode.

    Args:
        options: data, batch (examples in a pass), turns.
        inputs: dense, network.

    Returns: values milliseconds, beside, speedup, lo, hi (see prudent.latency.Latency). They differ from run to run.
    """
    example = example_of(data_of(options), options["batch"])
    network, dense = (module_of(network_of(inputs[name])) for name in ("network", "dense"))
    return Made(values=asdict(measure(network, dense, example, turns=options["turns"], threads=1)))
