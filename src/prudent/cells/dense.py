"""Train the dense network."""

from collections.abc import Mapping
from typing import Any

from prudent.building import build
from prudent.cells import Input, Made
from prudent.cells._shared import architecture_of, data_of, packed, sizes, trained, training_values
from prudent.errors import BadInput
from prudent.network import fingerprint, parameters
from prudent.networks import NUMBERS, pack
from prudent.upkeep import Step

INITIAL = "initial.safetensors"


def checkpoint(step: int) -> str:
    """Name of the file with the weights after so many steps."""
    return f"step-{step}.safetensors"


def dense(options: Mapping[str, Any], inputs: Mapping[str, Input]) -> Made:  # noqa: ARG001 (a dense network has none)
    """The unpruned network of one seed: its initial weights, its trained weights and how training went.

    Args:
        options: data, model, training, seed, checkpoints (after which steps the weights are kept).
        inputs: none.

    Returns: outputs network.json, network.safetensors, initial.safetensors, step-N.safetensors for each checkpoint N;
    values fingerprint, parameters, bytes, macs, history, best_epoch, train_loss, train_error.

    Raises:
        BadInput: training is shorter than a checkpoint.
    """
    data = data_of(options)
    architecture = architecture_of(options, data)
    seed = options["seed"]
    initial = build(architecture.name, data.shape, len(data.classes), seed=seed, options=dict(architecture.options))
    kept: dict[str, bytes] = {INITIAL: pack(initial)[NUMBERS]}

    def keep(step: Step) -> None:
        if step.index + 1 in options["checkpoints"]:
            kept[checkpoint(step.index + 1)] = pack(step.model)[NUMBERS]

    network, history = trained(
        initial, data, options["training"], seed=seed, on_step=keep if options["checkpoints"] else None
    )  # fmt: skip
    absent = [step for step in options["checkpoints"] if checkpoint(step) not in kept]
    if absent:
        raise BadInput(f"training ended before step {absent[0]}, to which a method rewinds: lower its rewind_step")
    files = packed(network, architecture)
    return Made(
        outputs={**files, **kept},
        values={
            "fingerprint": fingerprint(network),
            "parameters": parameters(network),
            **training_values(network, data, history),
            **sizes(network, data, files),
        },
    )
