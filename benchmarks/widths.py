"""What half of the channels pays: a pass in ONNX Runtime, and a step of training, beside the dense network."""

import torch
from torch import nn
from torch.nn.functional import cross_entropy

import prudent
from benchmarks import Row, alternate
from benchmarks.architectures import resnet_50, vit_small
from prudent.building import build
from prudent.network import macs
from prudent.runtimes import Work, starter

TURNS = 7


def run() -> list[Row]:
    """Rows for both, and for a ResNet-20."""
    example = torch.rand(2, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    large, small = resnet_50(), build("resnet_cifar", (3, 32, 32), 10, seed=0, options={})
    tiny = torch.rand(64, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    half, less = halved(large, example), halved(small, tiny[:2])
    rows = [inference("ResNet-50", half, large, example), inference("ViT-S", *pair(vit_small(), example), example)]
    return [
        *rows,
        retraining("ResNet-50, 2 images of 224 x 224", half, large, example, promise=0.7),
        retraining("ResNet-20, 64 images of 32 x 32", less, small, tiny, promise=0.5),
    ]


def halved(model: nn.Module, example: torch.Tensor) -> nn.Module:
    """Half of the channels of each layer less; those that a LayerNorm reads as well."""
    pruned = prudent.prune(
        model, sparsity=0.5, granularity="channel", scope="layer", example=example, changing=True
    )  # fmt: skip
    return prudent.shrink(pruned, example).model


def pair(model: nn.Module, example: torch.Tensor) -> tuple[nn.Module, nn.Module]:
    """The smaller network and the dense one."""
    return halved(model, example), model


def inference(name: str, small: nn.Module, dense: nn.Module, example: torch.Tensor) -> Row:
    """One image in ONNX Runtime."""
    works = [starter(model, example, "onnxruntime")(example[:1], 1) for model in (small, dense)]
    return _row(f"{name} at half width, a pass in ONNX Runtime", works, small, dense, example, promise=0.8)


def retraining(name: str, small: nn.Module, dense: nn.Module, inputs: torch.Tensor, *, promise: float) -> Row:
    """One step of SGD, forward and backward pass included."""
    works = [_step(model, inputs) for model in (small, dense)]
    return _row(f"{name}: a training step at half width", works, small, dense, inputs, promise=promise)


def _step(model: nn.Module, inputs: torch.Tensor) -> Work:
    labels = torch.arange(len(inputs)) % 10
    model.train()
    method = torch.optim.SGD(model.parameters(), lr=0.001)

    def step() -> None:
        method.zero_grad()
        cross_entropy(model(inputs), labels).backward()
        method.step()

    return step


def _row(
    work: str, works: list[Work], small: nn.Module, dense: nn.Module, example: torch.Tensor, *, promise: float
) -> Row:
    ratio = macs(dense, example[:1]) / macs(small, example[:1])
    for warm in works:
        warm()
    ours, other = alternate(*works, turns=TURNS)
    paid = other / ours / ratio
    return Row(
        work=work, beside="the dense network", seconds=ours, other=other,
        promise=f">= {promise:g} of the ratio of multiply-accumulates", kept=paid >= promise,
        note=f"ratio {ratio:.2f}, measured {paid:.2f} of it",
    )  # fmt: skip
