"""Wide residual networks."""

from collections import OrderedDict
from collections.abc import Sequence

from torch import Tensor, nn

from prudent.models._checks import check_classes, check_depth, check_image, check_rate, check_sizes
from prudent.models._initialisation import Init, check_init, initialise


class WideBlock(nn.Module):
    """Two 3x3 convolutions, each after normalisation and ReLU, with dropout between them, added to what came in.

        a = relu(norm1(x))
        y = shortcut + conv2(dropout(relu(norm2(conv1(a)))))

    The shortcut is x itself, or a 1x1 convolution of a where channels or resolution change.
    """

    def __init__(self, inputs: int, outputs: int, *, stride: int, dropout: float) -> None:
        """Channels in and out, stride of the first convolution, rate of the dropout."""
        super().__init__()
        self.norm1 = nn.BatchNorm2d(inputs)
        self.relu1 = nn.ReLU()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(outputs)
        self.relu2 = nn.ReLU()
        self.dropout = nn.Dropout(dropout)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        same = stride == 1 and inputs == outputs
        self.shortcut = None if same else nn.Conv2d(inputs, outputs, 1, stride=stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Inputs (batch, inputs, height, width) -> (batch, outputs, height / stride, width / stride), rounded up."""
        activated = self.relu1(self.norm1(x))
        residual = self.dropout(self.relu2(self.norm2(self.conv1(activated))))
        shortcut = x if self.shortcut is None else self.shortcut(activated)
        answer: Tensor = shortcut + self.conv2(residual)
        return answer


def wide_resnet(
    shape: Sequence[int],
    classes: int,
    *,
    depth: int = 16,
    width: int = 8,
    dropout: float = 0.0,
    init: Init = "he_normal",
) -> nn.Sequential:
    """WRN-depth-width: residual networks that are wider instead of deeper, normalisation before each convolution.

    For 32x32 colour images and 10 classes: 10,961,370 parameters (16-8), 36,479,194 (28-10), 1,467,610 (28-2).

    Args:
        shape: (channels, height, width) of one image, at least 4 x 4.
        classes: number of logits.
        depth: 6 n + 4: 16, 22, 28, 40, ...
        width: the three stages have 16, 32 and 64 channels times this.
        dropout: rate between the convolutions of each block, in [0, 1); the paper uses 0.3.
        init: how weights are drawn.

    Returns: a network; inputs (batch, channels, height, width), logits (batch, classes).

    Raises:
        BadInput: no image or one that is too small, no classes, another depth, no width, a rate outside [0, 1), an
            unknown init.

    Source: Zagoruyko & Komodakis 2016, "Wide Residual Networks", arXiv:1605.07146, table 1.
    """
    name = "wide_resnet"
    channels, _, _ = check_image(name, shape, smallest=4)
    check_classes(name, classes)
    blocks = check_depth(name, depth, step=6, offset=4, usual="16, 22, 28, 40")
    check_sizes(name, "width", (width,))
    check_rate(name, "dropout", dropout)
    check_init(name, init)
    layers: OrderedDict[str, nn.Module] = OrderedDict(conv1=nn.Conv2d(channels, 16, 3, padding=1, bias=False))
    inputs = 16
    for i, (outputs, stride) in enumerate([(16 * width, 1), (32 * width, 2), (64 * width, 2)], start=1):
        first = WideBlock(inputs, outputs, stride=stride, dropout=dropout)
        rest = [WideBlock(outputs, outputs, stride=1, dropout=dropout) for _ in range(blocks - 1)]
        layers[f"stage{i}"] = nn.Sequential(first, *rest)
        inputs = outputs
    layers["norm"] = nn.BatchNorm2d(inputs)
    layers["relu"] = nn.ReLU()
    layers["pool"] = nn.AdaptiveAvgPool2d(1)
    layers["flatten"] = nn.Flatten()
    layers["fc"] = nn.Linear(inputs, classes)
    model = nn.Sequential(layers)
    initialise(model, init)
    return model
