"""What several kinds of cells do alike: data, architecture, training and networks from settings."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from prudent.cells import Input
from prudent.masks import Mask
from prudent.network import macs_by_layer
from prudent.networks import DESCRIPTION, NUMBERS, Architecture, Saved, pack, unpack
from prudent.sources import load_data
from prudent.splits import Data
from prudent.training import Epoch, train

Options = Mapping[str, Any]


def data_of(options: Options) -> Data:
    """The data set that the settings name."""
    return load_data(options["data"]["name"], options["data"]["options"])


def architecture_of(options: Options, data: Data) -> Architecture:
    """The architecture that the settings name, for these data."""
    model = options["model"]
    return Architecture(name=model["name"], shape=data.shape, classes=len(data.classes), options=model["options"])


def trained(
    model: nn.Module, data: Data, recipe: Options, *, seed: int, mask: Mask | None = None
) -> tuple[nn.Module, list[Epoch]]:
    """The network trained by a recipe of a study, and what each epoch came to."""
    history: list[Epoch] = []
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
        seed=seed,
        on_epoch=history.append,
    )
    return result, history


def example_of(data: Data, size: int = 8) -> Tensor:
    """A few training inputs."""
    return torch.from_numpy(data.train.inputs[:size])


def network_of(made: Input) -> Saved:
    """The network that another cell made."""
    return unpack({name: made.read(name) for name in (DESCRIPTION, NUMBERS)})


def module_of(network: Saved) -> nn.Module:
    """The module to run."""
    return network if isinstance(network, nn.Module) else network.model


def sizes(network: Saved, data: Data, files: Mapping[str, bytes]) -> dict[str, Any]:
    """Bytes on disk, and multiply-accumulates of one example: executed, and with removed weights counted as no work."""
    layers = macs_by_layer(module_of(network), example_of(data, 1))
    mask = network.mask if not isinstance(network, nn.Module) and network.mask.granularity == "weight" else None
    needed = 0.0
    for name, count in layers.items():
        kept = mask.kept.get(f"{name}.weight") if mask is not None else None
        needed += count if kept is None else count * int(kept.sum()) / kept.numel()
    return {
        "bytes": sum(len(content) for content in files.values()),
        "macs": sum(layers.values()),
        "macs_needed": round(needed),
    }


def packed(network: Saved, architecture: Architecture) -> dict[str, bytes]:
    """The files of a network that can be loaded without being told its architecture."""
    return pack(network, architecture=architecture)


def as_values(history: list[Epoch]) -> list[list[float]]:
    """Training history as JSON: [loss, error] for each epoch."""
    return [[epoch.loss, epoch.error] for epoch in history]
