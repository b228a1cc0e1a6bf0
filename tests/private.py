"""Methods of somebody's own, as a study file names them: package.module:callable."""

from dataclasses import replace

import numpy as np
import torch
from torch import nn

from prudent.network import prunable
from prudent.splits import partition


def own_network(width: int = 5, classes: int = 3) -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(2, width), nn.ReLU(), nn.Linear(width, classes))[1:]


def no_network() -> dict:
    return {}


def own_score(model, batches):
    return {name: weight.detach() ** 2 for name, weight in prunable(model).items()}


def own_data(*, n: int = 200, spoil: str = "", unlabelled: str = ""):
    rng = np.random.default_rng(0)
    inputs = rng.normal(size=(n, 2)).astype(np.float32)
    labels = (inputs[:, 0] > 0).astype(np.int64) + (inputs[:, 1] > 0)
    if spoil == "nan":
        inputs[3, 0] = np.nan
    if spoil == "labels":
        labels[5] = 17
    data = partition(
        inputs,
        labels,
        name="own",
        classes=("a", "b", "c"),
        validation=20,
        certification=60,
        test=40,
        seed=0,
        about="own",
    )
    if not unlabelled:
        return data
    return replace(data, splits=data.splits | {unlabelled: replace(data.splits[unlabelled], labels=None)})


def slow_network(classes: int = 3) -> nn.Module:
    return nn.Sequential(nn.Linear(2, 4), nn.ReLU(), nn.Dropout(0.3), nn.Linear(4, classes))


def exploding_score(model, batches):
    raise RuntimeError("this score does not work\nand says so at length")


class Lazy(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x
