"""What several kinds of cells do alike: data, architecture, training and networks from settings."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from prudent.assembling import Architecture
from prudent.assessment import loss_and_error
from prudent.budgets import macs_left
from prudent.cells import Input
from prudent.corrupting import SEVERITIES
from prudent.masks import Mask
from prudent.network import macs_by_layer
from prudent.networks import DESCRIPTION, NUMBERS, Saved, pack, unpack
from prudent.objectives import OBJECTIVES
from prudent.pruning import Pruned
from prudent.sources import load_data
from prudent.splits import Data
from prudent.training import Epoch, best_epoch, train
from prudent.upkeep import Revise

Options = Mapping[str, Any]


def data_of(options: Options) -> Data:
    """The data set that the settings name."""
    return load_data(options["data"]["name"], options["data"]["options"])


def architecture_of(options: Options, data: Data) -> Architecture:
    """The architecture that the settings name, for these data."""
    model = options["model"]
    return Architecture(name=model["name"], shape=data.shape, classes=len(data.classes), options=model["options"])


def trained(
    model: nn.Module,
    data: Data,
    recipe: Options,
    *,
    seed: int,
    mask: Mask | None = None,
    on_step: Revise | None = None,
) -> tuple[nn.Module, list[Epoch]]:
    """The network trained by a recipe of a study, and what each epoch came to.

    With patience, the validation split chooses the epoch that is kept.
    """
    history: list[Epoch] = []
    own = recipe.get("objective_options") or {}
    result = train(
        model,
        data.train.batches(recipe["batch_size"]),
        epochs=recipe["epochs"],
        lr=recipe["lr"],
        optimizer=recipe["optimizer"],
        momentum=recipe["momentum"],
        weight_decay=recipe["weight_decay"],
        schedule=recipe["schedule"],
        mask=mask,
        validation=data.validation.batches() if recipe["patience"] is not None else None,
        patience=recipe["patience"],
        corruptions=recipe.get("corruptions") or (),
        severities=recipe.get("severities") or SEVERITIES,
        label_noise=recipe.get("label_noise") or 0.0,
        objective=OBJECTIVES.call(recipe["objective"], **own) if "objective" in recipe else None,
        seed=seed,
        on_epoch=history.append,
        on_step=on_step,
    )
    return result, history


def example_of(data: Data, size: int = 8) -> Tensor:
    """A few training inputs."""
    return torch.from_numpy(data.train.inputs[:size])


def network_of(made: Input, architecture: Architecture) -> Saved:
    """The network that another cell made, of the architecture that the settings name: not of one that a file names."""
    return unpack({name: made.read(name) for name in (DESCRIPTION, NUMBERS)}, build=architecture.build)


def module_of(network: Saved) -> nn.Module:
    """The module to run."""
    return network if isinstance(network, nn.Module) else network.model


def sizes(network: Saved, data: Data, files: Mapping[str, bytes]) -> dict[str, Any]:
    """Bytes on disk, and multiply-accumulates of one example: executed, and with removed weights counted as no work."""
    layers = macs_by_layer(module_of(network), example_of(data, 1))
    executed = sum(layers.values())
    needed = macs_left(network.model, network.mask, example_of(data, 1)) if isinstance(network, Pruned) else executed
    return {
        "bytes": sum(len(content) for content in files.values()),
        "macs": executed,
        "macs_needed": needed,
    }


def packed(network: Saved, architecture: Architecture) -> dict[str, bytes]:
    """The files of a network that can be loaded without being told its architecture."""
    return pack(network, architecture=architecture)


def training_values(model: nn.Module, data: Data, history: list[Epoch]) -> dict[str, Any]:
    """How training went: its epochs ([loss, error] each), the one that was kept, and the final fit to the examples.

    `train_loss` and `train_error` are those of the finished network in evaluation mode on the training examples, so
    that the gap to the test split is one of examples and not of dropout.
    """
    loss, error = loss_and_error(model, data.train.batches(512))
    early = bool(history) and history[0].validation_loss is not None
    return {
        "history": [[epoch.loss, epoch.error] for epoch in history],
        "best_epoch": best_epoch(history).index if early else None,
        "train_loss": loss,
        "train_error": error,
    }
