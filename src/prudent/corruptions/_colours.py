"""Grey values of colours."""

from jaxtyping import Float
from torch import Tensor, tensor


def grey(images: Float[Tensor, "n c h w"]) -> Float[Tensor, "n 1 h w"]:
    """Luminance 0.299 R + 0.587 G + 0.114 B (ITU-R BT.601); one channel is its own."""
    if images.shape[1] == 1:
        return images
    return (images * tensor([0.299, 0.587, 0.114]).to(images)[:, None, None]).sum(1, keepdim=True)


def painted(images: Float[Tensor, "n c h w"], colour: tuple[int, int, int]) -> Float[Tensor, "1 c 1 1"]:
    """A colour of 8 bits as a pixel for `images`: (1, 3, 1, 1), or its luminance (1, 1, 1, 1) for one channel."""
    pixel = (tensor(colour) / 255).to(images).reshape(1, 3, 1, 1)
    return pixel if images.shape[1] == 3 else grey(pixel)
