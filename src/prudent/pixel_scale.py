"""From the inputs of a network to pixels in [0, 1] and back: corruptions and attacks are about pixels."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from prudent.errors import BadInput

ROUNDING = 1e-4
"""How far outside of [0, 1] a pixel may come out when a standardisation is undone in float32."""


@dataclass(frozen=True, kw_only=True)
class PixelScale:
    """How inputs come from pixels: input = (pixel - mean) / std, channel by channel.

    Args:
        mean, std: one number for each channel; None where inputs are pixels.
    """

    mean: Sequence[float] | None = None
    std: Sequence[float] | None = None

    def pixels(self, inputs: Tensor) -> Tensor:
        """Inputs (n, c, h, w) as pixels in [0, 1].

        Raises:
            BadInput: inputs that are no images, or whose pixels lie outside of [0, 1].
        """
        if inputs.ndim != 4 or inputs.shape[1] not in (1, 3):
            raise BadInput(f"images are (n, c, h, w) with 1 or 3 channels; got shape {tuple(inputs.shape)}")
        mean, std = self._shaped(inputs)
        pixels = inputs * std + mean
        low, high = (float(end) for end in pixels.aminmax())
        if not (low >= -ROUNDING and high <= 1 + ROUNDING):
            raise BadInput(f"pixels lie in [0, 1]; these inputs come from pixels of {low:.4g} to {high:.4g}")
        return pixels.clamp(0, 1)

    def inputs(self, pixels: Tensor) -> Tensor:
        """Pixels (n, c, h, w), also outside of [0, 1], as inputs of the network."""
        mean, std = self._shaped(pixels)
        return (pixels - mean) / std

    def before(self, model: nn.Module) -> nn.Module:
        """The network that reads pixels: layers in a row stay layers in a row. `model` is not changed."""
        if self.mean is None or self.std is None:
            return model
        first = nn.BatchNorm2d(len(self.mean), eps=0.0, affine=False)
        first.running_mean = torch.tensor(self.mean, dtype=torch.float32)
        first.running_var = torch.tensor(self.std, dtype=torch.float32) ** 2
        return nn.Sequential(first, model).eval()

    def _shaped(self, like: Tensor) -> tuple[Tensor, Tensor]:
        given = (self.mean or [0.0] * like.shape[1], self.std or [1.0] * like.shape[1])
        mean, std = (torch.tensor(list(values), dtype=like.dtype, device=like.device) for values in given)
        return mean.reshape(1, -1, 1, 1), std.reshape(1, -1, 1, 1)


def scale_of(options: Mapping[str, Any]) -> PixelScale:
    """The scale that the options of a data set name as `mean` and `std`; without them inputs are pixels."""
    return PixelScale(mean=options.get("mean"), std=options.get("std"))
