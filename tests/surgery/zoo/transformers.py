"""Whole transformers: attention, normalisation over features, residual streams."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tests.surgery.zoo.attention import Joint, Rotary
from tests.surgery.zoo.case import Case, normal, randomised, tokens


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm1, self.attention = nn.LayerNorm(24), Joint()
        self.norm2, self.up, self.down = nn.LayerNorm(24), nn.Linear(24, 32), nn.Linear(32, 24)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attention(self.norm1(x))
        return x + self.down(F.gelu(self.up(self.norm2(x))))


class VisionTransformer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 24, 4, 4)
        self.cls, self.pos = nn.Parameter(torch.randn(1, 1, 24)), nn.Parameter(torch.randn(1, 17, 24))
        self.blocks = nn.Sequential(Block(), Block())
        self.norm, self.head = nn.LayerNorm(24), nn.Linear(24, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.patches(x).flatten(2).transpose(1, 2)
        x = torch.cat((self.cls.expand(x.shape[0], -1, -1), x), 1) + self.pos
        return self.head(self.norm(self.blocks(x))[:, 0])


class Encoder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Linear(5, 24)
        layer = nn.TransformerEncoderLayer(24, 4, 32, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2)
        self.head = nn.Linear(24, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.encoder(self.embed(x)).mean(1))


class Decoder(nn.Module):
    """A small language model: rotary attention, RMS normalisation, SwiGLU, embedding and head tied."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(11, 24)
        self.norm1, self.attention = nn.RMSNorm(24), Rotary()
        self.norm2 = nn.RMSNorm(24)
        self.gate, self.up = nn.Linear(24, 20, bias=False), nn.Linear(24, 20, bias=False)
        self.down = nn.Linear(20, 24, bias=False)
        self.norm, self.head = nn.RMSNorm(24), nn.Linear(24, 11, bias=False)
        self.head.weight = self.embed.weight

    def forward(self, x: Tensor) -> Tensor:
        x = self.embed(x)
        x = x + self.attention(self.norm1(x))
        y = self.norm2(x)
        return self.head(self.norm(x + self.down(F.silu(self.gate(y)) * self.up(y))))


class Positional(nn.Module):
    """A positional embedding used raw, and no normalisation."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.pos = nn.Linear(5, 10), nn.Parameter(torch.randn(1, 7, 10))
        self.mix, self.head = nn.Linear(10, 8), nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(F.relu(self.mix(self.embed(x) + self.pos)).mean(1))


class Mixer(nn.Module):
    """Linear layers over places and over features in turn (MLP-Mixer)."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Linear(5, 10)
        self.places_up, self.places_down = nn.Linear(7, 9), nn.Linear(9, 7)
        self.up, self.down, self.head = nn.Linear(10, 12), nn.Linear(12, 10), nn.Linear(10, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.embed(x)
        x = x + self.places_down(F.gelu(self.places_up(x.transpose(1, 2)))).transpose(1, 2)
        return self.head((x + self.down(F.gelu(self.up(x)))).mean(1))


CASES = (
    Case(
        name="vision_transformer", build=lambda: randomised(VisionTransformer), args=normal((2, 3, 16, 16)),
        expect="changing", exact=("blocks.*.attention.qkv", "blocks.*.up"),
        changing=("patches", "cls", "pos", "blocks.*.attention.proj", "blocks.*.down"),
        why="heads and the hidden units of `up` are exact; the stream of 24 (patches, cls, pos, proj, down of both "
        "blocks) goes together and meets layer normalisation; the 17 places stay",
    ),
    Case(
        name="transformer_encoder", build=lambda: randomised(Encoder), args=normal((2, 7, 5)), expect="changing",
        exact=("encoder.layers.*.self_attn", "encoder.layers.*.linear1"),
        changing=("embed", "encoder.layers.*.self_attn.out_proj", "encoder.layers.*.linear2"),
        why="heads and linear1's units are exact; the stream meets layer normalisation, and must stay a multiple of "
        "the heads only as long as the module itself is kept",
    ),
    Case(
        name="language_model", build=lambda: randomised(Decoder), args=tokens(11, 2, 7), expect="changing",
        exact=("attention.query", "attention.key", "attention.value", "gate", "up"),
        changing=("embed", "attention.out", "down"),
        why="heads are exact; gate and up go together, exact; the stream meets RMS normalisation; embed and head are "
        "one tensor, of which the features are cut and the vocabulary never",
    ),
    Case(
        name="positional_embedding", build=lambda: randomised(Positional), args=normal((2, 7, 5)), expect="exact",
        exact=("embed", "pos", "mix"), why="embed's units and pos's last dimension go together; the 7 places stay",
    ),
    Case(
        name="mixer", build=lambda: randomised(Mixer), args=normal((2, 7, 5)), expect="partly",
        exact=("places_up", "up"), frozen=("embed", "down", "places_down"),
        why="places_up and up are free; places_down makes places, which the input fixes; embed and down are one "
        "stream, but the layers over places write their biases into each of its features, not alike at each place: a "
        "silenced one is not zero, and no bias of `up` can stand in (exact only where the mask is applied to the sum)",
    ),
)  # fmt: skip
