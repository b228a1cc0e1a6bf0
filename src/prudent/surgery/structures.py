"""Which units of a network are alike: the same operations make them, normalise them and read them."""

from collections.abc import Mapping

import numpy as np
from torch import nn

from prudent.surgery.chain import links
from prudent.surgery.layouts import Layout
from prudent.surgery.tracing import Trace


def structures(model: nn.Module, layout: Layout | None) -> dict[str, str]:
    """Entry of a mask of channels or heads -> its structure, in words; entries with the same are alike.

    The structure is the sequence of everything that belongs to one of the entry's units, in the order in which the
    network uses it: which operation works with the parameter, and whether the unit is an output or an input of it.
    Units of which equally many must stay in each of several rows are unlike others. Sizes play no part, so the inner
    convolutions of all stages of a ResNet are alike, while the channels of a stage, which several blocks add to, are
    alike only where the stages have equally many blocks.

    Args:
        model: the network.
        layout: its units, or None for the channels of a plain network.

    Raises:
        CannotPrune: the network was not traced, and is not plain.

    Source: Fang et al. 2024, "Isomorphic Pruning for Vision Models", arXiv:2407.04616, section 3.2: graphs are compared
    there by their operations and edges, here by the sequence of operations.
    """
    if layout is None:
        return _of_chain(model)
    operations = operations_of(layout.trace)
    entry_of = np.repeat(np.arange(len(layout.entries)), [entry.families.size for entry in layout.entries])
    # units of which equally many must stay in each head or group are not like others
    words: list[list[str]] = [["rows"] if entry.families.ndim > 1 else [] for entry in layout.entries]
    for name, arrays in layout.cover.items():
        if name not in operations:
            continue  # a buffer, which goes with its owner
        for units in arrays:
            live = [d for d, n in enumerate(units.shape) if n > 1]
            dims = ", ".join(_role(layout.trace, name, d) for d in live) or "all"
            kind = f"{operations[name]} {name.rpartition('.')[2]} ({dims})"
            for at in np.unique(entry_of[np.unique(units[units > 0]) - 1]).tolist():
                words[at].append(kind)
    return {entry.name: " > ".join(own) for entry, own in zip(layout.entries, words, strict=True)}


def operations_of(traced: Trace) -> dict[str, str]:
    """Parameter -> the operations that it enters, by name; depthwise convolutions are an operation of their own."""
    found: dict[str, str] = {}
    for node in traced.operations.graph.nodes:
        name = traced.operations.parameters.get(node.name)
        if name is None:
            continue
        users = {str(getattr(user.target, "overloadpacket", user.target)).removeprefix("aten.") for user in node.users}
        value = node.meta.get("val")
        depthwise = (
            any(user.startswith("conv") for user in users) and value.ndim > 2 and value.shape[1] == 1 < len(value)
        )
        found[name] = ("depthwise " if depthwise else "") + "+".join(sorted(users))
    return found


def _role(traced: Trace, name: str, dim: int) -> str:
    if (name, dim) in traced.makers:
        return "outputs"
    return "inputs" if dim == 1 else f"dimension {dim}"


def _of_chain(model: nn.Module) -> dict[str, str]:
    kinds: Mapping[str, nn.Module] = dict(model.named_modules())
    return {
        link.weight: " > ".join(
            [
                type(kinds[link.layer]).__name__,
                *(type(kinds[norm]).__name__ for norm in link.norms),
                type(kinds[link.reader]).__name__ + (" of flattened maps" if link.block > 1 else ""),
            ]
        )
        for link in links(model)
    }
