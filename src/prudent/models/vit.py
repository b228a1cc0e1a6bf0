"""A small vision transformer."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from prudent.errors import BadInput
from prudent.models._checks import check_classes, check_image, check_rate, check_sizes


class Attention(nn.Module):
    """Self-attention with one linear layer each for query, key, value and what comes out.

        y = proj([softmax(q_h k_h' / sqrt(size)) v_h  for each head h])

    Head h is rows h * size .. (h + 1) * size of query, key and value, and the same columns of proj. The product is
    written out: fused kernels on CPU have no second derivatives, and their arithmetic is not counted by torch.
    """

    def __init__(self, width: int, heads: int) -> None:
        """`width` features of each token, divided among `heads`."""
        super().__init__()
        self.num_heads = heads
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, width)
        self.value = nn.Linear(width, width)
        self.proj = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """Inputs (batch, tokens, width) -> the same shape."""
        query, key, value = (
            layer(x).unflatten(2, (self.num_heads, -1)).transpose(1, 2) for layer in (self.query, self.key, self.value)
        )  # (batch, heads, tokens, size)
        similarity = query @ key.transpose(2, 3) * query.shape[3] ** -0.5  # (batch, heads, tokens, tokens)
        answer: Tensor = self.proj((similarity.softmax(dim=3) @ value).transpose(1, 2).flatten(2))
        return answer


class EncoderBlock(nn.Module):
    """Attention, then two linear layers, each after normalisation and added to what came in.

    z = x + attention(norm1(x))
    y = z + fc2(gelu(fc1(norm2(z))))
    """

    def __init__(self, width: int, heads: int, hidden: int, dropout: float) -> None:
        """Features of a token, heads, units of the hidden linear layer, rate of the dropout on what is added."""
        super().__init__()
        self.norm1 = nn.LayerNorm(width)
        self.attention = Attention(width, heads)
        self.dropout1 = nn.Dropout(dropout)
        self.norm2 = nn.LayerNorm(width)
        self.fc1 = nn.Linear(width, hidden)
        self.gelu = nn.GELU()
        self.fc2 = nn.Linear(hidden, width)
        self.dropout2 = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """Inputs (batch, tokens, width) -> the same shape."""
        x = x + self.dropout1(self.attention(self.norm1(x)))
        answer: Tensor = x + self.dropout2(self.fc2(self.gelu(self.fc1(self.norm2(x)))))
        return answer


class VisionTransformer(nn.Module):
    """Patches as tokens, a class token before them, encoder blocks, and one linear layer on the class token."""

    def __init__(
        self, channels: int, tokens: int, classes: int, *, patch: int, width: int, hidden: int, heads: int, depth: int,
        dropout: float,
    ) -> None:  # fmt: skip
        """Channels of the image, tokens (patches and the class token), classes; the rest as for `vit`."""
        super().__init__()
        self.patches = nn.Conv2d(channels, width, patch, stride=patch)
        self.class_token = nn.Parameter(torch.zeros(1, 1, width))
        self.positions = nn.Parameter(torch.empty(1, tokens, width))
        self.dropout = nn.Dropout(dropout)
        self.blocks = nn.Sequential(*(EncoderBlock(width, heads, hidden, dropout) for _ in range(depth)))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, classes)

    def reset_parameters(self) -> None:
        """Draw positions and class token anew; the layers have ways of their own."""
        nn.init.trunc_normal_(self.positions, std=0.02, a=-0.04, b=0.04)
        nn.init.zeros_(self.class_token)

    def forward(self, x: Tensor) -> Tensor:
        """Images (batch, channels, height, width) -> logits (batch, classes)."""
        tokens = self.patches(x).flatten(2).transpose(1, 2)  # (batch, patches, width)
        first = self.class_token.expand(tokens.shape[0], -1, -1)
        tokens = self.dropout(torch.cat((first, tokens), dim=1) + self.positions)
        answer: Tensor = self.head(self.norm(self.blocks(tokens))[:, 0])
        return answer


def vit(
    shape: Sequence[int],
    classes: int,
    *,
    patch: int = 4,
    width: int = 192,
    depth: int = 6,
    heads: int = 3,
    hidden: int = 768,
    dropout: float = 0.0,
) -> VisionTransformer:
    """A vision transformer with a class token and learned positions, small enough for CIFAR.

    For 32x32 colour images and 10 classes: 2,693,578 parameters, 182,849,664 multiply-accumulates.

    Args:
        shape: (channels, height, width) of one image; height and width are multiples of `patch`.
        classes: number of logits.
        patch: height and width of a patch, in pixels.
        width: features of each token, a multiple of `heads`.
        depth: number of encoder blocks.
        heads: of each attention; 192 with 3 heads is the width of ViT-Tiny (whose depth is 12).
        hidden: units of the hidden linear layer in each block.
        dropout: rate on the tokens and on what each block adds, in [0, 1).

    Returns: a network; inputs (batch, channels, height, width), logits (batch, classes). Weights are drawn from a
        normal distribution of standard deviation 0.02 cut off at two deviations, biases and class token are 0.

    Raises:
        BadInput: no image or one that patches do not cover, a width that the heads do not divide, no classes, sizes
            below 1, a rate outside [0, 1).

    Source: Dosovitskiy et al. 2021, "An Image is Worth 16x16 Words: Transformers for Image Recognition at Scale",
    arXiv:2010.11929, section 3.1; width and heads of Touvron et al. 2021, arXiv:2012.12877 (DeiT-Ti), and its
    initialisation.
    """
    channels, height, columns = check_image("vit", shape)
    check_classes("vit", classes)
    check_sizes("vit", "patch, width, depth, heads and hidden", (patch, width, depth, heads, hidden))
    if height % patch or columns % patch:
        raise BadInput(
            f"model 'vit' needs images that patches of {patch} x {patch} cover; got {tuple(shape)}: set patch"
        )
    if width % heads:
        raise BadInput(f"model 'vit' needs a width that its heads divide; got width {width} and {heads} heads")
    check_rate("vit", "dropout", dropout)
    tokens = 1 + (height // patch) * (columns // patch)
    model = VisionTransformer(
        channels, tokens, classes,
        patch=patch, width=width, hidden=hidden, heads=heads, depth=depth, dropout=dropout,
    )  # fmt: skip
    model.reset_parameters()
    for layer in model.modules():
        if isinstance(layer, (nn.Linear, nn.Conv2d)):
            nn.init.trunc_normal_(layer.weight, std=0.02, a=-0.04, b=0.04)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
    return model
