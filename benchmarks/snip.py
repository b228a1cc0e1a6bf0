"""SNIP on ResNet-20: one pass over the data for all layers, beside one pass of training and one pass for each layer."""

import torch
from torch.nn.functional import cross_entropy

from benchmarks import Row, alternate
from prudent.batches import Batches
from prudent.models.resnet_cifar import resnet_cifar
from prudent.network import prunable
from prudent.scores.snip import snip

EXAMPLES = 256


def run() -> list[Row]:
    torch.manual_seed(0)
    model = resnet_cifar((3, 32, 32), 10, depth=20)
    inputs, labels = torch.rand(EXAMPLES, 3, 32, 32), torch.randint(0, 10, (EXAMPLES,))
    batches = Batches(inputs=inputs, labels=labels, size=128)
    weights = list(prunable(model).values())

    def one_pass(wanted: list[torch.nn.Parameter]) -> None:
        for part, own in batches:
            torch.autograd.grad(cross_entropy(model(part), own), wanted)

    def for_each_layer() -> None:
        for weight in weights:
            one_pass([weight])

    ours, floor = alternate(lambda: snip(model, batches), lambda: one_pass(weights), turns=5)
    again, peer = alternate(lambda: snip(model, batches), for_each_layer, turns=1)
    work = f"SNIP of ResNet-20, {EXAMPLES} examples"
    return [
        Row(
            work=work, beside="one forward and backward pass (the floor)", seconds=ours, other=floor,
            promise="one pass: >= 0.8x", kept=floor / ours >= 0.8,
        ),
        Row(
            work=work, beside=f"a pass for each of the {len(weights)} layers, as torchprune", seconds=again, other=peer,
            promise=">= 5x faster", kept=peer / again >= 5,
        ),
    ]  # fmt: skip
