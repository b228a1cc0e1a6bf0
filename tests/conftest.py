"""What several tests use: reference vectors, small networks, small predictions."""

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jaxtyping
import numpy as np
import pytest
import torch
from torch import Tensor, nn

from prudent.batches import Batches
from prudent.types import Predictions

# no test may reach for the network; the hub's client reads this when it is first imported
os.environ["HF_HUB_OFFLINE"] = "1"

VECTORS = {v["name"]: v for v in json.loads((Path(__file__).parent / "oracles.json").read_text())["vectors"]}


@pytest.fixture(autouse=True)
def _one_thread():
    torch.set_num_threads(1)


@pytest.fixture
def unchecked() -> Iterator[None]:
    """Types are not checked on a call, as for users: what refuses a wrong word then is prudent itself."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


@pytest.fixture
def oracle() -> Callable[[str], dict[str, Any]]:
    return lambda name: VECTORS[name]


def vectors(group: str, prefix: str = "") -> list[dict[str, Any]]:
    """Reference vectors of a group, computed independently with numpy, scipy and mpmath."""
    return [v for v in VECTORS.values() if v["group"] == group and v["name"].startswith(prefix)]


def chain(*, norm: bool = False) -> nn.Sequential:
    """A plain network with two convolutions, two linear layers and dropout, for 1x8x8 inputs and 3 classes."""
    torch.manual_seed(0)
    middle: list[nn.Module] = [nn.BatchNorm2d(6) if norm else nn.Identity()]
    model = nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(4, 6, 3, padding=1), *middle, nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
        nn.Linear(24, 10), nn.ReLU(), nn.Dropout(0.5), nn.Linear(10, 3),
    )  # fmt: skip
    if norm:
        norm_layer = model[4]
        assert isinstance(norm_layer, nn.BatchNorm2d)
        with torch.no_grad():
            for values in (norm_layer.weight, norm_layer.bias, norm_layer.running_mean):
                values.copy_(torch.randn(6))
            norm_layer.running_var.copy_(torch.rand(6) + 0.5)
    return model


def normalised() -> nn.Sequential:
    """The same with a batch normalisation after every layer but the last."""
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(4, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
        nn.Linear(24, 10), nn.BatchNorm1d(10), nn.ReLU(), nn.Dropout(0.5), nn.Linear(10, 3),
    )  # fmt: skip
    with torch.no_grad():
        for at in (1, 5, 10):
            for values in (model[at].weight, model[at].bias):
                values.copy_(torch.randn(len(values)))
    return model


def images(n: int = 60, *, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Images whose class is which third is brightest: easy to learn."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, 3, (n,), generator=generator)
    inputs = torch.rand(n, 1, 8, 8, generator=generator) * 0.5
    for i, label in enumerate(labels.tolist()):
        inputs[i, 0, :, 2 * label : 2 * label + 3] += 0.7
    return inputs, labels


def batches(n: int = 60, *, size: int = 16, split: Any = "train", seed: int = 0) -> Batches:
    inputs, labels = images(n, seed=seed)
    return Batches(inputs=inputs, labels=labels, size=size, split=split)


def predictions(
    n: int = 50, classes: int = 4, *, members: int | None = None, seed: int = 0, split: Any = "test", scale: float = 2.0
) -> Predictions:
    """Random predictions with labels."""
    rng = np.random.default_rng(seed)
    shape = (n, classes) if members is None else (members, n, classes)
    logits = rng.normal(size=shape).astype(np.float32) * np.float32(scale)
    return Predictions(logits=logits, labels=rng.integers(0, classes, n), split=split)


def snapshot(model: nn.Module) -> dict[str, Any]:
    """Everything about a network that a caller could notice: weights, gradients, modes, hooks, random state."""
    return {
        "state": {k: v.clone() for k, v in model.state_dict().items()},
        "grads": {k: None if p.grad is None else p.grad.clone() for k, p in model.named_parameters()},
        "requires": {k: p.requires_grad for k, p in model.named_parameters()},
        "modes": [m.training for m in model.modules()],
        "hooks": [len(m._forward_hooks) + len(m._backward_hooks) + len(m._forward_pre_hooks) for m in model.modules()],
        "rng": torch.get_rng_state(),
        "ids": [id(p) for p in model.parameters()],
    }


def assert_untouched(model: nn.Module, before: dict[str, Any]) -> None:
    after = snapshot(model)
    for part in ("state", "grads"):
        assert before[part].keys() == after[part].keys()
        for name, value in before[part].items():
            now = after[part][name]
            assert (value is None) == (now is None), f"{part} of {name} changed"
            assert value is None or torch.equal(value, now), f"{part} of {name} changed"
    for part in ("requires", "modes", "hooks", "ids"):
        assert before[part] == after[part], f"{part} changed"
    assert torch.equal(before["rng"], after["rng"]), "the global random generator moved"


Call = Callable[..., tuple[int, str, str]]
"""Words of a command line -> its status, and what it wrote."""


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str]) -> Call:
    """The command line, in this process."""
    from prudent.cli import run

    def one(*arguments: object) -> tuple[int, str, str]:
        status = run([str(argument) for argument in arguments])
        out, err = capsys.readouterr()
        return status, out, err

    return one


def refused(call: Call, *arguments: object) -> str:
    """The one line by which a command is refused."""
    status, _, err = call(*arguments)
    assert status == 2, err
    assert len(err.splitlines()) == 1, err
    return err
