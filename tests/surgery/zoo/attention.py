"""Self-attention by hand, in the ways that public models write it. No normalisation, so that heads stand alone."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tests.surgery.zoo.case import Case, normal, randomised


class Around(nn.Module):
    """embed -> attention (from `width` to `width` features) -> mean over places -> head."""

    def __init__(self, attention: nn.Module, width: int = 24) -> None:
        super().__init__()
        self.embed, self.attention, self.head = nn.Linear(5, width), attention, nn.Linear(width, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.attention(self.embed(x)).mean(1))


class Joint(nn.Module):
    """One layer for queries, keys and values, as in timm; 4 heads of 6."""

    def __init__(self) -> None:
        super().__init__()
        self.qkv, self.proj = nn.Linear(24, 72), nn.Linear(24, 24)
        self.num_heads = 4

    def parts(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        qkv = self.qkv(x).reshape(x.shape[0], x.shape[1], 3, self.num_heads, -1)
        query, key, value = qkv.permute(2, 0, 3, 1, 4).unbind(0)
        return query, key, value

    def forward(self, x: Tensor) -> Tensor:
        query, key, value = self.parts(x)
        weights = (query @ key.transpose(-2, -1) * query.shape[-1] ** -0.5).softmax(-1)
        return self.proj((weights @ value).transpose(1, 2).flatten(2))


class JointConstants(Joint):
    """The same with every number written out."""

    def forward(self, x: Tensor) -> Tensor:
        batch, places, _ = x.shape
        qkv = self.qkv(x).reshape(batch, places, 3, 4, 6).permute(2, 0, 3, 1, 4)
        query, key, value = qkv[0] * 6**-0.5, qkv[1], qkv[2]
        weights = (query @ key.transpose(-2, -1)).softmax(dim=-1)
        return self.proj((weights @ value).transpose(1, 2).reshape(batch, places, 24))


class HeadFirst(Joint):
    """Each head's queries, keys and values beside each other, cut apart last, as in Megatron and timm's MaxViT."""

    def parts(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        query, key, value = self.qkv(x).unflatten(-1, (self.num_heads, -1)).transpose(1, 2).chunk(3, dim=3)
        return query, key, value


class HeadFirstConstants(Joint):
    """The same with the places of each part written out, which are not equally long: 5 + 5 + 8."""

    def __init__(self) -> None:
        super().__init__()
        self.proj = nn.Linear(32, 24)

    def parts(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        qkv = self.qkv(x).view(x.shape[0], x.shape[1], 4, 18).transpose(1, 2)
        query, both = qkv[..., :5], qkv[..., 5:]
        key, value = both.split([5, 8], dim=-1)
        return query, key, value


class JointFused(Joint):
    def forward(self, x: Tensor) -> Tensor:
        query, key, value = self.parts(x)
        out = F.scaled_dot_product_attention(query, key, value, is_causal=True)
        return self.proj(out.transpose(1, 2).flatten(2))


class Separate(nn.Module):
    """Three layers, as in Hugging Face's models; 4 heads of 6."""

    def __init__(self) -> None:
        super().__init__()
        self.query, self.key, self.value, self.out = (nn.Linear(24, 24) for _ in range(4))
        self.num_heads, self.head_size = 4, 6

    def heads(self, x: Tensor) -> Tensor:
        return x.view(*x.shape[:-1], self.num_heads, self.head_size).permute(0, 2, 1, 3)

    def forward(self, x: Tensor) -> Tensor:
        query, key, value = self.heads(self.query(x)), self.heads(self.key(x)), self.heads(self.value(x))
        scores = torch.matmul(query, key.transpose(-1, -2)) / math.sqrt(self.head_size)
        out = torch.matmul(F.dropout(scores.softmax(-1), 0.1, self.training), value).permute(0, 2, 1, 3).contiguous()
        return self.out(out.view(*out.shape[:-2], self.num_heads * self.head_size))


