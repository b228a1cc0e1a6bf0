"""Prune a network to one sparsity and train what is left."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from prudent.cells import Input, Made
from prudent.cells._masking import masked_network
from prudent.cells._shared import (
    architecture_of,
    data_of,
    example_of,
    packed,
    sizes,
    trained,
    training_values,
)
from prudent.errors import BadInput
from prudent.masks import Mask
from prudent.network import fingerprint, parameters
from prudent.networks import kept_parameters
from prudent.pruning import Pruned
from prudent.schedules import SCHEDULES
from prudent.scopes import count
from prudent.splits import Data
from prudent.surgery.shrinking import Shrunk, shrink
from prudent.training import Epoch
from prudent.upkeep import Step


def pruned(options: Mapping[str, Any], inputs: Mapping[str, Input]) -> Made:
    """One network at one sparsity.

    Scores are taken on `parent` (the previous sparsity, for iterative pruning) or on the dense network; then the
    survivors keep their weights, go back to earlier ones, or are drawn anew, and are trained. Channels and heads are
    cut out before training, so that the network that is trained is the smaller one. Under the schedules "gradual",
    "set" and "rigl" the mask changes during that training.

    Args:
        options: data, model, training, seed, sparsity, and of the method what prudent.settings.Method lists.
        inputs: dense; parent for iterative pruning; like, whose mask a control copies.

    Returns: outputs network.json, network.safetensors; values fingerprint, sparsity, parameters, bytes, macs,
    layers (units before and after), history, best_epoch, train_loss, train_error, and for channels and heads the
    proof's difference.

    Source: Frankle, Carbin 2019, "The Lottery Ticket Hypothesis", arXiv:1803.03635, for rewinding to the start;
    Frankle et al. 2020, arXiv:1912.05671, to an early step; Renda et al. 2020, arXiv:2003.02389, of learning rates.
    """
    data = data_of(options)
    architecture = architecture_of(options, data)
    masked = masked_network(options, inputs, data, architecture)
    values: dict[str, Any] = {}
    network: Pruned | Shrunk
    if masked.mask.granularity == "channel" or masked.mask.cover is not None:
        small = shrink(masked, example_of(data))
        module, history = trained(small.model, data, options["training"], seed=options["seed"])
        network = replace(small, model=module)
        values["proof"] = small.proof.difference
    elif options["schedule"] in SCHEDULES:
        network, history = _trained_with_schedule(masked, data, options)
    else:
        module, history = trained(masked.model, data, options["training"], seed=options["seed"], mask=masked.mask)
        network = replace(masked, model=module)
    module = network.model
    files = packed(network, architecture)
    values |= {
        "fingerprint": fingerprint(module),
        "sparsity": network.mask.sparsity,
        "parameters": kept_parameters(network),
        "stored_parameters": parameters(module),
        "layers": {
            name.removesuffix(".weight"): [kept.numel(), int(kept.sum())] for name, kept in network.mask.kept.items()
        },
        **training_values(module, data, history),
        **sizes(network, data, files),
    }
    return Made(outputs=files, values=values)


def _trained_with_schedule(masked: Pruned, data: Data, options: Mapping[str, Any]) -> tuple[Pruned, list[Epoch]]:
    """The network trained while the schedule changes its mask."""
    own = options["schedule_options"]
    revise = SCHEDULES.call(options["schedule"], options["sparsity"], seed=options["seed"], **own)
    mask = masked.mask
    last = [mask]

    def follow(step: Step) -> Mask | None:
        revised: Mask | None = revise(step)
        if revised is not None:
            last.append(revised)
        return revised

    module, history = trained(
        masked.model, data, options["training"], seed=options["seed"], mask=mask, on_step=follow
    )  # fmt: skip
    wanted = count(options["sparsity"], mask.total)
    if last[-1].total - last[-1].remaining != wanted:
        raise BadInput(
            f"schedule {options['schedule']!r} came to {last[-1].sparsity:.4g} of {options['sparsity']:g} sparsity "
            "before training ended: train longer, or let it end earlier"
        )
    return replace(masked, model=module, mask=last[-1]), history
