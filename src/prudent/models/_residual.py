"""The block of residual networks with two 3x3 convolutions, and its shortcuts."""

from typing import Literal

from torch import Tensor, nn
from torch.nn.functional import pad

Shortcut = Literal["A", "B"]
"""Where a block changes the number of channels: "A" strides and pads with zeros, "B" convolves with 1x1 kernels."""


class BasicBlock(nn.Module):
    """Two 3x3 convolutions, added to what came in.

        y = relu(downsample(x) + bn2(conv2(relu(bn1(conv1(x))))))

    The names of its layers are those under which trained weights are published.
    """

    def __init__(
        self, inputs: int, outputs: int, *, stride: int = 1, shortcut: Shortcut = "B", norm: bool = True
    ) -> None:
        """Build it.

        Args:
            inputs, outputs: channels.
            stride: of the first convolution and of the shortcut.
            shortcut: how `downsample` works where stride or channels change; elsewhere it is the identity.
            norm: batch normalisation after each convolution; without it the convolutions have biases.
        """
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=not norm)
        self.bn1 = _norm(outputs, norm=norm)
        self.relu1 = nn.ReLU()
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=not norm)
        self.bn2 = _norm(outputs, norm=norm)
        self.relu2 = nn.ReLU()
        self.downsample: nn.Module = nn.Identity()
        if stride != 1 or inputs != outputs:
            if shortcut == "A":
                self.downsample = StridedPadding(stride, outputs - inputs)
            else:
                convolution = nn.Conv2d(inputs, outputs, 1, stride=stride, bias=not norm)
                self.downsample = nn.Sequential(convolution, _norm(outputs, norm=norm))

    def forward(self, x: Tensor) -> Tensor:
        """Inputs (batch, inputs, height, width) -> (batch, outputs, height / stride, width / stride), rounded up."""
        residual = self.relu1(self.bn1(self.conv1(x)))
        residual = self.bn2(self.conv2(residual))
        answer: Tensor = self.relu2(self.downsample(x) + residual)
        return answer


class StridedPadding(nn.Module):
    """Every stride-th pixel, and channels of zeros, half of them before and half behind: no parameters."""

    def __init__(self, stride: int, extra: int) -> None:
        """`extra` is the number of channels of zeros; of an odd number, one more behind."""
        super().__init__()
        self.stride = stride
        self.before = extra // 2
        self.behind = extra - extra // 2

    def forward(self, x: Tensor) -> Tensor:
        """Inputs (batch, channels, height, width) -> (batch, channels + extra, height / stride, width / stride)."""
        return pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, self.before, self.behind))


def stage(
    inputs: int, outputs: int, blocks: int, *, stride: int, shortcut: Shortcut = "B", norm: bool = True
) -> nn.Sequential:
    """Blocks in a row; the first changes channels and resolution."""
    first = BasicBlock(inputs, outputs, stride=stride, shortcut=shortcut, norm=norm)
    rest = [BasicBlock(outputs, outputs, norm=norm) for _ in range(blocks - 1)]
    return nn.Sequential(first, *rest)


def _norm(channels: int, *, norm: bool) -> nn.Module:
    return nn.BatchNorm2d(channels) if norm else nn.Identity()
