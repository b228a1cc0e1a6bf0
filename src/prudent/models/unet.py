"""A small U-Net: logits for each pixel."""

from collections import OrderedDict
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from prudent.errors import BadInput
from prudent.models._checks import check_classes, check_image, check_sizes
from prudent.models._initialisation import Init, check_init, initialise

ANSWERS = "pixels"
"""It answers logits for every pixel; networks whose file does not say this answer one row for each input."""


class UNet(nn.Module):
    """Down over blocks and poolings, and up again beside what came down at each resolution: y = merge([skip, up])."""

    def __init__(self, inputs: int, classes: int, widths: Sequence[int]) -> None:
        """`widths` are the channels of each resolution, the finest first."""
        super().__init__()
        coarser = list(pairwise(widths))
        self.down = nn.ModuleList(_block(a, b) for a, b in pairwise([inputs, *widths]))
        self.pool = nn.MaxPool2d(2)
        self.up = nn.ModuleList(_upwards(b, a) for a, b in reversed(coarser))
        self.merge = nn.ModuleList(_block(2 * a, a) for a, _ in reversed(coarser))
        self.head = nn.Conv2d(widths[0], classes, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Inputs (batch, inputs, height, width) -> logits (batch, classes, height, width)."""
        skips: list[Tensor] = []
        for i, block in enumerate(self.down):
            x = block(x if i == 0 else self.pool(x))
            skips.append(x)
        for up, merge, skip in zip(self.up, self.merge, reversed(skips[:-1]), strict=True):
            x = merge(torch.cat((skip, up(x)), dim=1))
        logits: Tensor = self.head(x)
        return logits


def unet(
    shape: Sequence[int], classes: int, *, widths: Sequence[int] = (8, 16, 32), init: Init = "he_normal"
) -> nn.Module:
    """A convolutional encoder and decoder with a skip connection by concatenation at each resolution.

    Each block is two 3x3 convolutions with batch normalisation; between resolutions there are max-pooling on the way
    down, and on the way up the nearest neighbour's value with one more such convolution. For 32x32 grey images, one
    class and the default widths: 32,705 parameters, 8,339,456 multiply-accumulates.

    Args:
        shape: (channels, height, width) of one image; height and width are multiples of 2 ** (len(widths) - 1).
        classes: number of logits of each pixel; of a single object 1, whose pixels are those of logits above 0.
        widths: channels of each resolution, the finest first; two or more. Each next resolution is half as fine.
        init: how weights are drawn.

    Returns: a network; inputs (batch, channels, height, width), logits (batch, classes, height, width). `prudent.train`
        and `prudent.predict` are for one row of logits for each input: train it with a few lines of your own, and make
        losses of its masks with `prudent.segmentation.mask_losses`.

    Raises:
        BadInput: no image or one of another size, no classes, less than two widths, sizes below 1, an unknown init.

    Source: Ronneberger et al. 2015, "U-Net: Convolutional Networks for Biomedical Image Segmentation",
    arXiv:1505.04597. Smaller; with zero padding, so that masks are as large as the images, batch normalisation, and
    3x3 instead of 2x2 convolutions after upsampling.
    """
    name = "unet"
    channels, height, width = check_image(name, shape)
    check_classes(name, classes)
    if len(widths) < 2:
        raise BadInput(f"model {name!r} needs two widths or more; got {tuple(widths)}")
    check_sizes(name, "widths", widths)
    step = 2 ** (len(widths) - 1)
    if height % step or width % step:
        raise BadInput(
            f"model {name!r} needs images whose sides are multiples of {step}; got {tuple(shape)}: pad or crop them"
        )
    check_init(name, init)
    model = UNet(channels, classes, tuple(widths))
    initialise(model, init)
    return model


def _block(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        OrderedDict(
            conv1=nn.Conv2d(inputs, outputs, 3, padding=1, bias=False),
            norm1=nn.BatchNorm2d(outputs),
            relu1=nn.ReLU(),
            conv2=nn.Conv2d(outputs, outputs, 3, padding=1, bias=False),
            norm2=nn.BatchNorm2d(outputs),
            relu2=nn.ReLU(),
        )
    )


def _upwards(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        OrderedDict(
            larger=nn.Upsample(scale_factor=2, mode="nearest"),
            conv=nn.Conv2d(inputs, outputs, 3, padding=1, bias=False),
            norm=nn.BatchNorm2d(outputs),
            relu=nn.ReLU(),
        )
    )
