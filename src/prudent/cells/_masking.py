"""From the settings of a method to the masked network that training starts from."""

import copy
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from safetensors.torch import load as load_tensors
from torch import nn

from prudent.assembling import Architecture
from prudent.building import build
from prudent.cells import Input
from prudent.cells._shared import example_of, module_of, network_of
from prudent.cells.dense import INITIAL, checkpoint
from prudent.controls import controlled
from prudent.errors import BadInput
from prudent.granularities import removed_elements, zero
from prudent.masks import Mask
from prudent.network import prunable
from prudent.pruning import Pruned, prune
from prudent.seeds import stream
from prudent.splits import Data
from prudent.surgery.plans import expand
from prudent.surgery.shrinking import Shrunk

Options = Mapping[str, Any]
Inputs = Mapping[str, Input]


def masked_network(options: Options, inputs: Inputs, data: Data, architecture: Architecture) -> Pruned:
    """The masked network of one method at one sparsity, with the weights that training starts from."""
    masked = _chosen(options, inputs, data, architecture)
    if options["schedule"] == "gradual":  # nothing is gone at first: it goes while the network trains
        scored, _ = _source(inputs, architecture, initial=options["scored"] == "initial")
        masked = replace(masked, model=scored, mask=everything(scored), score="magnitude")
    return replace(masked, model=_start(masked, architecture, options, inputs))


def _chosen(options: Options, inputs: Inputs, data: Data, architecture: Architecture) -> Pruned:
    scored, within = _source(inputs, architecture, initial=options["scored"] == "initial")
    like = _mask_of(inputs["like"], architecture) if "like" in inputs else None
    control = options["control"]
    if like is not None and control in ("shuffled", "reinit"):
        mask = controlled(control, like, {}, seed=options["seed"])
        start = copy.deepcopy(scored)
        zero(start, removed_elements(start, mask))
        return Pruned(model=start, mask=mask, score=control, scope="like", requested=options["sparsity"])
    return _pruned(scored, options, data, within=within, like=like)


def _pruned(scored: nn.Module, options: Options, data: Data, *, within: Mask | None, like: Mask | None) -> Pruned:
    during = options["schedule"] in ("set", "rigl")
    random = during or options["control"] == "random"
    return prune(
        scored,
        sparsity=None if options["pattern"] or options["fractions"] else options["sparsity"],
        fractions=options["fractions"],
        score="random" if random else options["score"],
        options={} if random else options["options"],
        granularity=options["granularity"],
        pattern=options["pattern"] and tuple(options["pattern"]),
        block=options["block"] and tuple(options["block"]),
        reduction=options["reduction"],
        layers=options["layers"],
        scope=options["scope"],
        minimum=options["minimum"],
        control="inverted" if options["control"] == "inverted" else None,
        batches=data.train.batches(),
        example=example_of(data),
        within=within,
        like=like,
        seed=options["seed"],
    )


def everything(model: nn.Module) -> Mask:
    """The mask of single weights that removes nothing."""
    return Mask(
        kept={name: torch.ones(weight.shape, dtype=torch.bool) for name, weight in prunable(model).items()},
        granularity="weight",
    )


def _source(inputs: Inputs, architecture: Architecture, *, initial: bool) -> tuple[nn.Module, Mask | None]:
    """The network whose weights are scored, of the original shape, and what it has lost already."""
    dense = module_of(network_of(inputs["dense"], architecture))
    if initial:
        dense.load_state_dict(load_tensors(inputs["dense"].read(INITIAL)))
    if "parent" not in inputs:
        return dense, None
    parent = network_of(inputs["parent"], architecture)
    if not isinstance(parent, (Pruned, Shrunk)):
        raise BadInput("the parent of an iterative step must be a pruned network; got another one")
    if isinstance(parent, Shrunk):
        return expand(parent.model, dense, parent.plan), parent.mask
    return parent.model, parent.mask


def _mask_of(made: Input, architecture: Architecture) -> Mask:
    network = network_of(made, architecture)
    if not isinstance(network, (Pruned, Shrunk)):
        raise BadInput("the network whose layer counts are copied must be a pruned one; got another one")
    return network.mask


def _start(masked: Pruned, architecture: Architecture, options: Options, inputs: Inputs) -> nn.Module:
    """The masked network with the weights that training starts from."""
    rewind = "reinit" if options["control"] == "reinit" else options["rewind"]
    if rewind in ("none", "learning_rate"):
        return masked.model
    shape, classes, own = architecture.shape, architecture.classes, dict(architecture.options)
    fresh = stream("fresh weights", options["seed"])  # not those that the dense network started from
    start = build(architecture.name, shape, classes, seed=fresh, options=own)
    if rewind in ("init", "step"):
        kept = INITIAL if rewind == "init" else checkpoint(options["rewind_step"])
        start.load_state_dict(load_tensors(inputs["dense"].read(kept)))
    zero(start, removed_elements(start, masked.mask))
    return start
