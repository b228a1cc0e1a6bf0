"""Labels of parameters and buffers."""

from collections.abc import Mapping

import numpy as np
from torch import Tensor, nn

from prudent.surgery.ledger import Ledger
from prudent.surgery.shadow import Field, Shadow, freeze, labelled


def place_of(name: str, value: Tensor) -> object:
    """The same for all names of a tied parameter."""
    return (value.data_ptr(), tuple(value.shape), value.stride()) if value.numel() else name


class Parameters:
    """Shadows of parameters and buffers, one for all names of a tied one."""

    def __init__(self, ledger: Ledger, model: nn.Module) -> None:
        self.ledger = ledger
        self.state = dict(model.state_dict(keep_vars=True))
        self.state |= {name: buffer for name, buffer in model.named_buffers() if name not in self.state}
        self.found: dict[str, Shadow] = {}
        self.places: dict[object, str] = {}
        # what lies in one storage in two ways cannot be cut in both
        self.shared = overlapping(self.state)

    def get(self, name: str) -> Shadow:
        """The shadow of the parameter or buffer of this name."""
        value = self.state[name]
        owner = self.places.setdefault(place_of(name, value), name)
        if owner not in self.found:
            zero = isinstance(value, nn.Parameter) or not bool(value.any())  # masks silence parameters only
            self.found[owner] = labelled(self.ledger, tuple(value.shape), parameter=owner, zero=zero)
            if owner in self.shared:
                freeze(self.ledger, self.found[owner], "it shares its memory with a parameter of another shape")
        return self.found[owner]


def overlapping(state: Mapping[str, Tensor]) -> set[str]:
    """Names of parameters that lie in the memory of another one in another way: a transposed weight, or a part."""
    views: dict[int, dict[object, list[str]]] = {}
    for name, value in state.items():
        if value.numel():
            storage = value.untyped_storage().data_ptr()
            views.setdefault(storage, {}).setdefault(place_of(name, value), []).append(name)
    return {name for places in views.values() if len(places) > 1 for names in places.values() for name in names}


def fields_of(ledger: Ledger, name: str, shadow: Shadow) -> tuple[Field, ...]:
    """A parameter's fields, with labels that a grouped convolution gave to its elements."""
    fields = list(shadow.fields)
    for (parameter, dim), labels in ledger.rewritten.items():
        if parameter == name:
            fields = [field for field in fields if field.live != (dim,)] + [Field(np.asarray(labels))]
    return tuple(fields)
