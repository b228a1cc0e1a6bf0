"""What a case of the zoo is, and how its network and its example inputs are made."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

Expect = Literal["exact", "changing", "partly", "refused"]


@dataclass(frozen=True, kw_only=True)
class Case:
    """One network, an example to run it on, and what a perfect tool would answer.

    A layer is named by its module, or by its parameter where a module uses one raw; names are patterns of `fnmatch`.
    A layer that is in none of the three lists has no hidden units: it makes the network's output, or nothing.

    Args:
        name: unique among the cases.
        build: makes the network, the same each time, in training mode; the global random state stays as it is.
        args: makes the positional inputs, a batch of two.
        kwargs: makes the keyword inputs.
        expect: "exact": every hidden unit can be removed, and the smaller network computes what the masked one does;
            "changing": some only with an opt-in, because a normalisation over units (or a mean) changes;
            "partly": some must stay, with a reason; "refused": all must stay.
        why: what goes together, what stays, and the reason.
        exact: layers whose output units can be removed exactly.
        changing: layers whose output units can be removed with the opt-in.
        frozen: layers whose output units must stay.
        exports: whether torch.export.export takes the network in evaluation mode, with strict=False.
    """

    name: str
    build: Callable[[], nn.Module]
    args: Callable[[], tuple[Any, ...]]
    expect: Expect
    why: str
    kwargs: Callable[[], dict[str, Any]] = dict
    exact: tuple[str, ...] = ()
    changing: tuple[str, ...] = ()
    frozen: tuple[str, ...] = ()
    exports: bool = True


def randomised(make: Callable[[], nn.Module], *, seed: int = 0) -> nn.Module:
    """A network with no number at a neutral value: where a statistic or a bias were 0 or 1, mistakes would not show."""
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(seed)
        model = make()
        for module in model.modules():
            is_norm = "Norm" in type(module).__name__
            for name, value in module.named_parameters(recurse=False):
                if is_norm and name == "weight":
                    value.uniform_(0.5, 1.5)
                elif "bias" in name:
                    value.normal_(0.3 if is_norm else 0.0, 0.3)  # so that rectifiers behind it are mostly open
            for name, value in module.named_buffers(recurse=False):
                if name == "running_mean":
                    value.normal_(0.0, 0.3)
                elif name == "running_var":
                    value.uniform_(0.5, 1.5)
    return model


def normal(*shapes: tuple[int, ...]) -> Callable[[], tuple[Tensor, ...]]:
    """Inputs of these shapes from a standard normal distribution, the same each time."""

    def make() -> tuple[Tensor, ...]:
        generator = torch.Generator().manual_seed(7)
        return tuple(torch.randn(shape, generator=generator) for shape in shapes)

    return make


def tokens(vocabulary: int, *shape: int) -> Callable[[], tuple[Tensor, ...]]:
    """One input of whole numbers below `vocabulary`, the same each time."""

    def make() -> tuple[Tensor, ...]:
        return (torch.randint(0, vocabulary, shape, generator=torch.Generator().manual_seed(7)),)

    return make


def conv_bn(inputs: int, outputs: int, size: int = 3, *, stride: int = 1, groups: int = 1) -> nn.Sequential:
    """A convolution that keeps the picture's size, and its batch normalisation."""
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, size, stride, size // 2, groups=groups, bias=False), nn.BatchNorm2d(outputs)
    )
