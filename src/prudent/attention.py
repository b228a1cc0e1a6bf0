"""Attention modules and their heads: which elements of which parameters belong to one head.

A head is rows of the query, key and value projections and columns of the projection that reads the heads. Known are
torch.nn.MultiheadAttention, and modules with a count `num_heads` whose linear layers are called as in timm (`qkv`,
`proj`) or have three projections of their own (`q`, `k`, `v` with the usual suffixes) and one that reads the heads.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from torch import nn

from prudent.errors import CannotPrune

READERS = ("out_proj", "proj", "o_proj", "to_out", "out", "dense")
"""What the projection that reads the heads is called."""

MAKERS = (("q_proj", "k_proj", "v_proj"), ("query", "key", "value"), ("to_q", "to_k", "to_v"), ("q", "k", "v"))
"""What three separate projections are called."""


@dataclass(frozen=True)
class Attention:
    """One attention module whose heads can be removed.

    Args:
        heads: how many.
        reader: name of the layer that reads them; head h is columns h * size .. (h + 1) * size of its weight.
        size: width of one head.
        makers: (name of a parameter, offset): rows offset + h * size .. offset + (h + 1) * size belong to head h.
    """

    heads: int
    reader: str
    size: int
    makers: tuple[tuple[str, int], ...]

    @property
    def weight(self) -> str:
        """The name under which masks file the heads."""
        return f"{self.reader}.weight"


def attentions(model: nn.Module) -> tuple[Attention, ...]:
    """Every attention module of the network whose heads are understood.

    Raises:
        CannotPrune: there is none; says what was found instead.
    """
    found: list[Attention] = []
    unknown: list[str] = []
    for name, module in model.named_modules():
        heads = getattr(module, "num_heads", None)
        if not isinstance(heads, int) or heads < 1:
            continue
        prefix = f"{name}." if name else ""
        made = _of_torch(prefix, module) if isinstance(module, nn.MultiheadAttention) else _of_layers(prefix, module)
        if made is None:
            unknown.append(name)
        else:
            found.append(made)
    if not found:
        reason = f"{unknown[0]!r} has projections of names that are not known" if unknown else "it has no attention"
        raise CannotPrune(f"heads can be removed from attention modules; {reason}")
    return tuple(found)


def _of_torch(prefix: str, module: nn.MultiheadAttention) -> Attention | None:
    size = module.embed_dim // module.num_heads
    width = module.embed_dim
    if module.bias_k is not None:
        return None
    makers = [(f"{prefix}in_proj_weight", i * width) for i in range(3)]
    if not module._qkv_same_embed_dim:
        makers = [(f"{prefix}{p}_proj_weight", 0) for p in "qkv"]
    if module.in_proj_bias is not None:
        makers += [(f"{prefix}in_proj_bias", i * width) for i in range(3)]
    return Attention(module.num_heads, f"{prefix}out_proj", size, tuple(makers))


def _of_layers(prefix: str, module: nn.Module) -> Attention | None:
    linear = {name: child for name, child in module.named_children() if isinstance(child, nn.Linear)}
    heads = module.num_heads
    assert isinstance(heads, int)  # noqa: S101 (checked by the caller)
    reader = next((name for name in READERS if name in linear), None)
    if reader is None:
        return None
    width = linear[reader].in_features
    size, rest = divmod(width, heads)
    if rest:
        return None
    if "qkv" in linear and linear["qkv"].out_features == 3 * width:
        layers = [("qkv", i * width) for i in range(3)]
    else:
        names = next((three for three in MAKERS if all(name in linear for name in three)), None)
        if names is None or any(linear[name].out_features != width for name in names):
            return None
        layers = [(name, 0) for name in names]
    return Attention(heads, f"{prefix}{reader}", size, tuple(_with_bias(prefix, linear, layers)))


def _with_bias(prefix: str, linear: dict[str, nn.Linear], layers: list[tuple[str, int]]) -> Iterator[tuple[str, int]]:
    for name, offset in layers:
        yield f"{prefix}{name}.weight", offset
        if linear[name].bias is not None:
            yield f"{prefix}{name}.bias", offset
