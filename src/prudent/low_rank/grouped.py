"""A linear layer whose weight is block-diagonal: each group of outputs reads its own group of inputs."""

import torch
from torch import Tensor, nn


class GroupedLinear(nn.Module):
    """What nn.Linear cannot say without storing the zeros: y of group g = weight[g] @ x of group g, no bias.

    A grouped nn.Conv1d could say it, but only around an axis of length 1, for inputs with one batch axis, and about
    five times slower for a batch on a CPU. This is one batched matrix product for any leading axes, which exports by
    torch.export and to ONNX, and its state is one plain tensor.

    Args:
        in_features: a multiple of `groups`.
        out_features: a multiple of `groups`.
        groups: number of blocks, >= 1.
        device, dtype: of the weight, which starts at zero and is to be filled.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        groups: int,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        """Make the layer, without drawing random numbers."""
        super().__init__()
        self.in_features, self.out_features, self.groups = in_features, out_features, groups
        shape = (groups, out_features // groups, in_features // groups)
        self.weight = nn.Parameter(torch.zeros(shape, device=device, dtype=dtype))

    def forward(self, inputs: Tensor) -> Tensor:
        """(..., in_features) -> (..., out_features)."""
        parts = inputs.reshape(*inputs.shape[:-1], self.groups, self.in_features // self.groups)
        return torch.einsum("...gi,goi->...go", parts, self.weight).flatten(-2)

    def extra_repr(self) -> str:
        """What printing the layer shows."""
        return f"in_features={self.in_features}, out_features={self.out_features}, groups={self.groups}"
