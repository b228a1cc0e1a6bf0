"""Networks of the size that people ship, with random weights, written out so that no other package is needed."""

import torch
from torch import Tensor, nn

from prudent.models.vit import vit

STAGES = ((64, 3, 1), (128, 4, 2), (256, 6, 2), (512, 3, 2))
"""Of ResNet-50: channels inside of a block, blocks, stride of the first."""


class Bottleneck(nn.Module):
    """1x1, 3x3 and 1x1 convolutions, the last four times as wide, added to what came in.

    y = relu(shortcut(x) + bn3(conv3(relu(bn2(conv2(relu(bn1(conv1(x)))))))))
    """

    def __init__(self, inputs: int, inside: int, stride: int) -> None:
        super().__init__()
        outputs = 4 * inside
        self.conv1, self.bn1 = nn.Conv2d(inputs, inside, 1, bias=False), nn.BatchNorm2d(inside)
        self.conv2 = nn.Conv2d(inside, inside, 3, stride=stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(inside)
        self.conv3, self.bn3 = nn.Conv2d(inside, outputs, 1, bias=False), nn.BatchNorm2d(outputs)
        self.relu = nn.ReLU()
        self.shortcut = nn.Sequential()
        if inputs != outputs:
            self.shortcut = nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride=stride, bias=False), nn.BatchNorm2d(outputs)
            )

    def forward(self, x: Tensor) -> Tensor:
        """Inputs (batch, inputs, height, width) -> (batch, 4 inside, height / stride, width / stride)."""
        residual = self.relu(self.bn1(self.conv1(x)))
        residual = self.bn3(self.conv3(self.relu(self.bn2(self.conv2(residual)))))
        answer: Tensor = self.relu(self.shortcut(x) + residual)
        return answer


def resnet_50(classes: int = 1000) -> nn.Module:
    """ResNet-50 with the stride in the 3x3 convolution: 25,557,032 parameters for 1000 classes.

    Source: He et al. 2016, "Deep Residual Learning for Image Recognition", arXiv:1512.03385, table 1, which has the
    stride in the first 1x1 convolution of a block.
    """
    torch.manual_seed(0)
    layers: list[nn.Module] = [
        nn.Conv2d(3, 64, 7, stride=2, padding=3, bias=False), nn.BatchNorm2d(64), nn.ReLU(),
        nn.MaxPool2d(3, stride=2, padding=1),
    ]  # fmt: skip
    width = 64
    for inside, blocks, stride in STAGES:
        for block in range(blocks):
            layers.append(Bottleneck(width, inside, stride if block == 0 else 1))
            width = 4 * inside
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, classes)).eval()


def vit_small(classes: int = 1000) -> nn.Module:
    """ViT-S/16 for 224 x 224 images: 12 blocks of 384 features and 6 heads.

    Source: Touvron et al. 2021, "Training data-efficient image transformers", arXiv:2012.12877, table 1.
    """
    torch.manual_seed(0)
    return vit((3, 224, 224), classes, patch=16, width=384, depth=12, heads=6, hidden=1536).eval()
