"""LeNet-5."""

from collections import OrderedDict
from collections.abc import Sequence

from torch import nn

from prudent.errors import BadInput
from prudent.models._checks import check_classes, check_image, check_sizes
from prudent.models._initialisation import Init, check_init, initialise


def lenet_5(
    shape: Sequence[int],
    classes: int,
    *,
    widths: Sequence[int] = (20, 50),
    hidden: Sequence[int] = (500,),
    padding: int = 0,
    init: Init = "glorot_normal",
) -> nn.Sequential:
    """Two 5x5 convolutions, each with ReLU and 2x2 max-pooling, and hidden linear layers.

    The defaults are the Caffe variant that pruning papers use: for 28x28 digits 431,080 parameters (of them 430,500
    prunable weights) and 2,293,000 multiply-accumulates. The classical network is widths=(6, 16), hidden=(120, 84),
    with padding=2 for 28x28 digits (61,706 parameters) and padding=0 for 32x32 images.

    Args:
        shape: (channels, height, width) of one image, at least 16 x 16 with its padding.
        classes: number of logits.
        widths: output channels of the two convolutions.
        hidden: units of the hidden linear layers.
        padding: pixels of zeros around the image.
        init: how weights are drawn; Gaussian Glorot as in Frankle & Carbin.

    Returns: a plain network (nn.Sequential); inputs (batch, channels, height, width), logits (batch, classes).

    Raises:
        BadInput: no image or one that is too small, no classes, not two widths, sizes below 1, an unknown init.

    Source: LeCun et al. 1998, "Gradient-Based Learning Applied to Document Recognition"; the Caffe variant as in Han et
    al. 2015, arXiv:1506.02626. Here with max-pooling and ReLU after each hidden layer; Caffe's own file has no ReLU
    after the convolutions, LeCun's network sigmoids, a learned average-pooling and a sparse second convolution.
    """
    name = "lenet_5"
    if padding < 0:
        raise BadInput(f"model {name!r} needs padding of at least 0; got {padding}")
    channels, height, width = check_image(name, shape, smallest=max(1, 16 - 2 * padding), instead="set padding")
    check_classes(name, classes)
    check_sizes(name, "widths", widths, count=2)
    check_sizes(name, "hidden", hidden)
    check_init(name, init)
    rows, columns = (((size + 2 * padding - 4) // 2 - 4) // 2 for size in (height, width))
    layers: OrderedDict[str, nn.Module] = OrderedDict(
        conv1=nn.Conv2d(channels, widths[0], 5, padding=padding),
        relu1=nn.ReLU(),
        pool1=nn.MaxPool2d(2),
        conv2=nn.Conv2d(widths[0], widths[1], 5),
        relu2=nn.ReLU(),
        pool2=nn.MaxPool2d(2),
        flatten=nn.Flatten(),
    )
    size = widths[1] * rows * columns
    for i, units in enumerate(hidden, start=1):
        layers[f"fc{i}"] = nn.Linear(size, units)
        layers[f"relu{i + 2}"] = nn.ReLU()
        size = units
    layers[f"fc{len(hidden) + 1}"] = nn.Linear(size, classes)
    model = nn.Sequential(layers)
    initialise(model, init)
    return model