class Einsum(Separate):
    def forward(self, x: Tensor) -> Tensor:
        query, key, value = (f(x).unflatten(-1, (4, 6)) for f in (self.query, self.key, self.value))
        weights = torch.einsum("bnhd,bmhd->bhnm", query, key).div(math.sqrt(6)).softmax(-1)
        return self.out(torch.einsum("bhnm,bmhd->bnhd", weights, value).flatten(2))


class Grouped(nn.Module):
    """Grouped-query attention: 4 heads of 6 for queries, 2 for keys and values, each used by two neighbours."""

    def __init__(self, *, expands: bool) -> None:
        super().__init__()
        self.query, self.key, self.value, self.out = (nn.Linear(24, n) for n in (24, 12, 12, 24))
        self.expands = expands

    def repeated(self, x: Tensor) -> Tensor:
        if not self.expands:
            return x.repeat_interleave(2, dim=1)
        batch, heads, places, size = x.shape
        return x[:, :, None].expand(batch, heads, 2, places, size).reshape(batch, heads * 2, places, size)

    def forward(self, x: Tensor) -> Tensor:
        query, key, value = (f(x).unflatten(-1, (-1, 6)).transpose(1, 2) for f in (self.query, self.key, self.value))
        out = F.scaled_dot_product_attention(query, self.repeated(key), self.repeated(value))
        return self.out(out.transpose(1, 2).flatten(2))


class Rotary(Separate):
    """Rotary positions: the two halves of a head's features are turned into each other."""

    def forward(self, x: Tensor) -> Tensor:
        query, key, value = self.heads(self.query(x)), self.heads(self.key(x)), self.heads(self.value(x))
        angles = torch.arange(x.shape[1])[:, None] * torch.tensor([1.0, 0.1, 0.01])
        turn, lift = torch.cat((angles.cos(), angles.cos()), -1), torch.cat((angles.sin(), angles.sin()), -1)

        def turned(y: Tensor) -> Tensor:
            first, second = y.chunk(2, -1)
            return y * turn + torch.cat((-second, first), -1) * lift

        out = F.scaled_dot_product_attention(turned(query), turned(key), value)
        return self.out(out.transpose(1, 2).flatten(2))


