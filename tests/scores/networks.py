"""Networks that are deeper or odder than a chain."""

import torch
from torch import Tensor, nn
from torch.nn.functional import relu


class Block(nn.Module):
    """A residual block of two convolutions; where the shape changes, the way past it is a 1x1 convolution."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.norm1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(outputs)
        same = stride == 1 and inputs == outputs
        self.past = nn.Identity() if same else nn.Conv2d(inputs, outputs, 1, stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return relu(self.norm2(self.conv2(relu(self.norm1(self.conv1(x))))) + self.past(x))


def residual(*, blocks: int = 3, width: int = 16, classes: int = 3) -> nn.Sequential:
    """With three blocks a stage a ResNet-20 for images of one channel; untrained."""
    torch.manual_seed(0)
    layers: list[nn.Module] = [nn.Conv2d(1, width, 3, 1, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU()]
    inputs = width
    for stage in range(3):
        for i in range(blocks):
            outputs = width * 2**stage
            layers.append(Block(inputs, outputs, 2 if i == 0 and stage else 1))
            inputs = outputs
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(inputs, classes))


def deep(*, layers: int = 12, width: int = 60, activation: type[nn.Module] = nn.ReLU) -> nn.Sequential:
    """A deep perceptron on 64 inputs whose layers differ in scale, as those of real networks do."""
    torch.manual_seed(0)
    sizes = [64, *[width] * (layers - 1), 3]
    parts: list[nn.Module] = [nn.Flatten()]
    for i, (a, b) in enumerate(zip(sizes, sizes[1:], strict=False)):
        parts += [nn.Linear(a, b), activation()]
        with torch.no_grad():
            parts[-2].weight.mul_(0.5 ** (i % 4))
    return nn.Sequential(*parts[:-1])
