"""Which network is it? Its numbers, and what is built around them."""

import hashlib
from operator import itemgetter

from torch import fx, nn

from prudent.claims import PARTING
from prudent.network import fingerprint


def identity(model: nn.Module) -> str:
    """Fingerprint of the numbers, and of the structure that computes with them: two networks with the same are one.

        identity = sha256(numbers) - sha256(structure), the first 16 hex digits of the latter

    The numbers alone do not tell a transformer with 2 heads from one with 4, or a ReLU from a GELU. The structure is
    the class of each module under its name, with every public attribute that is a number, a text, a flag, a function's
    name, or a list of those. Arithmetic that a forward method holds in its code is not seen. A network that is a graph
    (`torch.fx`), as some cut ones are when they are loaded, has another structure than the one it was made from, though
    the same function: it is known by its numbers alone.

    Args:
        model: a network. Not changed; whether it is in training mode makes no difference.

    Returns: 64 hex digits, a dash, 16 hex digits; without dash and what follows for a graph. Those before the dash are
    `prudent.network.fingerprint`.
    """
    numbers = fingerprint(model)
    return numbers if isinstance(model, fx.GraphModule) else f"{numbers}{PARTING}{structure(model)}"


def structure(model: nn.Module) -> str:
    """16 hex digits over classes and plain attributes of all modules."""
    digest = hashlib.sha256()
    for name, module in sorted(model.named_modules(remove_duplicate=False), key=itemgetter(0)):
        plain = {k: _plain(v) for k, v in vars(module).items() if not k.startswith("_") and k != "training"}
        kept = sorted((k, v) for k, v in plain.items() if v is not None)
        digest.update(f"{name}|{type(module).__name__}|{kept}\n".encode())
    return digest.hexdigest()[:16]


def _plain(value: object) -> str | None:
    """How a plain value is written, None for one that is not plain."""
    if isinstance(value, bool | int | float | str):
        return repr(value)
    if isinstance(value, tuple | list):
        parts = [_plain(inner) for inner in value]
        return None if None in parts else str(parts)  # a shape may be a tuple here, and a list after it was read
    if callable(value) and not isinstance(value, nn.Module | type) and hasattr(value, "__name__"):
        return str(value.__name__)
    return None