class RotaryNeighbours(Separate):
    """Rotary positions of neighbouring features, as in GPT-J: every other feature is turned into the next."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("speeds", torch.tensor([1.0, 0.1, 0.01]), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        query, key, value = self.heads(self.query(x)), self.heads(self.key(x)), self.heads(self.value(x))
        angles = torch.arange(x.shape[1])[:, None] * self.speeds
        cos, sin = angles.cos(), angles.sin()

        def turned(y: Tensor) -> Tensor:
            even, odd = y[..., 0::2], y[..., 1::2]
            return torch.stack((even * cos - odd * sin, even * sin + odd * cos), -1).flatten(-2)

        out = F.scaled_dot_product_attention(turned(query), turned(key), value)
        return self.out(out.transpose(1, 2).flatten(2))


class Across(nn.Module):
    """nn.MultiheadAttention from one sequence to another of different width."""

    def __init__(self) -> None:
        super().__init__()
        self.left, self.right = nn.Linear(5, 24), nn.Linear(6, 10)
        self.attention = nn.MultiheadAttention(24, 4, kdim=10, vdim=10, batch_first=True)
        self.head = nn.Linear(24, 4)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        y = self.right(y)
        return self.head(self.attention(self.left(x), y, y, need_weights=False)[0].mean(1))


class Multihead(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(24, 4, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.attention(x, x, x)[0]


SEQUENCE = normal((2, 7, 5))
SIZES = (
    "a whole head goes from queries, keys, values and the output layer's inputs; or as many features of each "
    "head, with the softmax scale corrected (value features need no correction)"
)
SEPARATE = ("embed", "attention.query", "attention.key", "attention.value", "attention.out")

CASES = (
    Case(
        name="timm_reshape", build=lambda: randomised(lambda: Around(Joint())), args=SEQUENCE, expect="exact",
        exact=("embed", "attention.qkv", "attention.proj"),
        why="qkv's outputs are 3 x 4 heads x 6: " + SIZES + "; num_heads is read from the module, the size is -1",
    ),
    Case(
        name="timm_constants", build=lambda: randomised(lambda: Around(JointConstants())), args=SEQUENCE,
        expect="exact", exact=("embed", "attention.qkv", "attention.proj"),
        why="as timm_reshape, but 4, 6 and 24 are written in the code: needs the exported graph with them rewritten "
        "(a tool that keeps the user's code refuses qkv, with the line)",
    ),
    Case(
        name="head_first_attention", build=lambda: randomised(lambda: Around(HeadFirst())), args=SEQUENCE,
        expect="exact", exact=("embed", "attention.qkv", "attention.proj"),
        why="qkv's outputs are 4 heads x 3 x 6, and a chunk cuts each head in three, which must stay equally long: "
        + SIZES,
    ),
    Case(
        name="head_first_ranges", build=lambda: randomised(lambda: Around(HeadFirstConstants())), args=SEQUENCE,
        expect="exact", exact=("embed", "attention.qkv", "attention.proj"),
        why="qkv's outputs are 4 heads x (5 + 5 + 8), cut by numbers in the code: needs the graph; " + SIZES,
    ),
    Case(
        name="fused_attention", build=lambda: randomised(lambda: Around(JointFused())), args=SEQUENCE, expect="exact",
        exact=("embed", "attention.qkv", "attention.proj"), why="scaled_dot_product_attention: " + SIZES,
    ),
    Case(
        name="hugging_face_attention", build=lambda: randomised(lambda: Around(Separate())), args=SEQUENCE,
        expect="exact", exact=SEPARATE, why="three layers and view: " + SIZES,
    ),
    Case(
        name="einsum_attention", build=lambda: randomised(lambda: Around(Einsum())), args=SEQUENCE, expect="exact",
        exact=SEPARATE, why="einsum over (head, feature): " + SIZES,
    ),
    Case(
        name="grouped_query_repeat", build=lambda: randomised(lambda: Around(Grouped(expands=False))), args=SEQUENCE,
        expect="exact", exact=SEPARATE,
        why="key and value head j serves query heads 2j and 2j + 1: all three go together; or one of two query heads "
        "from every pair, with repeat_interleave lowered to 1",
    ),
    Case(
        name="grouped_query_expand", build=lambda: randomised(lambda: Around(Grouped(expands=True))), args=SEQUENCE,
        expect="exact", exact=SEPARATE, why="as grouped_query_repeat, by expand and reshape",
    ),
    Case(
        name="rotary_attention", build=lambda: randomised(lambda: Around(Rotary())), args=SEQUENCE, expect="exact",
        exact=SEPARATE,
        why="whole heads, and value features, as ever; query and key features only as pairs (i, i + 3), with the "
        "angles' constants cut",
    ),
    Case(
        name="rotary_neighbours", build=lambda: randomised(lambda: Around(RotaryNeighbours())), args=SEQUENCE,
        expect="exact", exact=SEPARATE,
        why="value features as ever; query and key features only as pairs (2 i, 2 i + 1), with the angles' constants",
    ),
    Case(
        name="multihead_attention", build=lambda: randomised(lambda: Around(Multihead())), args=SEQUENCE,
        expect="exact", exact=("embed", "attention.attention", "attention.attention.out_proj"),
        why="in_proj holds queries, keys, values one under another; " + SIZES + "; fewer heads leave embed_dim above "
        "heads x size, which the module's own forward cannot do",
    ),
    Case(
        name="multihead_across", build=lambda: randomised(Across), args=normal((2, 7, 5), (2, 3, 6)), expect="exact",
        exact=("left", "right", "attention", "attention.out_proj"),
        why="three projection weights (q, k, v) over one in_proj_bias; kdim and vdim shrink with `right`",
    ),
)  # fmt: skip
