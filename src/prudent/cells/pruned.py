"""Prune a network to one sparsity and train what is left."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from safetensors.torch import load as load_tensors
from torch import nn

from prudent.building import build
from prudent.cells import Input, Made
from prudent.cells._shared import (
    architecture_of,
    as_values,
    data_of,
    example_of,
    module_of,
    network_of,
    packed,
    sizes,
    trained,
)
from prudent.cells.dense import INITIAL
from prudent.errors import BadInput
from prudent.masks import Mask, removed_elements, zero
from prudent.network import fingerprint, parameters
from prudent.networks import Architecture, kept_parameters
from prudent.pruning import Pruned, prune
from prudent.seeds import stream
from prudent.surgery.cutting import expand
from prudent.surgery.shrinking import Shrunk, shrink


def pruned(options: Mapping[str, Any], inputs: Mapping[str, Input]) -> Made:
    """One network at one sparsity.

    Scores are taken on `parent` (the previous sparsity, for iterative pruning) or on the dense network; then the
    survivors keep their weights, return to their initial ones, or are drawn anew, and are trained. Channels are cut out
    before training, so that the network that is trained is the smaller one.

    Args:
        options: data, model, training, seed, sparsity, score, granularity, scope, rewind ("none", "init", "reinit").
        inputs: dense; parent for iterative pruning; like, whose layer counts the control copies.

    Returns: outputs network.json, network.safetensors; values fingerprint, sparsity, parameters, bytes, macs,
    layers (units before and after), history, and for channels the proof's difference.

    Source: Frankle, Carbin 2019, "The Lottery Ticket Hypothesis", arXiv:1803.03635, for rewinding.
    """
    data = data_of(options)
    architecture = architecture_of(options, data)
    scored, within = _source(inputs)
    masked = prune(
        scored,
        sparsity=options["sparsity"],
        score=options["score"],
        granularity=options["granularity"],
        scope=options["scope"],
        batches=data.train.batches(),
        within=within,
        like=_mask_of(inputs["like"]) if "like" in inputs else None,
        seed=options["seed"],
    )
    masked = replace(masked, model=_start(masked, architecture, options, inputs))
    values: dict[str, Any] = {}
    if masked.mask.granularity == "channel":
        small = shrink(masked, example_of(data))
        module, history = trained(small.model, data, options["training"], seed=options["seed"])
        network: Pruned | Shrunk = replace(small, model=module)
        values["proof"] = small.proof.difference
    else:
        module, history = trained(masked.model, data, options["training"], seed=options["seed"], mask=masked.mask)
        network = replace(masked, model=module)
    files = packed(network, architecture)
    values |= {
        "fingerprint": fingerprint(module),
        "sparsity": network.mask.sparsity,
        "parameters": kept_parameters(network),
        "stored_parameters": parameters(module),
        "layers": {
            name.removesuffix(".weight"): [kept.numel(), int(kept.sum())] for name, kept in network.mask.kept.items()
        },
        "history": as_values(history),
        **sizes(network, data, files),
    }
    return Made(outputs=files, values=values)


def _source(inputs: Mapping[str, Input]) -> tuple[nn.Module, Mask | None]:
    """The network whose weights are scored, of the original shape, and what it has lost already."""
    dense = module_of(network_of(inputs["dense"]))
    if "parent" not in inputs:
        return dense, None
    parent = network_of(inputs["parent"])
    if isinstance(parent, nn.Module):
        raise BadInput("the parent of an iterative step must be a pruned network; got a plain one")
    if isinstance(parent, Shrunk):
        return expand(parent.model, dense, parent.plan), parent.mask
    return parent.model, parent.mask


def _mask_of(made: Input) -> Mask:
    network = network_of(made)
    if isinstance(network, nn.Module):
        raise BadInput("the network whose layer counts are copied must be a pruned one; got a plain one")
    return network.mask


def _start(
    masked: Pruned, architecture: Architecture, options: Mapping[str, Any], inputs: Mapping[str, Input]
) -> nn.Module:
    """The masked network with the weights that training starts from."""
    if options["rewind"] == "none":
        return masked.model
    shape, classes, own = architecture.shape, architecture.classes, dict(architecture.options)
    fresh = stream("fresh weights", options["seed"])  # not those that the dense network started from
    start = build(architecture.name, shape, classes, seed=fresh, options=own)
    if options["rewind"] == "init":
        start.load_state_dict(load_tensors(inputs["dense"].read(INITIAL)))
    zero(start, removed_elements(start, masked.mask))
    return start
